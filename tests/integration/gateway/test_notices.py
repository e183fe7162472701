"""Informed at every step: each change waits until a worker has told her."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from broker.gateway.consent.receipt import as_text
from broker.gateway.notices import queue
from schemas.errors import NotFound
from tests.support.gateways import world


async def test_each_change_is_told_once_by_a_worker_and_by_nobody_else(tmp_path: Path) -> None:
    async with world(tmp_path / "network") as two:
        italy, albania = two["it.nrm"], two["al.nrm"]
        sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
        await two.settle()
        await albania.send(
            type="referral.accept",
            to="it.nrm",
            case_ref="AL-1",
            thread=sent.thread,
            body={"worker_role": "case worker"},
        )
        await two.settle()
        core = italy.gateway.core
        told = await queue.waiting(core)
        assert [one["state"] for one in told] == ["sent", "accepted"]
        first = UUID(told[0]["id"])
        paper, contact = await queue.paper(core, first, "fr")
        assert "comme vous l'avez accepté" in as_text(paper)
        assert contact == {}
        await queue.done(core, first, "read_out", worker="anna")
        assert [one["state"] for one in await queue.waiting(core)] == ["accepted"]
        with pytest.raises(NotFound):
            await queue.done(core, first, "read_out", worker="anna")
