"""Decisions that a case system brings by itself: only its own key is heard, and each counts once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import select

from broker.clock import SystemClock
from broker.gateway.api.app import create_api
from broker.gateway.api.inbound import CHANGED
from broker.gateway.store.tables import case_news
from keys.http_signing import sign_request
from tests.support.gateways import Side, World, world
from tests.support.parties import Party, make_party

HOST = "http://127.0.0.1:8420"
PATH = "/v1/case-system/news"


class CaseSystem:
    """The country's system, which calls its gateway."""

    def __init__(self, party: Party, side: Side) -> None:
        self.party = party
        app = create_api(side.parts, not_ready=side.gateway.not_ready)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx2.AsyncClient(transport=transport, base_url=HOST)

    def signed(self, body: bytes, **changes: Any) -> dict[str, str]:
        request = {"method": "POST", "url": HOST + PATH, "now": SystemClock().now(), **changes}
        return sign_request(**request, headers={}, body=body, signer=self.party.signer())

    async def bring(self, body: bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
        headers = self.signed(body) if headers is None else headers
        return await self.http.post(PATH, content=body, headers=headers)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[World, CaseSystem]]:
    party = make_party("xx.system")
    async with world(tmp_path / "network", "it.nrm") as made:
        home = made.network.participants["al.nrm"].home
        (home / "system.jwk").write_text(json.dumps(party.signing_key().jwk))
        with (home / "gateway.toml").open("a") as file:
            file.write(f'\n[adapter.inbound]\nkeys = ["system.jwk"]\nurl = "{HOST}"\n')
        albania = await made.open("al.nrm")
        yield made, CaseSystem(party, albania)


def decision(business_id: UUID, step: str = "accepted", **more: Any) -> bytes:
    news = {"id": "casebook-1", "business_id": str(business_id), "step": step}
    return json.dumps({**news, "at": "2026-11-22T10:00:00Z", **more}).encode()


async def noted(side: Side) -> list[Any]:
    async with side.gateway.core.database.read() as connection:
        return list((await connection.execute(select(case_news))).all())


async def test_a_signed_decision_reaches_the_partner_once_however_often_it_is_brought(
    two: tuple[World, CaseSystem],
) -> None:
    made, system = two
    italy, albania = made["it.nrm"], made["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await italy.push()
    await albania.pull()

    body = decision(sent.business_id)
    for _ in range(3):
        answer = await system.bring(body)
        assert (answer.status_code, answer.json()) == (200, {"id": "casebook-1"})
    assert [row.state for row in await noted(albania)] == ["sent"]
    await albania.push()
    await italy.pull()
    await italy.parts.telling.run_once()
    folder = italy.gateway.core.settings.path(Path("htcds"))
    (told,) = (folder / "told").glob("*.csv")
    assert f"CASE-1,{sent.business_id},accepted" in told.read_text()


async def test_a_request_that_is_played_again_to_a_gateway_started_anew_changes_nothing(
    two: tuple[World, CaseSystem],
) -> None:
    made, system = two
    italy, albania = made["it.nrm"], made["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await italy.push()
    await albania.pull()
    bodies = [decision(sent.business_id, "received"), decision(sent.business_id, id="casebook-2")]
    heard = [(body, system.signed(body)) for body in bodies]
    for body, headers in heard:
        assert (await system.bring(body, headers)).status_code == 200
    first = await noted(albania)

    for body, headers in heard:  # this one remembers what it has heard
        assert (await system.bring(body, headers)).status_code == 401
    restarted = CaseSystem(system.party, albania)  # this one has heard nothing yet
    for body, headers in heard:
        assert (await restarted.bring(body, headers)).status_code == 200
    assert await noted(albania) == first
    assert len(first) == 2


async def test_who_does_not_sign_with_the_systems_key_is_not_heard(
    two: tuple[World, CaseSystem],
) -> None:
    made, system = two
    body = decision(UUID(int=7))
    good = system.signed(body)
    assert (await system.bring(body, good)).status_code == 200  # held: it fits no referral
    old = SystemClock().now() - timedelta(minutes=11)
    stranger = CaseSystem(make_party("yy.system"), made["al.nrm"])
    unheard = {
        "replayed": good,
        "unsigned": {},
        "too old": system.signed(body, now=old),
        "for another gateway": system.signed(body, url=f"https://other.invalid{PATH}"),
        "another's": stranger.signed(body),
        "another body": system.signed(decision(UUID(int=8))),
    }
    for what, headers in unheard.items():
        answer = await system.bring(body, headers)
        assert answer.status_code == 401, what
    assert [row.code for row in await noted(made["al.nrm"])] == ["no-referral"]


async def test_what_is_no_decision_is_refused_and_not_repeated(
    two: tuple[World, CaseSystem],
) -> None:
    made, system = two
    wrong = (
        b"not JSON",
        b"[]",
        b'{"id":"1","id":"2"}',
        decision(UUID(int=7), step="Canary"),
        decision(UUID(int=7), at="2026-11-22T10:00:00"),
        b'{"id":"Canary","business_id":"Canary"}',
        b" " * ((1 << 20) + 1),
    )
    for body in wrong:
        answer = await system.bring(body)
        assert answer.status_code in (400, 413, 422), body[:40]
        assert "Canary" not in answer.text
    assert not await noted(made["al.nrm"])
    no_key_there = CaseSystem(system.party, made["it.nrm"])
    assert (await no_key_there.bring(decision(UUID(int=7)))).status_code == 404


async def test_a_webhook_wakes_the_gateway_and_nothing_of_what_it_says_is_believed(
    two: tuple[World, CaseSystem], capfd: pytest.CaptureFixture[str]
) -> None:
    made, _ = two
    home = made.network.participants["al.nrm"].home
    (home / "wake").write_text("k" * 32 + "\n")
    (home / "wake").chmod(0o600)
    text = (home / "gateway.toml").read_text()
    (home / "gateway.toml").write_text(
        text.replace("[adapter.inbound]", '[adapter]\nwake_file = "wake"\n[adapter.inbound]')
        if "[adapter]\n" not in text
        else text.replace("[adapter]\n", '[adapter]\nwake_file = "wake"\n')
    )
    albania = await made.open("al.nrm")
    system = CaseSystem(make_party("zz.system"), albania)
    wake = albania.gateway.core.wakes.case_system
    record = {"data": {"record_id": str(UUID(int=7)), "name": "Zmyślona", "status": "accepted"}}
    body = json.dumps(record).encode()

    for headers in ({}, {"x-api-key": "k" * 31}, {"x-api-key": "K" * 32}):
        answer = await system.http.post(CHANGED, content=body, headers=headers)
        assert answer.status_code == 401
        assert not wake.is_set()
    key = {"x-api-key": "k" * 32}
    for said in (body, b"<not json", b""):
        assert (await system.http.post(CHANGED, content=said, headers=key)).status_code == 204
    assert wake.is_set()
    assert await noted(albania) == []
    assert "Zmy" not in "".join(capfd.readouterr())
