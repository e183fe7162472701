"""Bad input at real processes: each kind has a clear error, and nothing is lost by it.

Two worlds for the module. `hub`: a hub process to which tests speak by hand, since no gateway of
ours would send what they send. `net`: a hub and two gateways, spoken to by commands and by the
local API. After each test a good message still goes through, and it alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from broker.cli.demo.processes import until
from broker.cli.homes.network import sample_cases
from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock
from broker.gateway.send.compose import Composed, compose
from broker.gateway.send.drafts import MessageDraft
from keys.binding import blind_scope
from keys.jws import sign_jws
from keys.sealing import EnvelopeDraft
from schemas.base import b64u, unb64u
from schemas.consent import Purpose
from schemas.directory import Compartment, KeyStatus
from schemas.envelope import ENVELOPE_TYP, ConsentTag
from schemas.evidence import Fact
from tests.support import gateways as in_process
from tests.support import hub as support
from tests.support.gateways import CASE, Side
from tests.support.hub import Client, Grant, World
from tests.support.parties import make_party
from tests.support.processes import Ended, HandHub, Running, running

NAMES = ("it.nrm", "al.nrm", "al.shelter", "it.coordinator")


# --- A hub, spoken to by hand ----------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandHub]:
    folder = tmp_path_factory.mktemp("hub")
    url = f"sqlite+aiosqlite:///{folder / 'hub.sqlite3'}"
    made = HandHub(World(folder, SystemClock(), database=url, names=NAMES), url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "BASE", made.url)
        made.start()
        yield made
        made.child.end()


@dataclass
class Two:
    """Italy and Albania with an agreement and a grant, as the hub knows them."""

    hub: HandHub
    http: httpx2.AsyncClient
    it: Client
    al: Client
    agreement: UUID
    grant: Grant

    def draft(self, **changes: Any) -> EnvelopeDraft:
        fields = {"agreement": self.agreement, "grant": self.grant, **changes}
        return self.it.draft("al.nrm", **fields)

    async def submit(self, raw: bytes) -> httpx2.Response:
        return await self.http.post("/envelopes", content=raw)

    async def taken(self) -> list[str]:
        """What is in Albania's mailbox, out of the way afterwards."""
        found = []
        while items := await self.al.mailbox(limit=100):
            found += [str(item["jws"]) for item in items if item["kind"] == "envelope"]
            await self.al.acknowledge(items)
        return found

    def rows(self, table: str) -> int:
        """How many rows the hub's database has, seen from outside of its process."""
        file = self.hub.world.folder / "hub.sqlite3"
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            found = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 (our words)
            return int(found.fetchone()[0])


@pytest.fixture
async def two(hub: HandHub) -> AsyncIterator[Two]:
    """Afterwards a good message is accepted and handed over, and nothing else is."""
    async with httpx2.AsyncClient(base_url=hub.url, timeout=20) as http:
        it, al = (Client(hub.world.parties[name], hub.world, http) for name in NAMES[:2])
        agreement, raw = hub.world.agreement("it.nrm", "al.nrm")
        assert (await http.post("/agreements", content=raw)).status_code == 201
        made = Two(hub, http, it, al, agreement, await it.grant("al.nrm"))
        yield made
        assert await made.taken() == [], "something bad was handed over"
        good = it.seal(made.draft())
        assert (await made.submit(good.raw)).status_code == 201
        assert await made.taken() == [good.raw.decode()]


def signed(two: Two, payload: bytes) -> bytes:
    return sign_jws(payload, typ=ENVELOPE_TYP, signer=two.it.party.signer())


def says(answer: httpx2.Response, code: str, status: int) -> None:
    """The answer is a problem document with this code, and repeats nothing."""
    assert (answer.json()["code"], answer.status_code) == (code, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Invented" not in answer.text


def is_in_evidence(two: Two, answer: httpx2.Response, code: str) -> None:
    """The refusal is signed by the hub, so that the sender can prove it."""
    [fact] = two.it.facts(answer.json()["evidence"])
    assert (fact.fact, fact.code) == (Fact.REFUSED, code)


MALFORMED = {
    "nothing": b"",
    "half an object": b'{"payload":"Invented',
    "no JSON": b"Invented person",
    "a list": b"[]",
    "a byte order mark": b'\xef\xbb\xbf{"payload":""}',
    "not UTF-8": b'{"payload":"\xff\xfe"}',
    "half a surrogate pair": b'{"payload":"\\ud800"}',
    "not a number": b'{"payload":NaN}',
    "a member twice": b'{"payload":"","payload":"","protected":"","signature":""}',
    "a thousand brackets": b"[" * 1000 + b"]" * 1000,
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_bytes_that_are_no_strict_json_are_refused_as_malformed(two: Two, what: str) -> None:
    answer = await two.submit(MALFORMED[what])

    assert answer.status_code == 400
    assert answer.json()["code"] in ("malformed-json", "schema")
    assert answer.json()["family"] == "refused"
    assert "Invented" not in answer.text


async def test_a_member_twice_in_what_was_signed_is_refused_in_evidence(two: Two) -> None:
    payload = two.it.seal(two.draft()).content.to_json()
    twice = payload[:-1] + b',"to":"al.shelter"}'

    answer = await two.submit(signed(two, twice))

    says(answer, "malformed-json", 400)


async def test_a_field_that_nobody_knows_is_refused_in_evidence(two: Two) -> None:
    payload = two.it.seal(two.draft()).content.to_json()

    answer = await two.submit(signed(two, payload[:-1] + b',"bcc":"al.shelter"}'))

    says(answer, "schema", 400)
    is_in_evidence(two, answer, "schema")


async def test_an_unknown_key_is_refused_and_leaves_no_row(two: Two) -> None:
    stranger = make_party("it.nrm")  # in Italy's name, with keys of its own
    raw = replace(two.it, party=stranger).seal(two.draft()).raw
    before = two.rows("quarantine"), two.rows("evidence")

    says(await two.submit(raw), "key-unknown", 401)

    assert (two.rows("quarantine"), two.rows("evidence")) == before


async def test_a_revoked_key_is_refused_as_soon_as_the_directory_says_so(two: Two) -> None:
    world = two.hub.world
    name = "it.coordinator"
    agreement, raw = world.agreement(name, "al.nrm")
    assert (await two.http.post("/agreements", content=raw)).status_code == 201
    client = Client(world.parties[name], world, two.http)
    grant = await client.grant("al.nrm")
    await client.send("al.nrm", agreement=agreement, grant=grant)
    await two.taken()
    sealed = client.seal(client.draft("al.nrm", agreement=agreement, grant=grant))

    await asyncio.to_thread(world.publish, world.parties[name].with_status(KeyStatus.COMPROMISED))
    async with asyncio.timeout(20):
        while (answer := await two.submit(sealed.raw)).status_code in (200, 201):
            sealed = client.seal(client.draft("al.nrm", agreement=agreement, grant=grant))
            await asyncio.sleep(0.1)

    says(answer, "key-revoked", 403)
    is_in_evidence(two, answer, "key-revoked")
    await two.taken()  # what came before the revocation was known


def _protected(raw: bytes, **changes: object) -> dict[str, Any]:
    """A JWS with another protected header."""
    jws: dict[str, Any] = json.loads(raw)
    header = {**json.loads(unb64u(jws["protected"])), **changes}
    jws["protected"] = b64u(json.dumps(header).encode())
    return jws


STRIPPED: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "an empty signature": lambda raw: {**json.loads(raw), "signature": ""},
    "zeros": lambda raw: {**json.loads(raw), "signature": b64u(bytes(64))},
    "no signature member": lambda raw: {
        key: value for key, value in json.loads(raw).items() if key != "signature"
    },
    "alg none": lambda raw: {**_protected(raw, alg="none"), "signature": ""},
    "another alg": lambda raw: _protected(raw, alg="ES256"),
    "a key of its own": lambda raw: _protected(raw, jwk={"kty": "OKP"}),
    "a header that is not protected": lambda raw: {**json.loads(raw), "header": {"alg": "none"}},
    "other content": lambda raw: {
        **json.loads(raw),
        "payload": b64u(unb64u(json.loads(raw)["payload"]).replace(b"routine", b"urgent")),
    },
}


@pytest.mark.parametrize("what", STRIPPED)
async def test_without_its_own_signature_nothing_is_accepted_or_testified(
    two: Two, what: str
) -> None:
    """Row 11 of the peers' bugs: strip the signature, alter alg, embed a key."""
    raw = json.dumps(STRIPPED[what](two.it.seal(two.draft()).raw)).encode()
    before = two.rows("evidence")

    answer = await two.submit(raw)

    assert answer.status_code == 400
    assert answer.json()["code"] in ("suspect", "schema", "malformed-json")
    assert "evidence" not in answer.json()
    assert two.rows("evidence") == before


async def test_a_forgery_in_a_known_name_is_kept_for_a_person(two: Two) -> None:
    before = two.rows("quarantine")

    answer = await two.submit(json.dumps(STRIPPED["zeros"](two.it.seal(two.draft()).raw)).encode())

    assert answer.json() == {"type": "about:blank", "status": 400, "code": "suspect"}
    assert two.rows("quarantine") == before + 1


async def test_a_suite_that_does_not_exist_or_is_not_the_keys_is_refused(two: Two) -> None:
    content = json.loads(two.it.seal(two.draft()).content.to_json())
    for suite in (3, 2):
        payload = json.dumps({**content, "id": str(uuid4()), "suite": suite}).encode()
        answer = await two.submit(signed(two, payload))

        # A suite is a promise about every part, so a false one may fail as form, too.
        assert answer.json()["code"] in ("suite", "schema")
        assert answer.status_code == 400


async def test_a_part_to_somebody_elses_key_is_refused(two: Two) -> None:
    """The header says Albania, the seal is for the shelter."""
    world = two.hub.world
    draft = two.draft()
    other = two.it.seal(replace(draft, to="al.shelter"))
    content = json.loads(other.content.to_json())

    answer = await two.submit(signed(two, json.dumps({**content, "to": "al.nrm"}).encode()))

    says(answer, "suite", 400)
    is_in_evidence(two, answer, "suite")
    assert world.parties["al.shelter"].sealing_key().kid in str(content)


def _tag(grant: Grant, /, **changes: Any) -> ConsentTag:
    return ConsentTag(grant=grant.id, scopes=grant.scopes, until=grant.until).model_copy(
        update=changes
    )


Change = Callable[[EnvelopeDraft, Grant], EnvelopeDraft]
MINUTES = timedelta(minutes=1)
REFUSED: dict[str, tuple[str, int, Change]] = {
    "an expiry in the past": (
        "expired",
        410,
        lambda d, g: replace(d, issued_at=d.issued_at - timedelta(days=2), expires_at=d.issued_at),
    ),
    "a clock eleven minutes ahead": (
        "from-the-future",
        400,
        lambda d, g: replace(d, issued_at=d.issued_at + 11 * MINUTES),
    ),
    "no consent": ("consent-missing", 403, lambda d, g: replace(d, consent=None)),
    "a grant that nobody registered": (
        "consent-missing",
        403,
        lambda d, g: replace(d, consent=_tag(g, grant=uuid4())),
    ),
    "a section that the grant does not cover": (
        "consent-scope",
        403,
        lambda d, g: replace(d, consent=_tag(g, scopes=(b64u(b"x" * 16),))),
    ),
    "a longer consent than was given": (
        "consent-expired",
        403,
        lambda d, g: replace(d, consent=_tag(g, until=g.until + timedelta(days=1))),
    ),
    "no agreement": ("no-agreement", 403, lambda d, g: replace(d, agreement=None)),
    "an agreement that nobody signed": (
        "no-agreement",
        403,
        lambda d, g: replace(d, agreement=uuid4()),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_header_rules_refuse_is_refused_in_evidence(two: Two, what: str) -> None:
    code, status, change = REFUSED[what]

    answer = await two.submit(two.it.seal(change(two.draft(), two.grant)).raw)

    says(answer, code, status)
    is_in_evidence(two, answer, code)


async def test_consent_that_has_run_out_carries_nothing(two: Two) -> None:
    today = SystemClock().now().date()
    ended = await two.it.grant(
        "al.nrm", valid_from=today - timedelta(days=9), until=today - timedelta(days=3)
    )

    answer = await two.submit(two.it.seal(two.draft(grant=ended)).raw)

    says(answer, "consent-expired", 403)
    is_in_evidence(two, answer, "consent-expired")


async def test_consent_that_was_withdrawn_carries_nothing(two: Two) -> None:
    ended = await two.it.grant("al.nrm")
    withdrawal = two.it.withdrawal(ended, "al.nrm")
    assert (await two.submit(withdrawal.raw)).status_code == 201

    answer = await two.submit(two.it.seal(two.draft(grant=ended)).raw)

    says(answer, "consent-withdrawn", 403)
    is_in_evidence(two, answer, "consent-withdrawn")
    urgent = await two.al.mailbox(lane=withdrawal.content.lane)
    assert [item["jws"] for item in urgent] == [withdrawal.raw.decode()]
    await two.al.acknowledge(urgent)


async def test_consent_for_somebody_else_carries_nothing(two: Two) -> None:
    """The grant is for the shelter; the message goes to Albania's mechanism."""
    other = await two.it.grant("al.shelter")

    answer = await two.submit(two.it.seal(two.draft(grant=other)).raw)

    says(answer, "consent-recipient", 403)
    is_in_evidence(two, answer, "consent-recipient")


async def test_a_replay_with_the_same_bytes_is_answered_with_the_same_evidence(two: Two) -> None:
    sealed = two.it.seal(two.draft())

    first = await two.submit(sealed.raw)
    again = [await two.submit(sealed.raw) for _ in range(3)]

    assert first.status_code == 201
    assert {(answer.status_code, answer.content) for answer in again} == {(200, first.content)}
    assert await two.taken() == [sealed.raw.decode()]
    # Delivered and acknowledged, it is still the same answer, and not a second delivery.
    assert (await two.submit(sealed.raw)).content == first.content


async def test_a_replay_with_other_bytes_is_refused_and_the_first_stays(two: Two) -> None:
    sealed = two.it.seal(two.draft())
    assert (await two.submit(sealed.raw)).status_code == 201

    answer = await two.submit(two.it.seal(two.draft(id=sealed.content.id)).raw)

    says(answer, "id-conflict", 409)
    is_in_evidence(two, answer, "id-conflict")
    assert await two.taken() == [sealed.raw.decode()]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused_while_it_is_read(two: Two, announced: bool) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(65536)

    content = bytes(2 * 1024 * 1024) if announced else endless()

    says(await two.http.post("/envelopes", content=content), "too-large", 413)


async def _cut_off(hub: HandHub, head: str, body: bytes, announced: int) -> bytes:
    """Send fewer bytes than announced and hang up, as a broken line does."""
    _, _, port = hub.url.rpartition(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    lines = f"{head}host: 127.0.0.1:{port}\r\ncontent-length: {announced}\r\n\r\n"
    writer.write(lines.encode() + body)
    await writer.drain()
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def _bugs(hub: HandHub) -> list[dict[str, Any]]:
    return [event for event in hub.events() if event["event"] in ("http:bug", "hub:loop-bug")]


async def test_an_envelope_that_is_cut_off_is_not_accepted_and_may_come_again(two: Two) -> None:
    sealed = two.it.seal(two.draft())
    before = two.rows("envelope")

    await _cut_off(two.hub, "POST /envelopes HTTP/1.1\r\n", sealed.raw[:-100], len(sealed.raw))

    assert two.rows("envelope") == before
    assert _bugs(two.hub) == []
    assert (await two.submit(sealed.raw)).status_code == 201
    assert await two.taken() == [sealed.raw.decode()]


async def test_an_attachment_that_is_cut_off_leaves_nothing_and_may_come_again(two: Two) -> None:
    data = secrets.token_bytes(2_500_000)
    path = f"/attachments/{b64u(hashlib.sha256(data).digest())}"
    head = f"PUT {path} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in two.it.signed("PUT", path).items()
    )

    await _cut_off(two.hub, head, data[:1_500_000], len(data))
    await asyncio.to_thread(until, "no chunk is left", lambda: two.rows("attachment_chunk") == 0)
    again = await two.http.put(path, headers=two.it.signed("PUT", path), content=data)

    assert again.status_code == 201
    assert _bugs(two.hub) == []


async def test_an_attachment_with_other_bytes_than_its_name_says_is_refused(two: Two) -> None:
    path = f"/attachments/{b64u(hashlib.sha256(b'other').digest())}"
    before = two.rows("attachment_chunk")

    answer = await two.http.put(path, headers=two.it.signed("PUT", path), content=b"bytes")

    says(answer, "truncated", 400)
    assert two.rows("attachment_chunk") == before


async def test_garbage_on_the_socket_ends_that_connection_alone(two: Two) -> None:
    _, _, port = two.hub.url.rpartition(":")

    def speak(data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as line:
            line.sendall(data)
            return line.recv(4096)

    for data in (secrets.token_bytes(2000) + b"\r\n\r\n", b"POST /envelopes HTTP/9.9\r\n\r\n"):
        assert b"400" in await asyncio.to_thread(speak, data)


# --- Gateways in this process: what only a lying sender can make -----------------------------


async def _lie(italy: Side, change: Callable[[dict[str, Any]], None]) -> UUID:
    """Send a referral whose sealed part was changed before sealing, as no gateway of ours does."""
    grant = await italy.consent("al.nrm")
    draft = MessageDraft.model_validate(
        {
            "type": "referral.request",
            "to": "al.nrm",
            "case_ref": "CASE-1",
            "grant": grant,
            "purpose": Purpose.PROTECTION,
            "sections": CASE,
            "body": {"services": ["safe_house"]},
        }
    )
    core = italy.gateway.core
    async with core.database.read() as connection:
        composed: Composed = await compose(core, italy.parts.agreements, connection, draft)
    part = json.loads(composed.parts[Compartment.CASEWORK])
    change(part)
    parts = {**composed.parts, Compartment.CASEWORK: json.dumps(part).encode()}
    stored = await italy.parts.sender.send(replace(composed, parts=parts))
    return UUID(str(stored.id))


def _other_section(part: dict[str, Any]) -> None:
    part["scopes"][0]["section"] = "identity_core"
    part["sections"] = {"identity_core": {"first_name": "Invented"}}


def _smuggled(part: dict[str, Any]) -> None:
    part["sections"]["identity_core"] = {"first_name": "Invented"}
    part["scopes"].append({**part["scopes"][0], "section": "identity_core"})


def _forged_scope(part: dict[str, Any]) -> None:
    key = base64.urlsafe_b64decode(part["grant_key"] + "==")
    part["scopes"][0]["scope"] = blind_scope(key, Purpose.PROTECTION, "identity_core")
    part["scopes"][0]["section"] = "identity_core"
    part["sections"] = {"identity_core": {"first_name": "Invented"}}


async def _state(side: Side, message: UUID) -> str:
    file = side.gateway.core.settings.home / "gateway.sqlite3"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        for stored in (message.hex, str(message)):
            found = connection.execute("SELECT state FROM outbox WHERE id = ?", (stored,))
            if row := found.fetchone():
                return str(row[0])
    return "gone"


def _quarantined(side: Side) -> list[str]:
    file = side.gateway.core.settings.home / "gateway.sqlite3"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        return [str(row[0]) for row in connection.execute("SELECT code FROM quarantine")]


@pytest.mark.parametrize("lie", [_other_section, _smuggled, _forged_scope])
async def test_a_scope_that_lies_about_its_section_is_suspect_and_never_filed(
    tmp_path: Path, lie: Callable[[dict[str, Any]], None]
) -> None:
    """The hub cannot see it: the header is in order. The recipient quarantines and says nothing."""
    async with in_process.world(tmp_path / "network") as made:
        italy, albania = made["it.nrm"], made["al.nrm"]

        message = await _lie(italy, lie)
        await made.settle()

        folder = made.network.participants["al.nrm"].home / "htcds" / "in"
        assert list(folder.glob("*.csv")) == []
        assert _quarantined(albania) == ["scope-mismatch"]
        assert await _state(italy, message) not in ("delivered", "filed", "read")


async def test_a_type_that_the_recipient_does_not_know_comes_back_with_its_code(
    tmp_path: Path,
) -> None:
    async with in_process.world(tmp_path / "network") as made:
        italy = made["it.nrm"]

        message = await _lie(italy, lambda part: part.update(type="referral.nonsense"))
        await made.settle()

        folder = made.network.participants["al.nrm"].home / "htcds" / "in"
        assert list(folder.glob("*.csv")) == []
        assert await _state(italy, message) == "refused"


# --- A network of processes, by commands and the local API -----------------------------------


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("network") / "made") as made:
        yield made


@pytest.fixture(scope="module")
def consent(net: Running) -> str:
    ended = net.run(
        "it.nrm",
        *("consent", "record", "--to", "al.nrm", "--case", "X-1", "--principal", "p-1"),
        *("--scope", "protection:case_admin,identity_core", "--until", "2030-01-01"),
        *("--language", "sqi", "--notice", "n-1"),
    )
    assert ended.code == 0, ended.err
    return str(ended.json["grant"])


def _send(net: Running, consent: str, file: Path, *more: str, case: str = "X-1") -> Ended:
    return net.run(
        "it.nrm",
        *("send", "--to", "al.nrm", "--type", "referral.request", "--case", case),
        *("--from-file", str(file), "--purpose", "protection", "--grant", consent),
        *("--set", 'services=["safe_house"]', "--section", "case_admin", *more),
    )


HEADER = b"x_case_ref,x_invented,cas_Status,prs_FirstName,prs_Birthdate,prs_Gender\r\n"
ROW = b"X-1,yes,Active,Invented-Arta,1998-04-12,Feminine\r\n"
WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "schema"),
    "wrong columns": (b"Invented-Column,Another\r\n1,2\r\n", "schema"),
    "no column for the case": (HEADER.replace(b"x_case_ref", b"x_casing") + ROW, "schema"),
    "semicolons": ((HEADER + ROW).replace(b",", b";"), "schema"),
    "a bad code": (HEADER + ROW.replace(b"Feminine", b"Invented-code"), "prs_Gender"),
    "a bad date": (HEADER + ROW.replace(b"1998-04-12", b"31/02/98"), "prs_Birthdate"),
    "a date that is none": (HEADER + ROW.replace(b"04-12", b"02-30"), "prs_Birthdate"),
    "a NUL": (HEADER + ROW.replace(b"Arta", b"Ar\0ta"), "nul"),
    "another encoding": (HEADER + ROW.replace(b"Arta", "Ártă".encode("cp1250")), "line 2"),
    "UTF-16": ((HEADER + ROW).decode().encode("utf-16"), "schema"),
    "a cell too many": (HEADER + ROW.replace(b"yes", b"yes,yes"), "wrong-number-of-cells"),
    "a quote that never ends": (HEADER + ROW.replace(b"Active", b'"Active'), "line 2"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_file_that_is_wrong_says_where_and_why_and_sends_nothing(
    net: Running, consent: str, tmp_path: Path, what: str
) -> None:
    content, why = WRONG_FILES[what]
    file = tmp_path / "cases.csv"
    file.write_bytes(content)
    before = len(net.network.worker("it.nrm").items("/v1/messages", "messages", box="outbox"))

    ended = _send(net, consent, file)

    after = len(net.network.worker("it.nrm").items("/v1/messages", "messages", box="outbox"))
    assert (ended.code, ended.out) == (Exit.FAILED, ""), ended.err
    assert why in json.dumps(ended.error)
    assert "Invented" not in ended.err
    assert after == before


def test_a_byte_order_mark_is_no_reason_to_refuse(
    net: Running, consent: str, tmp_path: Path
) -> None:
    """Excel writes one. The case arrives, and the mark is in no cell."""
    file = tmp_path / "cases.csv"
    file.write_bytes(b"\xef\xbb\xbf" + HEADER + ROW)
    before = len(net.filed("al.nrm"))

    ended = _send(net, consent, file)

    assert ended.code == 0, ended.err
    until("filed", lambda: len(net.filed("al.nrm")) == before + 1)


def test_a_line_of_100_mb_costs_its_row_and_no_memory(
    net: Running, consent: str, tmp_path: Path
) -> None:
    file = tmp_path / "cases.csv"
    with file.open("wb") as out:
        out.write(HEADER + b"X-2,yes,Active,")
        for _ in range(100):
            out.write(b"x" * 1_000_000)
        out.write(b",,\r\n" + ROW)
    before = _memory(net)

    bad = _send(net, consent, file, case="X-2")
    good = _send(net, consent, file, "--dry-run")

    assert bad.code == Exit.FAILED
    assert "too-long" in json.dumps(bad.error) or "too-large" in json.dumps(bad.error)
    assert good.code == 0, good.err
    assert _memory(net) - before < 50_000_000


def _memory(net: Running) -> int:
    """The most that Italy's gateway ever used, in bytes."""
    status = Path(f"/proc/{net.gateways['it.nrm'].pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_the_drafts_api_tells_good_rows_from_bad_ones_and_stores_neither(net: Running) -> None:
    text = (HEADER + ROW + ROW.replace(b"X-1", b"X-2").replace(b"Feminine", b"?")).decode()
    api = net.network.worker("it.nrm")

    answer = api.post("/v1/drafts", {"text": text})

    assert [case["case_ref"] for case in answer["cases"]] == ["X-1"]
    assert answer["refused"] == [{"line": 3, "reasons": ["prs_Gender: unknown-code"]}]


def _post(net: Running, path: str, body: bytes) -> httpx2.Response:
    api = net.network.worker("it.nrm")
    token = (net.home("it.nrm") / "workers" / "first.token").read_text().strip()
    return httpx2.post(
        f"http://{api.host}:{api.port}{path}",
        content=body,
        headers={"authorization": f"Bearer {token}"},
        timeout=20,
        trust_env=False,
    )


LOCAL: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"Invented", "malformed-json", 400),
    "a member twice": (b'{"type":"a","type":"Invented"}', "malformed-json", 400),
    "a field too many": (b'{"Invented":1}', "schema", 400),
    "five megabytes": (b'{"x":"' + b"x" * 5_000_000 + b'"}', "too-large", 413),
}


@pytest.mark.parametrize("what", LOCAL)
def test_what_a_worker_sends_wrongly_is_refused_by_its_code(net: Running, what: str) -> None:
    body, code, status = LOCAL[what]

    for path in ("/v1/messages", "/v1/drafts", "/v1/consents"):
        says(_post(net, path, body), code, status)


def test_a_type_that_does_not_exist_is_refused_before_it_is_stored(
    net: Running, consent: str
) -> None:
    ended = net.run(
        "it.nrm",
        *("send", "--to", "al.nrm", "--type", "referral.nonsense", "--case", "X-1"),
        *("--purpose", "protection", "--grant", consent),
    )

    assert (ended.code, ended.error["code"]) == (Exit.FAILED, "unknown-type")


def test_a_file_that_is_no_file_is_not_found(net: Running, consent: str, tmp_path: Path) -> None:
    answer = _post(net, "/v1/drafts", json.dumps({"file": str(tmp_path / "missing.csv")}).encode())

    says(answer, "not-found", 404)
    assert _send(net, consent, tmp_path / "missing.csv").code in (Exit.USAGE, Exit.NOT_FOUND)


def test_a_folder_instead_of_a_file_is_refused_and_is_no_bug(net: Running, tmp_path: Path) -> None:
    answer = _post(net, "/v1/drafts", json.dumps({"file": str(tmp_path)}).encode())

    assert answer.status_code in (400, 404, 503)
    assert answer.json()["code"] != "internal"


def test_the_sample_still_goes_through_after_all_this(net: Running, consent: str) -> None:
    before = len(net.filed("al.nrm"))

    ended = _send(net, consent, sample_cases(), case="IT-DEMO-0001")

    assert ended.code == 0, ended.err
    until("filed", lambda: len(net.filed("al.nrm")) == before + 1)
