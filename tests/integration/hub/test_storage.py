"""The database goes away while a hub runs, and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker.clock import SystemClock
from tests.support.hub import World
from tests.support.services import PostgreSQL
from tests.support.waiting import until


async def test_a_killed_postgresql_loses_nothing_and_the_hub_recovers_by_itself(
    tmp_path: Path, postgres_url: str, postgres_server: PostgreSQL
) -> None:
    world = World(tmp_path, SystemClock(), database=postgres_url, names=("it.nrm", "al.nrm"))
    async with world.serving() as served:
        it, al, agreement = await served.pair()
        grant, ended = await it.grant("al.nrm"), await it.grant("al.nrm")
        sent = [it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)) for _ in range(40)]
        stopped = it.seal(it.draft("al.nrm", agreement=agreement, grant=ended))
        assert (await it.submit(stopped)).status_code == 201
        first = [(await it.submit(one)).content for one in sent[:10]]

        crossing = asyncio.gather(*(it.submit(one) for one in sent[10:]))
        await asyncio.to_thread(postgres_server.kill9)
        during = await crossing
        down = await it.submit(sent[0])
        withdrawal = it.withdrawal(ended, "al.nrm")
        withdrawn = await it.submit(withdrawal)
        red = await served.http.get("/readyz")
        await asyncio.to_thread(postgres_server.start)

        async def recovered() -> bool:
            ready = (await served.http.get("/readyz")).status_code == 200
            return ready and not served.hub.stops

        await until("readiness, and what was stopped to be recorded", recovered, pause=0.1)
        again = [await it.submit(one) for one in sent]
        items = await al.mailbox(limit=200)

    assert {answer.status_code for answer in during} <= {201, 503}
    assert (down.status_code, withdrawn.status_code, red.status_code) == (503, 503, 503)
    assert {answer.status_code for answer in again} <= {200, 201}
    assert [answer.content for answer in again[:10]] == first
    for before, after in zip(during, again[10:], strict=True):
        assert before.status_code == 503 or before.content == after.content
    envelopes = [item["jws"] for item in items if item["kind"] == "envelope"]
    assert sorted(envelopes) == sorted(one.raw.decode() for one in sent)
