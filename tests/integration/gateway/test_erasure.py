"""An erasure that was asked for is carried out by itself: here, in the case system, and further on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from adapters.base import CannotErase, Kept
from broker.gateway.erasure import holds
from broker.gateway.receive.opening import open_message
from broker.gateway.rights.asking import RightDraft
from broker.gateway.send.sender import Stored
from broker.gateway.store.tables import (
    alarm,
    erasure,
    erasure_order,
    fact,
    grant,
    inbox,
    inbox_section,
    outbox,
)
from broker.gateway.store.tables import vault as vault_tables
from schemas.errors import ConsentWithdrawn, SchemaRefused
from tests.support.gateways import CASE, TWO_SECTIONS, Side, World, column, files, world

on_both_databases = pytest.mark.parametrize("two", ["sqlite_url", "postgres_url"], indirect=True)
"""For what asks the recipient's database in more ways than one."""


@pytest.fixture
async def two(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    url = request.getfixturevalue(getattr(request, "param", "sqlite_url"))
    async with world(tmp_path / "network", databases={"al.nrm": url}) as made:
        yield made


async def said(side: Side, about: UUID, by: str) -> dict[str, str]:
    async with side.gateway.core.database.read() as connection:
        rows = await connection.execute(
            select(erasure).where(erasure.c.about == about, erasure.c.by == by)
        )
        return {row.store: row.outcome for row in rows}


async def erase(side: Side, to: str = "al.nrm", case: str = "CASE-1", **body: Any) -> Stored:
    """Ask for an erasure, later than everything that was sent before."""
    await asyncio.sleep(0.002)
    return await side.send(
        type="erase.notice", to=to, case_ref=case, body={"ground": "no_longer_needed", **body}
    )


async def plain(side: Side, *sections: str) -> int:
    """How many items of the vault there are of these sections."""
    item = vault_tables.item
    return len(await column(side, item.c.ref, item.c.section.in_(sections)))


async def test_all_that_is_held_of_a_case_goes_and_each_store_is_attested(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    given = await italy.consent("al.nrm")
    sent = await italy.refer("al.nrm", given)
    other = await italy.refer("al.nrm", await italy.consent("al.nrm", "CASE-2"), case_ref="CASE-2")
    await two.settle()
    assert len(files(two, "al.nrm")) == 2

    notice = await erase(italy)
    await two.settle()

    assert len(files(two, "al.nrm")) == 1
    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, sent.id)
    assert (await open_message(albania.parts, other.id))["sections"]
    case = vault_tables.item.c.case_id == "it.nrm:CASE-1"
    left = await column(albania, vault_tables.item.c.section, case)
    assert left == ["message"]  # the notice itself
    assert await column(albania, grant.c.record, grant.c.id == given) == [None]
    attested = await said(italy, notice.id, "al.nrm")
    assert (attested["vault"], attested["case-system"]) == ("erased", "erased")
    assert (attested["backups"], attested["exports"]) == ("unknown", "unknown")
    answers = await column(italy, inbox.c.type, inbox.c.in_reply_to == notice.id)
    assert answers == ["erase.ack"]


async def test_what_a_worker_asks_for_is_answered_by_the_other_gateway_alone(two: World) -> None:
    italy = two["it.nrm"]
    await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    await italy.parts.asking.ask(
        RightDraft(kind="erase", case="CASE-1", ground="objection"), worker="anna"
    )
    await two.settle()

    [told] = await italy.parts.asking.status("CASE-1")
    assert (told["partner"], told["answer"], told["open"]) == ("al.nrm", "done", False)


@on_both_databases
async def test_one_referral_of_a_case_goes_and_the_other_stays_under_a_key_that_is_new(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    given = await italy.consent("al.nrm")
    first = await italy.refer("al.nrm", given)
    second = await italy.refer("al.nrm", given)
    await two.settle()
    key = vault_tables.item_key
    owner = (key.c.grant_id == str(given), key.c.section == "case_admin")
    before = await column(albania, key.c.wrapped, *owner)
    other_key = await column(albania, key.c.wrapped, key.c.section == "grant-key")

    await erase(italy, about=str(first.business_id))
    await two.settle()

    assert await plain(albania, "case_admin") == 1
    after = await column(albania, key.c.wrapped, *owner)
    assert len(before) == len(after) == 1
    assert before != after
    assert await column(albania, key.c.wrapped, key.c.section == "grant-key") == other_key
    assert (await open_message(albania.parts, second.id))["sections"] == CASE
    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, first.id)
    assert len(files(two, "al.nrm")) == 1


@on_both_databases
async def test_one_section_goes_from_vault_and_case_system_and_the_rest_is_as_it_was(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer(
        "al.nrm", await italy.consent("al.nrm", sections=tuple(TWO_SECTIONS)), sections=TWO_SECTIONS
    )
    await two.settle()

    notice = await erase(italy, sections=["demographics_language"])
    await two.settle()

    assert set((await open_message(albania.parts, sent.id))["sections"]) == {"case_admin"}
    assert await plain(albania, "demographics_language") == 0
    filed = albania.gateway.core.adapter.read(files(two, "al.nrm")[0].name)
    assert filed is not None
    assert set(filed.sections) == {"case_admin"}
    assert (await said(italy, notice.id, "al.nrm"))["case-system"] == "erased"


async def test_only_its_own_sender_has_a_message_erased(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    back = await erase(albania, to="it.nrm", about=str(sent.business_id))
    await two.settle()

    assert (await open_message(albania.parts, sent.id))["sections"]
    [answer] = await column(albania, inbox.c.id, inbox.c.in_reply_to == back.id)
    assert (await open_message(albania.parts, answer))["body"]["outcome"] == "nothing_held"


@on_both_databases
async def test_what_overtakes_its_referral_erases_it_when_it_comes_and_nothing_that_is_newer(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    given = await italy.consent("al.nrm")
    await two.settle()
    sent = await italy.refer("al.nrm", given)
    [late] = await column(italy, outbox.c.envelope, outbox.c.id == sent.id)
    notice = await erase(italy)
    await asyncio.sleep(0.002)
    newer = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    raws = [
        await column(italy, outbox.c.envelope, outbox.c.id == one) for one in (notice.id, newer.id)
    ]
    await italy.push()

    await albania.parts.receiver.envelopes([bytes(raws[0][0])], "test")
    await albania.pull()
    await albania.parts.receiver.envelopes([bytes(late)], "test")
    await albania.pull()
    await two.settle()

    assert await column(albania, inbox.c.state, inbox.c.id == sent.id) == ["erased"]
    assert (await open_message(albania.parts, newer.id))["sections"]
    assert len(files(two, "al.nrm")) == 1


async def test_a_repeated_notice_changes_nothing(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    first, second = await erase(italy), await erase(italy)
    await two.settle()

    assert await column(albania, erasure_order.c.state) == ["erased", "erased"]
    for notice in (first, second):
        assert (await said(italy, notice.id, "al.nrm"))["vault"] == "erased"


@on_both_databases
async def test_what_is_held_is_kept_on_its_ground_until_it_is_held_no_more(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    core = albania.gateway.core
    with pytest.raises(SchemaRefused):
        await holds.place(core, str(sent.business_id), "we like it", worker="ben")
    await holds.place(core, "it.nrm:CASE-1", "legal-claims", worker="ben")

    wanted = RightDraft(kind="erase", case="CASE-1", ground="no_longer_needed")
    await italy.parts.asking.ask(wanted, worker="anna")
    await two.settle()

    [told] = await italy.parts.asking.status("CASE-1")
    assert (told["answer"], told["basis"], told["open"]) == ("kept", "legal-claims", False)
    assert len(files(two, "al.nrm")) == 1
    assert await plain(albania, "case_admin") == 1
    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, sent.id)

    await albania.parts.erasing.run_once()
    assert await holds.take_off(core, "it.nrm:CASE-1", worker="ben")
    await two.settle()

    [told] = await italy.parts.asking.status("CASE-1")
    assert told["answer"] == "done"
    assert files(two, "al.nrm") == []
    assert await plain(albania, "case_admin") == 0
    assert (await said(italy, UUID(told["message"]), "al.nrm"))["vault"] == "erased"


async def test_a_hold_keeps_what_was_withdrawn_too_and_nobody_opens_it(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    given = await italy.consent("al.nrm")
    sent = await italy.refer("al.nrm", given)
    await two.settle()
    await holds.place(albania.gateway.core, str(sent.business_id), "legal-obligation", worker="ben")
    await italy.parts.withdrawals.order(given)
    await two.settle()

    attested = await said(italy, given, "al.nrm")
    assert (attested["vault"], attested["case-system"]) == ("kept", "kept")
    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, sent.id)
    await holds.take_off(albania.gateway.core, str(sent.business_id), worker="ben")
    await two.settle()
    attested = await said(italy, given, "al.nrm")
    assert (attested["vault"], attested["case-system"]) == ("erased", "erased")


@pytest.mark.parametrize(
    ("outcome", "word", "answer"),
    [
        (Kept("archiving"), "kept", "partly"),
        (CannotErase("record-history"), "unknown", "partly"),
    ],
)
async def test_what_the_case_system_says_is_what_is_attested(
    two: World, outcome: object, word: str, answer: str
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    adapter: Any = albania.gateway.core.adapter
    adapter.erase = lambda _reference: outcome

    notice = await erase(italy)
    await two.settle()

    assert (await said(italy, notice.id, "al.nrm"))["case-system"] == word
    by_hand = await column(albania, alarm.c.about, alarm.c.code == "erasure-by-hand")
    assert by_hand == ([str(notice.id)] if word == "unknown" else [])
    [told] = await column(italy, inbox.c.id, inbox.c.in_reply_to == notice.id)
    assert (await open_message(italy.parts, told))["body"]["outcome"] == answer
    # Nobody said that it is gone: an alarm where it was asked for, once that has lasted.
    core = italy.gateway.core
    async with core.database.begin() as connection:
        await connection.execute(
            update(erasure).values(at=core.now() - core.settings.deadlines.attestation * 2)
        )
    await italy.parts.deadlines.run_once()
    late = await column(
        italy, alarm.c.about, alarm.c.code == "erasure-unattested", alarm.c.cleared_at.is_(None)
    )
    assert late == ([str(notice.id)] if word == "unknown" else [])


async def test_a_referral_that_is_declined_is_destroyed_where_it_was_declined(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    given = await italy.consent("al.nrm")
    sent = await italy.refer("al.nrm", given)
    await two.settle()
    await albania.send(
        type="referral.decline",
        to="it.nrm",
        case_ref="AL-1",
        thread=sent.thread,
        body={"reason": "no_capacity"},
    )
    await two.settle()

    assert await column(albania, inbox.c.state, inbox.c.id == sent.id) == ["erased"]
    assert files(two, "al.nrm") == []
    assert await plain(albania, "case_admin") == 0
    # The consent stands: the same person may be referred anew.
    assert (await said(italy, given, "al.nrm"))["vault"] == "erased"
    assert await column(italy, fact.c.fact, fact.c.envelope == sent.id, fact.c.fact == "erased")
    await italy.refer("al.nrm", given)
    await two.settle()
    assert len(files(two, "al.nrm")) == 1


async def test_a_recall_destroys_every_copy_of_what_was_sent_in_error(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    await asyncio.sleep(0.002)
    recall = await italy.send(
        type="referral.recall",
        to="al.nrm",
        case_ref="CASE-1",
        thread=sent.thread,
        body={"messages": [str(sent.business_id)]},
    )
    await two.settle()

    assert await column(albania, inbox.c.state, inbox.c.id == sent.id) == ["erased"]
    assert files(two, "al.nrm") == []
    assert (await said(italy, recall.id, "al.nrm"))["vault"] == "erased"
    assert await column(italy, inbox.c.type, inbox.c.in_reply_to == recall.id) == ["erase.ack"]


@on_both_databases
async def test_what_was_kept_until_a_day_goes_on_the_next_unless_a_newer_consent_keeps_it(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    core = albania.gateway.core
    today = core.now().date()
    short = await italy.consent("al.nrm", retention_until=today)
    sent = await italy.refer("al.nrm", short)
    longer = await italy.consent("al.nrm", "CASE-2", retention_until=today)
    kept = await italy.refer("al.nrm", longer, case_ref="CASE-2")
    await italy.consent("al.nrm", "CASE-2", retention_until=today + timedelta(days=400))
    await two.settle()
    async with core.database.begin() as connection:
        await connection.execute(
            update(grant)
            .where(grant.c.retain_until == today)
            .values(retain_until=today - timedelta(days=1))
        )
    await two.settle()

    assert await column(albania, inbox.c.state, inbox.c.id == sent.id) == ["erased"]
    assert (await open_message(albania.parts, kept.id))["sections"]
    assert (await said(italy, short, "al.nrm"))["case-system"] == "erased"
    assert len(files(two, "al.nrm")) == 1
    left = await column(albania, inbox_section.c.content, inbox_section.c.message == sent.id)
    assert left == [None]
