"""Informed at every step: each change waits until a worker has told her."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.gateway.consent.receipt import as_text
from broker.gateway.notices import queue
from broker.gateway.safeguards.keeping import change
from broker.gateway.store.tables import inbox
from schemas.errors import NotFound, PolicyRefused
from tests.support.gateways import CASE, Side, world


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
        assert contact == {"ways": ["handed_over", "read_out", "by_other_office", "not_wanted"]}
        await queue.done(core, first, "read_out", worker="anna")
        assert [one["state"] for one in await queue.waiting(core)] == ["accepted"]
        with pytest.raises(NotFound):
            await queue.done(core, first, "read_out", worker="anna")


async def test_her_rules_for_reaching_her_are_kept_and_not_only_shown(tmp_path: Path) -> None:
    async with world(tmp_path / "network") as two:
        italy, albania = two["it.nrm"], two["al.nrm"]
        sections = {**CASE, "contact_location": {"safe_contact": {"method": "telephone"}}}
        yes = await italy.consent("al.nrm", sections=tuple(sections))
        await italy.refer("al.nrm", yes, sections=sections)
        await two.settle()

        # At Italy nobody wrote down a safe way: face to face.
        core = italy.gateway.core
        here = UUID((await queue.waiting(core))[0]["id"])
        with pytest.raises(PolicyRefused):
            await queue.done(core, here, "safe_contact", worker="anna", by="telephone")
        await change(core, "CASE-1", {"contact_by": "messenger"}, worker="anna")
        _, contact = await queue.paper(core, here, "en")
        assert contact["ways"][0] == "safe_contact"
        await queue.done(core, here, "safe_contact", worker="anna", by="messenger")

        # To Albania her rule came with the referral, and she added an hour there.
        await albania.send(
            type="referral.received",
            to="it.nrm",
            case_ref="AL-1",
            thread=(await first_thread(albania)),
            body={"worker_role": "case worker"},
        )
        core = albania.gateway.core
        there = UUID((await queue.waiting(core))[-1]["id"])
        closed = (core.now().astimezone() + timedelta(hours=2)).strftime("%H:00-%H:01")
        async with core.database.read() as connection:
            asked = select(inbox.c.business_id).where(inbox.c.type == "referral.request")
            about = str(await connection.scalar(asked))
        await change(core, about, {"contact_hours": closed}, worker="anna")
        with pytest.raises(PolicyRefused):
            await queue.done(core, there, "safe_contact", worker="anna", by="telephone")
        await queue.done(core, there, "handed_over", worker="anna")


async def first_thread(side: Side) -> UUID:
    async with side.gateway.core.database.read() as connection:
        found = await connection.scalar(
            select(inbox.c.thread).where(inbox.c.type == "referral.request")
        )
    assert isinstance(found, UUID)
    return found
