"""The hub's answers as typed results: what is a refusal, what is only 'later', what is hearsay."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest

from broker.client import HubClient, Refusal, Submitted
from broker.clock import SystemClock
from keys.http_signing import verify_request
from schemas.envelope import Lane
from schemas.errors import (
    HubUnreachable,
    LogUnavailable,
    NotFound,
    Refused,
    SecondIncarnation,
    Unavailable,
)
from tests.support.parties import directory_of, make_party

ITALY = make_party("it.nrm")
Handler = Callable[[httpx2.Request], httpx2.Response]


def client(handler: Handler) -> HubClient:
    return HubClient(
        "http://hub.example/",
        signer=ITALY.signer(),
        clock=SystemClock(),
        transport=httpx2.MockTransport(handler),
    )


def answering(status: int, body: object = None) -> HubClient:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client(lambda _request: httpx2.Response(status, content=content))


@pytest.mark.parametrize(("status", "repeated"), [(201, False), (200, True)])
async def test_an_accepted_envelope_comes_back_with_its_evidence(
    status: int, repeated: bool
) -> None:
    async with answering(status, b'{"payload":"x"}') as hub:
        answer = await hub.submit(b"{}")

    assert answer == Submitted(b'{"payload":"x"}', repeated)


async def test_a_refusal_comes_back_with_code_and_evidence() -> None:
    problem = {"code": "consent-scope", "family": "refused", "evidence": '{"payload":"e"}'}
    async with answering(403, problem) as hub:
        answer = await hub.submit(b"{}")

    assert answer == Refusal("consent-scope", "refused", b'{"payload":"e"}')


async def test_a_refusal_without_evidence_stays_without() -> None:
    async with answering(403, {"code": "policy", "family": "refused"}) as hub:
        answer = await hub.submit(b"{}")

    assert isinstance(answer, Refusal)
    assert answer.evidence is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"code": "log-unavailable", "family": "unavailable"}),
        (429, {"code": "rate-limited", "family": "refused"}),
        (502, b"<html>bad gateway</html>"),
        (404, b"<html>another server</html>"),
        (302, b""),
        (500, {"code": "internal"}),
    ],
)
async def test_what_is_not_the_hubs_word_means_later(status: int, body: object) -> None:
    async with answering(status, body) as hub:
        with pytest.raises(Unavailable):
            await hub.submit(b"{}")


async def test_a_line_that_breaks_means_later() -> None:
    def broken(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("gone")

    async with client(broken) as hub:
        with pytest.raises(HubUnreachable):
            await hub.submit(b"{}")
        assert not await hub.ready()


async def test_errors_keep_their_class() -> None:
    for code, status, kind in (
        ("second-incarnation", 409, SecondIncarnation),
        ("log-unavailable", 503, LogUnavailable),
        ("not-found", 404, NotFound),
        ("code-of-a-later-version", 400, Refused),
    ):
        async with answering(status, {"code": code}) as hub:
            with pytest.raises(kind):
                await hub.claim_incarnation("AAAAAAAAAAAAAAAAAAAAAA")


async def test_an_id_that_the_hub_never_had_is_no_error() -> None:
    async with answering(404, {"code": "not-found", "family": "refused"}) as hub:
        assert await hub.envelope_state(uuid4()) is None


async def test_every_question_is_signed_so_that_the_hub_knows_who_asks() -> None:
    seen: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"items": []})

    async with client(take) as hub:
        await hub.mailbox(Lane.URGENT, limit=10, wait=timedelta(seconds=40))

    [request] = seen
    assert "wait=25" in str(request.url)
    caller = verify_request(
        method="GET",
        url=str(request.url),
        headers=dict(request.headers),
        body=b"",
        directory=directory_of(ITALY),
        now=SystemClock().now(),
    )
    assert caller.id == "it.nrm"
