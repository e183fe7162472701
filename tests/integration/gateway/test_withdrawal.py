"""Withdrawal wins: before sending, under way, after filing, further on, and with the hub away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func

from adapters.base import CannotMap
from broker.gateway.erasure import erasing
from broker.gateway.erasure.filed import erase_filed
from broker.gateway.receive.opening import open_message
from broker.gateway.send.drafts import ConsentDraft
from broker.gateway.store import grants as grant_store
from broker.gateway.store.tables import (
    alarm,
    erasure,
    erasure_order,
    fact,
    inbox,
    inbox_section,
    outbox,
    receipt,
)
from broker.gateway.store.tables import grant as grant_table
from broker.gateway.store.tables import vault as vault_tables
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import CaseSystemUnavailable, ConsentScope, ConsentWithdrawn
from schemas.evidence import StoreErasure
from tests.support.gateways import TWO_SECTIONS, World, column, files, register_agreement


async def test_our_own_sealed_copy_goes_once_the_hub_has_recorded_the_withdrawal(
    three: World,
) -> None:
    italy = three["it.nrm"]
    ended, narrowed, live = [await italy.consent("al.nrm", f"CASE-{n}") for n in range(3)]
    sent = {grant: (await italy.refer("al.nrm", grant)).id for grant in (ended, narrowed, live)}
    await three.settle()
    italy.line.cut = True
    await italy.parts.withdrawals.order(ended)
    gone = (ScopeGrant(purpose=Purpose.PROTECTION, section="case_admin"),)
    await italy.parts.withdrawals.order(narrowed, gone)
    await italy.push()
    here = [await column(italy, outbox.c.envelope, outbox.c.id == sent[ended])]
    italy.line.cut = False
    await three.settle(4)

    left = {
        grant: bool((await column(italy, outbox.c.envelope, outbox.c.id == sent[grant]))[0])
        for grant in sent
    }
    assert here != [[b""]]  # until then it may be what must be sent once more
    assert left == {ended: False, narrowed: False, live: True}
    kinds = await column(italy, outbox.c.kind, func.length(outbox.c.envelope) > 0)
    assert kinds.count("withdrawal") == 2


async def test_what_is_queued_stops_at_once_with_the_hub_away(three: World) -> None:
    italy = three["it.nrm"]
    grant = await italy.consent("al.nrm")
    message = (await italy.refer("al.nrm", grant)).id
    italy.line.cut = True
    await italy.parts.withdrawals.order(grant)

    assert await column(italy, outbox.c.state, outbox.c.id == message) == ["stopped"]
    with pytest.raises(ConsentWithdrawn):
        await italy.refer("al.nrm", grant)
    italy.line.cut = False
    await three.settle()
    assert await column(three["al.nrm"], inbox.c.type) != ["referral.request"]
    assert files(three, "al.nrm") == []


async def test_after_filing_vault_and_case_system_are_erased_and_attested(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    message = (await italy.refer("al.nrm", grant)).id
    await three.settle()
    assert len(files(three, "al.nrm")) == 1

    await italy.parts.withdrawals.order(grant, reason="by_court")
    await three.settle()

    assert "consent.revoke_by_other" in await column(albania, inbox.c.type)
    assert files(three, "al.nrm") == []
    under = vault_tables.item.c.grant_id == str(grant)
    assert await column(albania, vault_tables.item.c.ref, under) == []
    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, message)
    attested = await column(italy, erasure.c.store, erasure.c.by == "al.nrm")
    assert {"vault", "case-system", "backups"} <= set(attested)
    unknown = await column(
        italy, erasure.c.store, erasure.c.by == "al.nrm", erasure.c.outcome == "unknown"
    )
    assert set(unknown) == {"backups", "exports", "sealed"}


async def test_the_copy_that_was_passed_on_is_erased_too_and_the_first_sender_is_told(
    three: World,
) -> None:
    italy, albania, shelter = (three[name] for name in ("it.nrm", "al.nrm", "al.shelter"))
    grant = await italy.consent("al.nrm")
    received = await italy.refer("al.nrm", grant)
    await three.settle()
    onward = await albania.consent("al.shelter", derived_from=grant)
    await albania.refer("al.shelter", onward, derived_from=received.business_id)
    await three.settle()
    assert len(files(three, "al.shelter")) == 1

    await italy.parts.withdrawals.order(grant)
    await three.settle(5)

    assert files(three, "al.shelter") == []
    assert await column(shelter, inbox.c.state, inbox.c.type == "referral.request") == ["erased"]
    told = await column(
        italy, erasure.c.store, erasure.c.by == "al.shelter", erasure.c.outcome == "erased"
    )
    assert {"vault", "case-system"} <= set(told)


async def test_passing_on_more_than_was_received_is_refused(three: World) -> None:
    grant = await three["it.nrm"].consent("al.nrm")
    await three["it.nrm"].refer("al.nrm", grant)
    await three.settle()

    with pytest.raises(ConsentScope):
        await three["al.nrm"].consent(
            "al.shelter", sections=("case_admin", "health_general"), derived_from=grant
        )


async def test_narrowing_destroys_exactly_the_section_that_was_taken_back(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(TWO_SECTIONS))
    message = (await italy.refer("al.nrm", grant, sections=TWO_SECTIONS)).id
    await three.settle()

    taken = ScopeGrant(purpose=Purpose.PROTECTION, section="demographics_language")
    await italy.parts.withdrawals.order(grant, [taken])
    await three.settle()

    opened = await open_message(albania.parts, message)
    assert set(opened["sections"]) == {"case_admin"}
    kept = await column(
        albania,
        inbox_section.c.section,
        inbox_section.c.message == message,
        inbox_section.c.content.is_not(None),
    )
    assert kept == ["case_admin"]
    filed = albania.gateway.core.adapter.read(files(three, "al.nrm")[0].name)
    assert filed is not None
    assert "demographics_language" not in filed.sections
    with pytest.raises(ConsentScope):
        await italy.refer("al.nrm", grant, sections=TWO_SECTIONS)
    await italy.refer("al.nrm", grant)


async def test_the_recipient_may_withdraw_at_the_persons_word_too(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await three.settle()

    await albania.parts.withdrawals.order(grant)
    await three.settle()

    assert files(three, "al.nrm") == []
    async with italy.gateway.core.database.read() as connection:
        assert (await grant_store.require_grant(connection, grant)).withdrawn
    assert {"vault", "case-system"} <= set(
        await column(italy, erasure.c.store, erasure.c.by == "al.nrm")
    )


async def test_nothing_is_attested_before_it_is_erased(three: World) -> None:
    """The case system is down: the stop is in force, and no word of erasure exists."""
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    message = (await italy.refer("al.nrm", grant)).id
    await three.settle()
    adapter: Any = albania.gateway.core.adapter
    erase = adapter.erase

    def down(_reference: str) -> None:
        raise CaseSystemUnavailable

    adapter.erase = down
    await italy.parts.withdrawals.order(grant)
    await three.settle()

    assert await column(albania, erasure_order.c.state) == ["stopped"]
    assert await column(albania, receipt.c.fact, receipt.c.fact == "erased") == []
    assert await column(italy, erasure.c.store, erasure.c.by == "al.nrm") == []
    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, message)
    adapter.erase = erase
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(
            erasure_order.update().values(next_attempt_at=albania.gateway.core.now())
        )
    await three.settle()
    assert await column(albania, erasure_order.c.state) == ["erased"]
    assert "case-system" in await column(italy, erasure.c.store, erasure.c.by == "al.nrm")


async def test_dying_between_erasing_and_attesting_attests_after_the_restart(three: World) -> None:
    class Killed(BaseException):
        pass

    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await three.settle()
    await italy.parts.withdrawals.order(grant)
    await italy.push()

    async def dies(*_args: Any) -> None:
        raise Killed

    albania.parts.erasing._attesting.finish = dies
    with contextlib.suppress(Killed):
        await albania.pull()
    assert files(three, "al.nrm") == []
    assert await column(albania, erasure_order.c.state) == ["stopped"]
    await three.open("al.nrm")
    await three.settle()

    assert "vault" in await column(italy, erasure.c.store, erasure.c.by == "al.nrm")


async def test_a_withdrawal_that_overtakes_its_referral_keeps_it_out(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    message = (await italy.refer("al.nrm", grant)).id
    await italy.push()
    raw = (await column(italy, outbox.c.envelope, outbox.c.id == message))[0]
    await italy.parts.withdrawals.order(grant)
    await italy.push()
    await albania.parts.receiver.follow_withdrawals()

    await albania.parts.receiver.envelopes([raw], "test")

    assert await column(albania, inbox.c.id, inbox.c.id == message) == []
    assert files(three, "al.nrm") == []


NARROWED = ScopeGrant(purpose=Purpose.PROTECTION, section="demographics_language")


async def test_nothing_files_a_section_between_its_erasure_and_the_word_of_it(
    three: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(TWO_SECTIONS))
    await italy.refer("al.nrm", grant, sections=TWO_SECTIONS)
    await italy.push()
    await albania.gateway.channel.visit()  # type: ignore[union-attr]
    await italy.parts.withdrawals.order(grant, [NARROWED])
    await italy.push()
    await albania.gateway.channel.visit()  # type: ignore[union-attr]
    erase = erase_filed

    begin = albania.gateway.core.database.begin

    async def then_filed(*arguments: Any, **more: Any) -> StoreErasure:
        erased: StoreErasure = await erase(*arguments, **more)
        albania.gateway.core.database.begin = after_filing  # type: ignore[method-assign]
        return erased

    @contextlib.asynccontextmanager
    async def after_filing() -> AsyncIterator[Any]:
        # The case's lock is released, and the transaction that erases has not begun.
        albania.gateway.core.database.begin = begin  # type: ignore[method-assign]
        while await albania.parts.filing.run_once():
            pass
        async with begin() as connection:
            yield connection

    monkeypatch.setattr(erasing, "erase_filed", then_filed)
    while await albania.parts.erasing.run_once():
        pass
    await three.settle()

    assert "case-system" in await column(italy, erasure.c.store, erasure.c.by == "al.nrm")
    filed = albania.gateway.core.adapter.read(files(three, "al.nrm")[0].name)
    assert filed is not None
    assert set(filed.sections) == {"case_admin"}


async def test_a_case_system_that_keeps_a_section_is_never_attested_as_erased(
    three: World,
) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(TWO_SECTIONS))
    await italy.refer("al.nrm", grant, sections=TWO_SECTIONS)
    await three.settle()
    adapter: Any = albania.gateway.core.adapter
    adapter.update = lambda _reference, _case: CannotMap(("case_admin.status: required",))

    ordered = await italy.parts.withdrawals.order(grant, [NARROWED])
    await three.settle()

    assert await column(italy, erasure.c.store, erasure.c.by == "al.nrm") == []
    late = await column(albania, alarm.c.about, alarm.c.code == "erasure-late")
    assert late == [str(ordered.message)]


async def test_what_was_passed_on_is_taken_back_purpose_by_purpose(three: World) -> None:
    """The section is still held for another purpose: not for the one it was passed on for."""
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.parts.consents.give(
        ConsentDraft(
            to="al.nrm",
            case_ref="CASE-1",
            scopes=(
                ScopeGrant(purpose=Purpose.PROTECTION, section="case_admin"),
                ScopeGrant(purpose=Purpose.JUSTICE, section="case_admin"),
            ),
            principal="pseudonym-1",
            valid_until=(datetime.now(UTC) + timedelta(days=30)).date(),
            language="sqi",
            notice="invented-1",
        )
    )
    await italy.refer("al.nrm", grant)
    await three.settle()
    onward = await albania.consent("al.shelter", derived_from=grant)
    await three.settle()

    taken = ScopeGrant(purpose=Purpose.PROTECTION, section="case_admin")
    await italy.parts.withdrawals.order(grant, [taken])
    await three.settle()

    async with albania.gateway.core.database.read() as connection:
        assert (await grant_store.require_grant(connection, onward)).withdrawn


async def test_what_an_authority_takes_back_through_the_giver_is_attested_by_who_holds_it(
    three: World,
) -> None:
    italy, albania, shelter = (three[name] for name in ("it.nrm", "al.nrm", "al.shelter"))
    await register_agreement(three, "al.shelter", "it.nrm")
    for side in (italy, shelter):
        await side.parts.agreements.refresh()
    grant = await shelter.consent("it.nrm")
    await shelter.refer("it.nrm", grant)
    await three.settle()
    [statement] = await column(shelter, grant_table.c.statement, grant_table.c.id == grant)
    await albania.parts.grants.keep_statement(grant, bytes(statement))

    # The authority of the giver's country says so, to the giver.
    ordered = await albania.parts.withdrawals.order(grant, reason="by_authority")
    await three.settle(4)

    assert files(three, "it.nrm") == []
    assert await column(italy, inbox.c.state, inbox.c.type == "referral.request") == ["erased"]
    [passed_on] = await column(
        shelter, outbox.c.id, outbox.c.recipient == "it.nrm", outbox.c.kind == "withdrawal"
    )
    assert passed_on != ordered.message
    stated = await column(shelter, fact.c.by, fact.c.envelope == passed_on, fact.c.fact == "erased")
    attested = await column(
        shelter, erasure.c.store, erasure.c.by == "it.nrm", erasure.c.outcome == "erased"
    )
    assert stated == ["it.nrm"]
    assert {"vault", "case-system"} <= set(attested)
