"""A country's own endpoint is told each case once, whatever it does to the line."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adapters.base import CannotMap, Declined, Filed, Memory, News, Skill, Step, Tools
from adapters.conformance import conform
from adapters.conformance.cases import full_case
from adapters.conformance.checks import new_id
from adapters.systems.webhook import WebhookSystem, make
from deploy.dev.certificates import Certificates
from keys.http_signing import Nonces, sign_request, verify_request
from schemas.errors import BrokerError, CaseSystemUnavailable, OutcomeUnknown, SchemaRefused
from tests.support import endpoint
from tests.support.endpoint import Casebook, Misbehave, serving, status
from tests.support.parties import NOW, Party, directory_of, make_party

ALL = ["read", "update", "erase", "poll", "tell"]
SILENCES: dict[str, Misbehave] = {
    "hung up": endpoint.hang_up,
    "cut after its headers": endpoint.cut_after_headers,
    "500": status(500),
    "502 of a proxy": status(502, b"<html>", "text/html"),
    "a page to sign in": status(200, b"<html>", "text/html"),
    "not JSON": status(200, b"{"),
    "a member twice": status(200, b'{"outcome":"filed","outcome":"declined"}'),
    "another shape": status(200, b'{"ok":true}'),
    "endless": endpoint.endless,
    "compressed": status(200, b"\x1f\x8b", content_encoding="gzip"),
    "see other": status(303, location="http://127.0.0.1:1/"),
}
NOT_DONE: dict[str, Misbehave] = {
    "moved": status(307, location="http://127.0.0.1:1/"),
    "bad request of a framework": status(400, b'{"detail":"Bad"}'),
    "forbidden": status(403),
    "not found": status(404),
    "later": status(503),
    "too many": status(429),
    "a problem document": status(422, b'{"title":"wrong"}'),
}


@pytest.fixture(scope="module")
def party() -> Party:
    return make_party("it.nrm")


@pytest.fixture
def tools(party: Party) -> Tools:
    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        return sign_request(
            method=method, url=url, headers=headers, body=body, signer=party.signer(), now=NOW
        )

    return Tools(sign_request=sign)


@pytest.fixture
def book() -> Casebook:
    return Casebook()


@pytest.fixture
def url(book: Casebook) -> Iterator[str]:
    with serving(book) as address:
        yield address


def opened(url: str, tools: Tools, memory: str = "lookup", **more: Any) -> WebhookSystem:
    table = {"url": url, "memory": memory, "offers": ALL, "failures": 1000, **more}
    return make(table, tools)


@pytest.mark.parametrize(("memory", "offers"), [("lookup", ALL), ("keys", ["erase", "update"])])
def test_it_keeps_every_promise_also_when_it_is_killed(
    memory: str, offers: list[str], url: str, tools: Tools, book: Casebook
) -> None:
    table = {"url": url, "memory": memory, "offers": offers}
    report = conform("webhook", table, tools, now=datetime.now(UTC), kills=2)
    assert [each for each in report.results if each.outcome == "failed"] == []
    assert not book.cases


def test_an_endpoint_that_offers_nothing_but_filing_keeps_what_it_promises(
    url: str, tools: Tools, book: Casebook
) -> None:
    book.remembers = False
    report = conform("webhook", {"url": url, "memory": "none"}, tools, now=NOW, kills=0)
    assert [each for each in report.results if each.outcome == "failed"] == []


def test_every_request_is_signed_anew_and_no_url_names_a_case(
    url: str, tools: Tools, book: Casebook, party: Party
) -> None:
    system, business_id = opened(url, tools, "keys"), new_id()
    answer = system.file(business_id, full_case())
    assert isinstance(answer, Filed)
    system.file(business_id, full_case())
    system.read(answer.reference)
    system.tell("CASE-1", News("n-1", business_id, Step.ACCEPTED, NOW))
    nonces = Nonces()
    for got in book.got:
        assert got.path == f"/cases/{got.act}"
        by = verify_request(
            method="POST",
            url=f"{url}/{got.act}",
            headers=got.headers,
            body=got.body,
            directory=directory_of(party),
            now=NOW,
            nonces=nonces,
        )
        assert by.id == "it.nrm"
    keys = {got.headers.get("idempotency-key") for got in book.got if got.act == "file"}
    assert keys == {f'"{business_id}"'}


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES.keys())
def test_after_a_silence_one_case_exists_and_where_nobody_remembers_a_person_is_asked(
    silence: Misbehave, url: str, tools: Tools, book: Casebook
) -> None:
    for memory in ("lookup", "keys"):
        system, business_id = opened(url, tools, memory), new_id()
        book.after.append(silence)
        with pytest.raises(CaseSystemUnavailable):
            system.file(business_id, full_case())
        again = system.file(business_id, full_case())
        assert isinstance(again, Filed)
        assert again.already
        if memory == "lookup":
            assert system.find(business_id) == again
    assert len(book.cases) == 2

    book.after.append(silence)
    with pytest.raises(OutcomeUnknown):
        opened(url, tools, "none").file(new_id(), full_case())


@pytest.mark.parametrize("refusal", NOT_DONE.values(), ids=NOT_DONE.keys())
def test_what_was_surely_not_done_is_tried_again_also_where_nobody_remembers(
    refusal: Misbehave, url: str, tools: Tools, book: Casebook
) -> None:
    system = opened(url, tools, "none")
    book.before.append(refusal)
    with pytest.raises(CaseSystemUnavailable):
        system.file(new_id(), full_case())
    assert isinstance(system.file(new_id(), full_case()), Filed)
    assert len(book.cases) == 1


def test_a_redirect_to_another_host_is_not_followed(url: str, tools: Tools, book: Casebook) -> None:
    other = Casebook()
    with serving(other) as elsewhere:
        for code in (301, 302, 303, 307, 308):
            book.before.append(status(code, location=f"{elsewhere}/file"))
            with pytest.raises(CaseSystemUnavailable):
                opened(url, tools).file(new_id(), full_case())
    assert not other.got


def test_a_declined_case_and_one_that_cannot_be_mapped_are_final(
    url: str, tools: Tools, book: Casebook
) -> None:
    system = opened(url, tools, "none")
    declined = b'{"outcome":"declined","code":"outside-mandate"}'
    unmapped = b'{"outcome":"cannot_map","where":["identity_core.gender: unknown-code"]}'
    book.before += [status(409, declined), status(422, unmapped), status(413)]
    answers = [system.file(new_id(), full_case()) for _ in range(3)]
    assert answers == [
        Declined("outside-mandate"),
        CannotMap(("identity_core.gender: unknown-code",)),
        CannotMap(("case: too-large",)),
    ]


def test_no_text_of_the_endpoint_becomes_a_code_or_an_error(
    url: str, tools: Tools, book: Casebook
) -> None:
    system = opened(url, tools, "none")
    for answer in (
        b'{"outcome":"declined","code":"Canary Nobody"}',
        b'{"outcome":"cannot_map","where":["Canary Nobody"]}',
        b'"Canary Nobody"',
        b"Canary Nobody",
    ):
        book.before.append(status(200, answer))
        try:
            said = repr(system.file(new_id(), full_case()))
        except BrokerError as error:
            said = repr(error) + repr(error.__cause__)
        assert "Canary" not in said


def test_a_case_that_is_not_valid_does_not_leave_the_gateway(
    url: str, tools: Tools, book: Casebook
) -> None:
    bad = replace(full_case(), sections={"identity_core": {"gender": "?"}})
    assert isinstance(opened(url, tools).file(new_id(), bad), CannotMap)
    assert not book.got


def test_an_endpoint_that_drips_is_left_when_the_time_is_over(
    url: str, tools: Tools, book: Casebook
) -> None:
    released = threading.Event()
    book.after += [endpoint.drip(released), endpoint.drip(released)]
    try:
        with pytest.raises(CaseSystemUnavailable):
            opened(url, tools, "keys", timeout=0.3).file(new_id(), full_case())
        with pytest.raises(OutcomeUnknown):
            opened(url, tools, "none", timeout=0.3).file(new_id(), full_case())
    finally:
        released.set()


def test_an_endpoint_that_is_down_costs_nobody_a_question(tools: Tools) -> None:
    with serving(Casebook()) as gone:
        pass
    with pytest.raises(CaseSystemUnavailable):
        opened(gone, tools, "none").file(new_id(), full_case())


def test_a_failing_endpoint_is_left_alone_and_then_tried_with_one_request(
    url: str, tools: Tools, book: Casebook
) -> None:
    system, now = opened(url, tools, failures=2, rest=5), [0.0]
    system.endpoint.clock = lambda: now[0]
    book.before += [status(500)] * 3
    for _ in range(5):
        with pytest.raises(CaseSystemUnavailable):
            system.file(new_id(), full_case())
    assert len(book.got) == 2
    now[0] = 5.0
    with pytest.raises(CaseSystemUnavailable):
        system.find(new_id())
    assert len(book.got) == 3
    now[0] = 14.9
    with pytest.raises(CaseSystemUnavailable):
        system.check()
    now[0] = 15.0
    assert isinstance(system.file(new_id(), full_case()), Filed)
    assert system.endpoint.breaker.is_closed


def test_while_paused_nothing_begins_and_what_is_under_way_ends(
    url: str, tools: Tools, book: Casebook, tmp_path: Path
) -> None:
    pause, arrived, released = tmp_path / "pause", threading.Event(), threading.Event()
    system = opened(url, tools, "none", pause=str(pause))

    def wait(request: endpoint.Request) -> None:
        arrived.set()
        released.wait(10)
        request.answer(200, b'{"outcome":"filed","reference":"7"}')

    book.before.append(wait)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(system.file, new_id(), full_case())
        assert arrived.wait(10)
        pause.touch()
        with pytest.raises(CaseSystemUnavailable):
            system.file(new_id(), full_case())
        assert system.endpoint.in_flight == 1
        released.set()
        assert under_way.result() == Filed("7")
    assert (system.endpoint.in_flight, len(book.got)) == (0, 1)
    pause.unlink()
    assert isinstance(system.file(new_id(), full_case()), Filed)


def test_the_server_must_be_the_one_that_the_ca_vouches_for(
    tools: Tools, book: Casebook, tmp_path: Path
) -> None:
    theirs = Certificates.make(tmp_path / "theirs")
    others = Certificates.make(tmp_path / "others")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(theirs.certificate, theirs.key)
    with serving(book, tls) as address:
        assert isinstance(
            opened(address, tools, ca=str(theirs.ca)).file(new_id(), full_case()), Filed
        )
        for settings in ({}, {"ca": str(others.ca)}, {"ca": __file__}):
            with pytest.raises(CaseSystemUnavailable):
                opened(address, tools, "none", **settings).file(new_id(), full_case())
    assert len(book.got) == 1


def test_an_endpoint_that_asks_who_calls_is_shown_our_certificate(
    tools: Tools, book: Casebook, tmp_path: Path
) -> None:
    theirs, ours, others = (Certificates.make(tmp_path / name) for name in ("t", "o", "x"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(theirs.certificate, theirs.key)
    tls.load_verify_locations(ours.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    shown = tmp_path / "client.pem", tmp_path / "client-key.pem"
    settings = {"ca": str(theirs.ca), "certificate": str(shown[0]), "key": str(shown[1])}
    system: WebhookSystem

    def renew(by: Certificates) -> None:
        for path, content in zip(shown, (by.certificate, by.key), strict=True):
            path.write_bytes(content.read_bytes())
            path.chmod(0o600)

    with serving(book, tls) as address:
        with pytest.raises(CaseSystemUnavailable):
            opened(address, tools, ca=str(theirs.ca)).check()
        system = opened(address, tools, **settings)
        with pytest.raises(CaseSystemUnavailable):
            system.check()  # the files are not there yet
        renew(others)
        with pytest.raises(CaseSystemUnavailable):
            system.check()
        assert book.got == []
        renew(ours)  # beside the running gateway
        assert isinstance(system.file(new_id(), full_case()), Filed)
        shown[1].chmod(0o640)
        with pytest.raises(CaseSystemUnavailable, match="chmod"):
            system.check()
    assert [got.act for got in book.got] == ["file"]


def test_a_token_comes_from_a_file_for_the_owner_alone(
    url: str, tools: Tools, book: Casebook, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("opaque-1\n")
    os.chmod(token, 0o644)
    system = opened(url, tools, token_file=str(token))
    with pytest.raises(CaseSystemUnavailable):
        system.check()
    os.chmod(token, 0o600)
    system.check()
    assert [got.headers["authorization"] for got in book.got] == ["Bearer opaque-1"]


def test_a_decision_names_its_referral_and_is_told_once(
    url: str, tools: Tools, book: Casebook
) -> None:
    system = opened(url, tools)
    item = {
        "id": "d-1",
        "business_id": str(UUID(int=7)),
        "step": "declined",
        "at": "2026-11-22T10:00:00Z",
        "reason": "capacity",
    }
    book.page = {"items": [{"news": item}], "cursor": "2", "more": False}
    page = system.poll(None)
    assert page.cursor == "2"
    assert [each.id for each in page.items] == ["d-1"]
    book.page = {"items": [{"news": {**item, "at": "yesterday"}}], "cursor": "3"}
    with pytest.raises(CaseSystemUnavailable):
        system.poll("2")
    for _ in range(2):
        system.tell("CASE-1", News("n-1", UUID(int=7), Step.ACCEPTED, NOW))
    assert book.told == {"n-1": "CASE-1"}


WRONG: dict[str, dict[str, Any]] = {
    "plain HTTP beyond this machine": {"url": "http://casebook.invalid"},
    "a password in the address": {"url": "https://a:b@casebook.invalid"},
    "a query": {"url": "https://casebook.invalid/?a=1"},
    "no address": {"url": None},
    "no memory": {"memory": None},
    "an unknown skill": {"offers": ["cases"]},
    "unsigned beyond this machine": {"url": "https://casebook.invalid", "unsigned": True},
    "a relative path": {"pause": "pause"},
    "an endless timeout": {"timeout": 0},
    "certificates by a relative path": {"ca": "ca.pem"},
    "a certificate without its key": {"certificate": "/client.pem"},
    "an unknown setting": {"retries": 3},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_wrong_settings_are_named(wrong: dict[str, Any], tools: Tools) -> None:
    table = {"url": "https://casebook.invalid", "memory": "lookup", **wrong}
    with pytest.raises(SchemaRefused) as refused:
        make(table, tools)
    assert refused.value.where


def test_without_a_signature_nothing_is_sent_but_to_this_machine() -> None:
    with pytest.raises(SchemaRefused):
        make({"url": "https://casebook.invalid", "memory": "lookup"}, Tools())
    near = make({"url": "http://127.0.0.1:1", "memory": "lookup", "unsigned": True}, Tools())
    assert near.memory is Memory.LOOKUP
    assert near.skills == frozenset[Skill]()
