"""Statistics at a real gateway: who is counted, what is published, what is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from broker.gateway.api.app import create_api
from broker.gateway.statistics import ledger
from broker.gateway.statistics.ledger import DUE, countable
from broker.gateway.statistics.periods import Quarter
from broker.gateway.statistics.tables import tabulate
from broker.gateway.store.tables import alarm, inbox, outbox
from schemas.consent import Purpose
from tests.support.gateways import Side, World, waits, world

SECTION = "statistics_research"
PERIOD = {"first": "2026-04-01", "last": "2026-06-30"}
MAY = datetime(2026, 5, 5, 12, tzinfo=UTC)


def desk(made: World, participant: str) -> httpx2.AsyncClient:
    side = made[participant]
    token = made.network.participants[participant].home / "workers" / "first.token"
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(create_api(side.parts, not_ready=side.gateway.not_ready)),
        base_url="http://127.0.0.1:8420",
        headers={"authorization": f"Bearer {token.read_text().strip()}"},
    )


async def tell(side: Side, case: str, **content: Any) -> Any:
    """One person agrees to be counted by the other side."""
    grant = await side.consent(
        "al.nrm", case_ref=case, sections=(SECTION,), purpose=Purpose.STATISTICS
    )
    said = {"citizenship": "AL", "country_of_exploitation": "IT", "gender": "Feminine", **content}
    await side.send(
        type="info.spontaneous",
        to="al.nrm",
        case_ref=case,
        grant=grant,
        purpose=Purpose.STATISTICS,
        sections={SECTION: said},
        body={"about": ["other"]},
    )
    return grant


async def test_who_agreed_is_counted_published_told_and_gone_when_she_withdraws(
    tmp_path: Path,
) -> None:
    async with world(tmp_path / "network") as made:
        sender, counting = made["it.nrm"], made["al.nrm"]
        grants = [await tell(sender, f"CASE-{n}", age_band="18--20") for n in range(12)]
        await tell(sender, "CASE-0", age_band="9--17")  # the newest record of a case counts
        # A case that travels for help alone is nobody's statistics.
        await sender.refer("al.nrm", await sender.consent("al.nrm"))
        await made.settle()
        async with counting.gateway.core.database.begin() as connection:
            await connection.execute(update(inbox).values(received_at=MAY))
        async with desk(made, "al.nrm") as api:
            draft = (await api.get("/v1/statistics/table", params=PERIOD)).json()
            export = (await api.get("/v1/statistics/export")).text
            unfinished = await api.post(
                "/v1/statistics/publications", json={"first": "2200-01-01", "last": "2200-03-31"}
            )
            published = (
                await api.post("/v1/statistics/publications", json={**PERIOD, "to": "it.nrm"})
            ).json()
            await sender.parts.withdrawals.order(grants[3], (), reason=None)
            await made.settle()
            again = (await api.get("/v1/statistics/table", params=PERIOD)).json()
            longer = await api.get(
                "/v1/statistics/table", params={"first": "2026-01-01", "last": "2026-06-30"}
            )
            listed = (await api.get("/v1/statistics/publications")).json()["publications"]
        counts = {
            (row["corridor"], row["age"], row["sex"], row["exploitation"]): row["count"]
            for row in draft["figures"]
        }
        assert counts["AL-IT", None, None, None] == 12
        assert counts["AL-IT", "9-17", None, None] is None
        assert counts["AL-IT", "18-20", None, None] is None  # 11, but 12 less 11 is one child
        assert len(export.strip().splitlines()) == 1 + 11  # the child is not among them
        assert unfinished.json()["where"] == ["last"]
        assert published["figures"] == again["figures"] == draft["figures"]
        assert longer.json()["code"] == "policy"
        assert [(one["first"], one["last"]) for one in listed] == [tuple(PERIOD.values())]
        async with sender.gateway.core.database.read() as connection:
            arrived = (await connection.scalars(select(inbox.c.type))).all()
        async with counting.gateway.core.database.read() as connection:
            told = (
                await connection.scalars(
                    select(outbox.c.case_ref).where(outbox.c.type == "stats.aggregate")
                )
            ).all()
        assert "stats.aggregate" in arrived
        assert list(told) == [f"STATISTICS-{date(2026, 4, 1)}-AL-IT"]


async def test_who_withdraws_while_it_is_published_is_not_in_it_or_withdraws_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    async with world(tmp_path / "network", databases={"al.nrm": database_url}) as made:
        sender, counting = made["it.nrm"], made["al.nrm"]
        core = counting.gateway.core
        grants = [await tell(sender, f"CASE-{n}", age_band="18--20") for n in range(14)]
        await made.settle()
        async with core.database.begin() as connection:
            await connection.execute(update(inbox).values(received_at=MAY))
        assert await counting.parts.quarter_close.run_once() == [Quarter(2026, 2)]
        assert await open_alarms(counting) == [(DUE, "2026-Q2")]

        # The hub has it, and the one who counts has not heard of it.
        await sender.parts.withdrawals.order(grants[0])
        await sender.push()
        reckoned, last = list[int](), list[asyncio.Task[Any]]()
        loop = asyncio.get_running_loop()

        def withdrawn_meanwhile(people: Any, *more: Any) -> Any:
            """The real thing, while somebody withdraws at the sender, and it is obeyed here."""
            reckoned.append(len(people))
            if len(reckoned) == 1:
                asyncio.run_coroutine_threadsafe(over_the_network(), loop).result(60)
            return tabulate(people, *more)

        async def over_the_network() -> None:
            await sender.parts.withdrawals.order(grants[1])
            await made.settle(2)

        async def withdrawn_at_the_last_look(*args: Any, lock: bool = False) -> Any:
            """The real thing, and once it is written somebody withdraws here, before the commit."""
            found = await countable(*args, lock=lock)
            if lock and len(reckoned) == 2:
                last.append(asyncio.create_task(counting.parts.withdrawals.order(grants[2])))
                while not last[0].done() and not await waits(counting):  # noqa: ASYNC110 (nothing tells us)
                    await asyncio.sleep(0)
                assert not last[0].done()
            return found

        monkeypatch.setattr(ledger, "tabulate", withdrawn_meanwhile)
        monkeypatch.setattr(ledger, "countable", withdrawn_at_the_last_look)
        async with desk(made, "al.nrm") as api:
            published = (await api.post("/v1/statistics/publications", json=PERIOD)).json()
            await last[0]
            export = (await api.get("/v1/statistics/export")).text
            sender.line.cut = counting.line.cut = True
            monkeypatch.setattr(counting.parts.grants, "_fresh_at", None)
            asked = (
                "/v1/statistics/export",
                "/v1/statistics/table?first=2026-01-01&last=2026-03-31",
            )
            stale = [(await api.get(path)).json()["code"] for path in asked]
        counts = {
            (row["corridor"], row["age"], row["sex"], row["exploitation"]): row["count"]
            for row in published["figures"]
        }
        assert reckoned == [13, 12]
        assert counts["AL-IT", "18-20", None, None] == 12
        assert len(export.strip().splitlines()) == 1 + 11
        assert stale == ["consent-stale", "consent-stale"]
        assert await open_alarms(counting) == []


async def open_alarms(side: Side) -> list[tuple[str, str]]:
    """Of statistics."""
    async with side.gateway.core.database.read() as connection:
        rows = await connection.execute(
            select(alarm.c.code, alarm.c.about).where(
                alarm.c.cleared_at.is_(None), alarm.c.code == DUE
            )
        )
        return [(row.code, row.about) for row in rows]
