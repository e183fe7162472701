"""Bad input at a hub's process, to which tests speak by hand: no gateway of ours would send it.

Each kind has a clear error. After each test a good message still goes through, and it alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from broker.cli.demo.processes import until
from broker.clock import SystemClock
from keys.jws import sign_jws
from keys.sealing import EnvelopeDraft
from schemas.base import b64u, unb64u
from schemas.directory import KeyStatus
from schemas.envelope import ENVELOPE_TYP, ConsentTag
from schemas.evidence import Fact
from tests.support import hub as support
from tests.support.hub import Client, Grant, World
from tests.support.parties import make_party
from tests.support.processes import HandHub, says

NAMES = ("it.nrm", "al.nrm", "al.shelter", "it.coordinator")


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
