"""The person's rights: who got what of hers, and her copy without what is others'."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from broker.gateway.consent.receipt import as_html
from broker.gateway.receive.opening import open_message
from broker.gateway.rights.asking import RightDraft
from broker.gateway.rights.copy import as_json, as_paper, copy_of
from broker.gateway.rights.ledger import Disclosed, of_case
from broker.gateway.send.drafts import ConsentDraft
from broker.gateway.store.grants import require_grant
from broker.gateway.store.tables import disclosure, inbox
from broker.gateway.store.tables import grant as grant_table
from schemas.agreement import TransferBasis
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import NotFound, NotPermitted, SchemaRefused, UseRestricted
from tests.support.gateways import Side, World, register_agreement

CASE = {"case_admin": {"status": "Active", "case_owner": "Invented worker"}}


async def ledger_of(side: Side, case: str) -> list[Disclosed]:
    async with side.gateway.core.database.read() as connection:
        return await of_case(connection, case)


async def passed_on(made: World) -> None:
    """Italy refers to Albania, Albania to a shelter: its own case AL-1."""
    italy, albania = made["it.nrm"], made["al.nrm"]
    source = await italy.consent("al.nrm")
    sent = await italy.refer("al.nrm", source, sections=CASE)
    await made.settle()
    async with italy.gateway.core.database.read() as connection:
        until = (await require_grant(connection, source)).until
    onward = await albania.parts.consents.give(
        ConsentDraft(
            to="al.shelter",
            case_ref="AL-1",
            scopes=(ScopeGrant(purpose=Purpose.PROTECTION, section="case_admin"),),
            principal="pseudonym-1",
            valid_until=until,
            language="sqi",
            notice="invented-1",
            derived_from=source,
        )
    )
    await albania.send(
        type="referral.request",
        to="al.shelter",
        case_ref="AL-1",
        grant=onward,
        purpose=Purpose.PROTECTION,
        sections=CASE,
        body={"services": ["safe_house"]},
        derived_from=sent.business_id,
    )
    await made.settle()


async def test_a_person_learns_who_got_what_of_hers_also_further_on_and_after_its_erasure(
    three: World,
) -> None:
    italy, albania, shelter = three["it.nrm"], three["al.nrm"], three["al.shelter"]
    await passed_on(three)

    [sent] = await ledger_of(italy, "CASE-1")
    assert (sent.way, sent.partner, sent.section) == ("sent", "al.nrm", "case_admin")
    assert (sent.purpose, sent.consent) == ("protection", "consent")
    assert sent.processing_basis
    assert sent.transfer_basis

    # From Albania's own number, and from Italy's: both ends of what was passed on.
    for case in ("AL-1", "it.nrm:CASE-1"):
        ways = [(one.way, one.onward, one.partner) for one in await ledger_of(albania, case)]
        assert ways == [("received", False, "it.nrm"), ("sent", True, "al.shelter")]
    assert await ledger_of(albania, "CASE-1") == []

    assert sent.grant is not None
    before = [await ledger_of(italy, "CASE-1"), await ledger_of(albania, "AL-1")]
    await italy.parts.withdrawals.order(sent.grant)
    await three.settle(4)
    assert [await ledger_of(italy, "CASE-1"), await ledger_of(albania, "AL-1")] == before
    held = await copy_of(shelter.gateway.core, "al.nrm:AL-1", ours={}, texts_read=True)
    assert held.held == ()
    assert len(held.disclosed) == 1


async def test_the_ledger_says_so_if_somebody_changed_it(three: World) -> None:
    italy = three["it.nrm"]
    await italy.refer("al.nrm", await italy.consent("al.nrm"), sections=CASE)
    assert [one.recorded for one in await ledger_of(italy, "CASE-1")] == [True]
    async with italy.gateway.core.database.begin() as connection:
        await connection.execute(update(disclosure).values(partner="al.shelter"))
    assert [one.recorded for one in await ledger_of(italy, "CASE-1")] == [False]


async def test_her_copy_holds_hers_and_names_what_it_leaves_out(three: World) -> None:
    await passed_on(three)
    albania = three["al.nrm"]
    ours = {"perpetrator": {"persons": [{"name": "Invented Suspect"}]}}
    made = await copy_of(albania.gateway.core, "AL-1", ours=ours, texts_read=False)
    told = as_json(made)
    assert told["left_out"] == ["case_admin.case_owner", "perpetrator.persons"]
    contents = {one["section"]: one["content"] for one in told["data"]}
    assert contents == {"case_admin": {"status": "Active"}, "perpetrator": {}}
    assert {one["way"] for one in told["disclosures"]} == {"received", "onward"}
    for language, direction in (("en", "ltr"), ("fr", "ltr"), ("ar", "rtl")):
        page = as_html(as_paper(made, language))
        assert f'dir="{direction}"' in page
        assert "Invented" not in page


async def test_a_correction_reaches_all_who_got_it_and_is_open_until_the_last_has_answered(
    three: World,
) -> None:
    await passed_on(three)
    albania, shelter = three["al.nrm"], three["al.shelter"]
    right = {"case_admin": {"status": "FollowUp"}}
    wanted = RightDraft(kind="rectify", case="AL-1", sections=right)
    await albania.parts.asking.ask(wanted, worker="anna")
    await three.settle()
    [told] = await albania.parts.asking.status("AL-1")
    assert (told["partner"], told["open"]) == ("al.shelter", True)

    async with shelter.gateway.core.database.read() as connection:
        query = select(inbox).where(inbox.c.type == "rectify.notice")
        notice = (await connection.execute(query)).one()
    opened = await open_message(shelter.parts, notice.id)
    assert opened["sections"] == right
    await shelter.send(
        type="rectify.ack",
        to="al.nrm",
        case_ref="SH-1",
        thread=notice.thread,
        in_reply_to=notice.id,
        body={"outcome": "done", "done_at": "2026-11-22T12:00:00Z"},
    )
    await three.settle()
    [told] = await albania.parts.asking.status("AL-1")
    assert (told["answer"], told["open"]) == ("done", False)


async def test_what_is_frozen_is_neither_opened_nor_passed_on_until_it_is_lifted(
    three: World,
) -> None:
    await passed_on(three)
    italy, albania = three["it.nrm"], three["al.nrm"]
    wanted = RightDraft(kind="restrict", case="CASE-1", ground="accuracy_contested")
    await italy.parts.asking.ask(wanted, worker="anna")
    await three.settle()
    async with albania.gateway.core.database.read() as connection:
        query = select(inbox).where(inbox.c.type == "referral.request")
        referral = (await connection.execute(query)).one()
        query = select(grant_table.c.id).where(grant_table.c.recipient == "al.shelter")
        onward = await connection.scalar(query)

    async def pass_on() -> None:
        await albania.send(
            type="referral.request",
            to="al.shelter",
            case_ref="AL-1",
            grant=onward,
            purpose=Purpose.PROTECTION,
            sections=CASE,
            body={"services": ["safe_house"]},
            derived_from=referral.business_id,
        )

    with pytest.raises(UseRestricted):
        await open_message(albania.parts, referral.id)
    # What says so is read, as are all her rights, and danger.
    async with albania.gateway.core.database.read() as connection:
        query = select(inbox.c.id).where(inbox.c.type == "restrict.notice")
        frozen = await connection.scalar(query)
    assert frozen is not None
    assert (await open_message(albania.parts, frozen))["type"] == "restrict.notice"
    with pytest.raises(UseRestricted):
        await pass_on()
    with pytest.raises(UseRestricted):
        await italy.refer("al.nrm", await italy.consent("al.nrm"))

    await italy.parts.asking.ask(RightDraft(kind="lift", case="CASE-1"), worker="anna")
    await three.settle()
    assert (await open_message(albania.parts, referral.id))["sections"]
    await pass_on()


async def test_she_asks_for_her_data_and_every_holder_answers_until_the_last_is_in(
    three: World,
) -> None:
    clauses = TransferBasis(sender="it.nrm", basis="eu-gdpr:A46-3-a")
    own_law = TransferBasis(sender="al.shelter", basis="national-law")
    await register_agreement(three, "it.nrm", "al.shelter", transfer=(clauses, own_law))
    for side in three.sides.values():
        await side.parts.agreements.refresh()
    await passed_on(three)
    italy, albania, shelter = three["it.nrm"], three["al.nrm"], three["al.shelter"]
    known = await italy.consent("al.shelter", sections=("case_admin", "risk_security"))
    await italy.refer(
        "al.shelter", known, sections={**CASE, "risk_security": {"summary": "Invented text."}}
    )
    await three.settle()
    wanted = RightDraft(kind="access", case="CASE-1")
    with pytest.raises(SchemaRefused, match="identity"):
        await italy.parts.asking.ask(wanted, worker="anna")
    sure = wanted.model_copy(update={"identity_proved": True})
    await italy.parts.asking.ask(sure, worker="anna")
    await three.settle()

    async def open_ones() -> dict[str, bool]:
        told = await italy.parts.asking.status("CASE-1")
        for one in told:  # GDPR Art 12(3)
            within = datetime.fromisoformat(one["due_at"]) - datetime.fromisoformat(one["at"])
            assert timedelta(days=28) <= within <= timedelta(days=32)
        return {one["partner"]: one["open"] for one in told}

    async def request_at(side: Side) -> UUID:
        async with side.gateway.core.database.read() as connection:
            query = select(inbox.c.id).where(inbox.c.type == "access.request")
            found: UUID = (await connection.execute(query)).scalar_one()
            return found

    assert await open_ones() == {"al.nrm": True, "al.shelter": True}
    ours = {"services_support": {"services": [{"service": "housing"}]}}
    request = await request_at(albania)
    said = await albania.parts.answering.answer(request, ours=ours, texts_read=False)
    assert (said.sections, said.withheld) == (("case_admin",), ("services_support",))
    assert len(said.messages) == 2
    with pytest.raises(NotPermitted):
        await albania.parts.answering.answer(request, ours=ours, texts_read=False)
    await three.settle()
    assert await open_ones() == {"al.nrm": False, "al.shelter": True}
    await shelter.parts.answering.answer(await request_at(shelter), ours={}, texts_read=False)
    await three.settle()
    assert await open_ones() == {"al.nrm": False, "al.shelter": False}

    answers = {one["partner"]: one["answer"] for one in await italy.parts.asking.status("CASE-1")}
    assert answers == {"al.nrm": "partly", "al.shelter": "done"}
    made = await copy_of(italy.gateway.core, "CASE-1", ours={}, texts_read=True)
    told = as_json(made)
    came = {(one["from"], one["section"]): one["content"] for one in told["data"]}
    assert came["al.nrm", "case_admin"] == {"status": "Active"}  # not its worker's name
    assert came["al.shelter", "risk_security"] == {}
    [further] = told["further"]
    assert (further["told_by"], further["recipient"]) == ("al.nrm", "al.shelter")
    for language in ("en", "fr", "ar"):
        assert "A shelter in Albania" in as_html(as_paper(made, language))


async def test_what_two_consents_cover_comes_in_two_and_what_she_took_back_is_withheld(
    three: World,
) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    hers = {**CASE, "identity_core": {"first_name": "Invented"}}
    grant = await italy.consent("al.nrm", sections=tuple(hers))
    other = await italy.consent("al.nrm", sections=("risk_security",))
    await italy.refer("al.nrm", grant, sections=hers)
    await italy.send(
        type="info.spontaneous",
        to="al.nrm",
        case_ref="CASE-1",
        grant=other,
        purpose=Purpose.PROTECTION,
        sections={"risk_security": {"risk_level": "low"}},
        body={"about": ["risk_assessment"]},
    )
    await three.settle()
    sure = RightDraft(kind="access", case="CASE-1", identity_proved=True)
    await italy.parts.asking.ask(sure, worker="anna")
    await three.settle()
    narrowed = [ScopeGrant(purpose=Purpose.PROTECTION, section="identity_core")]
    await italy.parts.withdrawals.order(grant, narrowed)
    async with albania.gateway.core.database.read() as connection:
        query = select(inbox.c.id).where(inbox.c.type == "access.request")
        request = (await connection.execute(query)).scalar_one()

    # What she took back is erased there by now, and no part of the answer.
    ours = {"services_support": {"services": [{"service": "housing"}]}}
    await three.settle()
    said = await albania.parts.answering.answer(request, ours=ours, texts_read=True)
    assert (said.sections, len(said.messages)) == (("case_admin", "risk_security"), 3)
    assert said.withheld == ("services_support",)
    await three.settle()
    [told] = await italy.parts.asking.status("CASE-1")
    assert (told["answer"], told["open"]) == ("partly", False)
    made = await copy_of(italy.gateway.core, "CASE-1", ours={}, texts_read=True)
    assert {one.section for one in made.held} == {"case_admin", "risk_security"}
    with pytest.raises(NotFound):
        await albania.parts.answering.answer(uuid4(), ours={}, texts_read=True)
