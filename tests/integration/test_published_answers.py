"""Whatever is asked, hub and gateway answer as their published OpenAPI says, and never with a bug.

The requests are made from the documents by schemathesis: wrong ones mostly, and right ones where
something that exists is asked for. `./run soak` asks far more often, and others each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from broker.clock import SystemClock
from broker.gateway.api.app import create_api
from broker.gateway.home import add_worker
from broker.http import PROBLEM
from keys.http_signing import sign_request
from schemas.errors import codes
from tests.support import answers, gateways, openapi
from tests.support.fuzzing import Beside, Headers, cases, operations, put
from tests.support.hub import World

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
A_FEW, MANY = 8, 400
ERROR_CODES = {*codes(), "http", "suspect"}
"""`http`: a path or method that is not there."""


@dataclass
class Side:
    """One real application, and what its callers know."""

    beside: Beside[Any]
    http: httpx2.AsyncClient
    headers: Headers
    known: Mapping[str, list[str]]
    answered: Mapping[str, Mapping[int, answers.Shape]]

    def try_all(self, document: dict[str, Any], *, soaking: bool) -> set[tuple[str, int]]:
        """Put requests of every operation; which succeeded in which way."""
        return {
            found
            for name, operation in operations(document).items()
            for found in self.try_one(name, operation, soaking=soaking)
        }

    def try_one(self, name: str, operation: Any, *, soaking: bool) -> set[tuple[str, int]]:
        found = set()

        @settings(
            max_examples=MANY if soaking else A_FEW,
            derandomize=not soaking,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(operation, self.known))
        def ask(case: Any) -> None:
            answer = self.beside.run(self.http.send(put(self.http, case, self.headers)))
            case.validate_response(answer, checks=CHECKS)
            status = answer.status_code
            found.add((name, status))
            if status in self.answered[name]:
                return
            assert 400 <= status < 500 or status == 503, name
            assert answer.headers["content-type"] == PROBLEM, name
            assert name.startswith("HEAD ") or answer.json()["code"] in ERROR_CODES, name

        ask()
        return found


# On PostgreSQL, which takes fewer texts and integers than SQLite does.
def test_a_hub_answers_as_published(tmp_path: Path, postgres_url: str, soaking: bool) -> None:
    names = ("it.nrm", "al.nrm", "it.rapporteur")
    world = World(tmp_path, SystemClock(), database=postgres_url, names=names)
    beside = Beside(world.serving)
    with beside as served:

        async def prepared() -> Mapping[str, list[str]]:
            italy, albania, agreement = await served.pair()
            grant = await italy.grant("al.nrm")
            sent = await italy.send("al.nrm", agreement=agreement, grant=grant)
            await albania.mailbox()
            return {
                "grant": [str(grant.id)],
                "envelope": [str(sent.content.id)],
                "from": ["it.nrm", "al.nrm"],
                "to": ["al.nrm"],
                "incarnation": [italy.incarnation],
                "lane": ["routine", "urgent"],
                "name": ["timestamp.json", "1.root.json"],
                "country": ["IT", "AL"],
                "lang": ["en", "ar"],
            }

        known = beside.run(prepared())
        signers = [party.signer() for party in world.parties.values()]
        turns = iter(range(10**9))

        def signed(method: str, url: str, body: bytes) -> Mapping[str, str]:
            signer = signers[next(turns) % len(signers)]
            now = world.clock.now()
            return sign_request(
                method=method, url=url, headers={}, body=body, signer=signer, now=now
            )

        side = Side(beside, served.http, signed, known, answers.HUB)
        found = side.try_all(openapi.hub(), soaking=soaking)
    assert {name for name, status in found if status == 200} >= {
        "GET /agreements",
        "GET /envelopes/{envelope}",
        "GET /grants/{grant}",
        "GET /log/entries",
        "GET /mailbox",
        "GET /streams/numbers",
    }


def test_a_gateway_answers_as_published(tmp_path: Path, soaking: bool) -> None:
    beside = Beside(lambda: gateways.world(tmp_path / "network"))
    with beside as world:
        italy = world["it.nrm"]
        home = world.network.participants["it.nrm"].home
        add_worker(home, "knowing", may_know=True)
        token = (home / "workers" / "knowing.token").read_text().strip()
        app = create_api(italy.parts, not_ready=italy.gateway.not_ready)
        http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://127.0.0.1:8420",
        )

        async def prepared() -> Mapping[str, list[str]]:
            grant = await italy.consent("al.nrm")
            sent = await italy.refer("al.nrm", grant)
            await world.settle()
            return {
                "grant": [str(grant)],
                "about": [str(grant), str(sent.id)],
                "message": [str(sent.id)],
                "thread": [str(sent.thread)],
                "case": ["CASE-1"],
                "language": ["en", "fr", "ar"],
                "first": ["2026-01-01", "2026-04-01"],
                "last": ["2026-03-31", "2026-06-30"],
            }

        known = beside.run(prepared())
        side = Side(
            beside, http, lambda *_: {"authorization": f"Bearer {token}"}, known, answers.GATEWAY
        )
        found = side.try_all(openapi.gateway(), soaking=soaking)
        beside.run(http.aclose())
    assert {name for name, status in found if status == 200} >= {
        "GET /v1/consents/{grant}",
        "GET /v1/consents/{grant}/record",
        "GET /v1/messages/{message}",
        "GET /v1/threads/{thread}",
        "POST /v1/consents/search",
        "POST /v1/rights/ledger",
    }
