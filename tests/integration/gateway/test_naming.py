"""What a worker writes down under a number is never kept where it protects nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from broker.gateway.store.tables import exclusion, hold, restriction, safeguard
from tests.integration.gateway.test_safeguards import knowing
from tests.support.gateways import World, world

PROTECTS: Mapping[str, Mapping[str, Any]] = {
    "/v1/exclusions": {"about": "CASE-1", "participant": "police:AL"},
    "/v1/safeguards": {"about": "CASE-1", "safeguards": {"protection_claim": True}},
    "/v1/rights/holds": {"about": "CASE-1", "basis": "legal-claims"},
    "/v1/rights/ask": {"kind": "restrict", "case": "CASE-1", "ground": "accuracy_contested"},
}
TABLES = {
    "/v1/exclusions": exclusion,
    "/v1/safeguards": safeguard,
    "/v1/rights/holds": hold,
    "/v1/rights/ask": restriction,
}
READS = ("/v1/rights/ledger", "/v1/rights/copy", "/v1/rights/status")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm") as made:
        await made["it.nrm"].refer("al.nrm", await made["it.nrm"].consent("al.nrm"))
        await made.settle()
        yield made


async def kept(two: World, name: str, path: str) -> int:
    async with two[name].gateway.core.database.read() as connection:
        return await connection.scalar(select(func.count()).select_from(TABLES[path])) or 0


async def test_what_protects_her_is_not_written_under_a_partners_number_unless_it_is_ours_too(
    two: World,
) -> None:
    albania, italy = await knowing(two, "al.nrm"), await knowing(two, "it.nrm")
    for path, said in PROTECTS.items():
        refused = await albania.post(path, dict(said))
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
        assert "a case number of it.nrm" in refused.json()["detail"]
        assert await kept(two, "al.nrm", path) == 0

        written = await albania.post(path, {**said, "ours": True})
        assert written.status_code == 200, written.text
        assert await kept(two, "al.nrm", path) == 1

        # A number of a case from which nothing was sent yet is ours; and Italy's own is Italy's.
        for number in ("NEW-1", "CASE-1"):
            about = {"case" if "case" in said else "about": number}
            written = await italy.post(path, {**said, **about})
            assert written.status_code == 200, written.text


async def test_nobody_is_told_that_nothing_is_held_of_her_because_a_number_was_mistyped(
    two: World,
) -> None:
    albania, italy = await knowing(two, "al.nrm"), await knowing(two, "it.nrm")
    for path in READS:
        for number in ("CASE-1", "CASE-l", "it.nrm:CASE-l", "al.shelter:CASE-1"):
            refused = await albania.post(path, {"case": number})
            assert (refused.status_code, refused.json()["code"]) == (404, "not-found"), number
        named = await albania.post(path, {"case": "it.nrm:CASE-1"})
        assert named.status_code == 200, named.text
        assert (await italy.post(path, {"case": "CASE-1"})).status_code == 200

    # Of a case that never left its own system there is a copy: of what that system has.
    only_there = {"case": "NEW-1", "sections": {"case_admin": {"status": "Active"}}}
    made = await albania.post("/v1/rights/copy", only_there)
    assert made.status_code == 200, made.text
    assert made.json()["copy"]["data"]
