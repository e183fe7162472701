"""What protects a person works at a gateway: at sending, at delivery, on opening and onward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from broker.clock import TurnedClock
from broker.gateway.consent import reading
from broker.gateway.consent.majority import NOT_KNOWN
from broker.gateway.home import add_worker
from broker.gateway.receive.opening import open_message
from broker.gateway.safeguards.keeping import change
from broker.gateway.safeguards.known import About, persons
from broker.gateway.send.drafts import RenewalDraft
from broker.gateway.store.tables import alarm, fact, inbox, opening, outbox
from broker.gateway.store.tables import grant as grants
from broker.rules.countries import last_day_of_childhood
from schemas.consent import ConsentStatus, GuardianDecision, Purpose, ScopeGrant
from schemas.errors import ConsentWithdrawn, PolicyRefused
from tests.support.examples import BODIES
from tests.support.gateways import CASE, Desk, Side, World, register_agreement, world

SOON = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
CLAIM = {"protection_claim": True, "origin": "AL"}


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm", "al.shelter") as made:
        await register_agreement(made, "it.nrm", "al.shelter")
        for side in made.sides.values():
            await side.parts.agreements.refresh()
        yield made


async def knowing(made: World, participant: str) -> Desk:
    """A worker with the right to know."""
    home = made.network.participants[participant].home
    await asyncio.to_thread(add_worker, home, "knowing", may_know=True)
    return Desk(made, participant, "knowing")


async def events(side: Side) -> list[str]:
    async with side.gateway.core.database.read() as connection:
        found = await connection.execute(select(opening.c.event))
        return [event for event in found.scalars() if event != "safeguards:changed"]


async def refused_with(side: Side, **draft: Any) -> PolicyRefused:
    with pytest.raises(PolicyRefused) as refused:
        await side.send(case_ref="CASE-1", **draft)
    return refused.value


async def test_a_claim_stops_what_goes_to_the_origin_and_looks_like_an_exclusion(
    three: World,
) -> None:
    italy, desk = three["it.nrm"], Desk(three, "it.nrm")
    informed = await knowing(three, "it.nrm")
    grant = str(await italy.consent("al.nrm"))
    draft = {
        "type": "referral.request",
        "to": "al.nrm",
        "case_ref": "CASE-1",
        "grant": grant,
        "purpose": "protection",
        "sections": CASE,
        "body": {"services": ["safe_house"]},
    }
    before = await events(italy)
    said = {"about": "CASE-1", "safeguards": CLAIM}
    assert (await desk.post("/v1/safeguards", said)).json()["code"] == "forbidden"
    assert (await informed.post("/v1/safeguards", said)).status_code == 200

    for_claim = await desk.post("/v1/messages", draft)
    logged_claim = await events(italy)
    why = (await informed.post("/v1/safeguards/why", {"draft": draft})).json()
    for path, body in (
        ("/v1/safeguards", {**said, "safeguards": {"protection_claim": None}}),
        ("/v1/exclusions", {"about": "CASE-1", "participant": "al.nrm"}),
    ):
        assert (await informed.post(path, body)).status_code == 200
    for_exclusion = await desk.post("/v1/messages", draft)

    assert for_claim.json() == for_exclusion.json()
    assert (for_claim.status_code, for_claim.json()["code"]) == (403, "policy")
    assert "where" not in for_claim.json() or for_claim.json()["where"] == []
    assert sorted(logged_claim) == sorted([*before, "consent:decided"])
    assert "who.origin-during-claim" in why["rules"]
    assert why["codes"] == ["policy"]
    asked: tuple[dict[str, Any], ...] = ({"draft": draft}, {"message": grant})
    for body in asked:
        assert (await desk.post("/v1/safeguards/why", body)).json()["code"] == "forbidden"


async def test_recovery_holds_when_the_other_side_proposes_travel(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    plan = {
        "type": "return.plan.propose",
        "to": "it.nrm",
        "case_ref": "AL-7",
        "recipient_case_ref": "CASE-1",
        "purpose": Purpose.RETURN_PLANNING,
        "sections": {"return_travel": {"decision": "return"}},
        "body": BODIES["return.plan.propose"],
    }
    grant = await albania.consent(
        "it.nrm", "AL-7", sections=("return_travel",), purpose=Purpose.RETURN_PLANNING
    )
    first = await albania.send(**plan, grant=grant)
    await three.settle(2)
    await change(italy.gateway.core, "CASE-1", {"recovery_until": SOON}, worker="knowing")

    second = await albania.send(**plan, grant=grant)
    await three.settle(2)

    async with albania.gateway.core.database.read() as connection:
        told = select(fact.c.fact, fact.c.code).where(fact.c.envelope == second.id)
        facts = {tuple(row) for row in await connection.execute(told)}
    assert ("refused", "policy") in facts
    with pytest.raises(PolicyRefused):
        await open_message(italy.parts, first.id)
    why = await (await knowing(three, "it.nrm")).post(
        "/v1/safeguards/why", {"message": str(first.id)}
    )
    assert why.json()["rules"] == ["travel.recovery"]
    await change(italy.gateway.core, "CASE-1", {"asked_to_go_on": True}, worker="knowing")
    assert (await open_message(italy.parts, first.id))["type"] == "return.plan.propose"


async def test_what_received_sections_say_protects_her_onward(three: World) -> None:
    albania, shelter = three["al.nrm"], three["al.shelter"]
    told = {
        **CASE,
        "asylum_protection": {"stage": "lodged", "feared_countries": ["IT"]},
        "family_dependants": {"family_must_not_know": True},
    }
    grant = await albania.consent("al.shelter", sections=tuple(told))
    sent = await albania.refer("al.shelter", grant, sections=told)
    await three.settle(2)
    business = await business_id(albania, sent.id)
    onward = await shelter.consent("it.nrm", "SH-1", sections=("case_admin",), derived_from=grant)
    await three.settle(1)
    draft = {
        "type": "referral.request",
        "to": "it.nrm",
        "grant": onward,
        "purpose": Purpose.PROTECTION,
        "sections": CASE,
        "body": {"services": ["safe_house"]},
    }

    by_referral = await refused_with(shelter, **draft, derived_from=business)
    async with shelter.gateway.core.database.read() as connection:
        local = await connection.scalar(select(inbox.c.reference).where(inbox.c.id == sent.id))
    with pytest.raises(PolicyRefused) as by_number:
        await shelter.send(**draft, case_ref=local)

    assert (by_referral.code, by_referral.where) == ("policy", ())
    assert (by_number.value.code, by_number.value.where) == ("policy", ())
    await albania.parts.withdrawals.order(grant)
    await three.settle(2)
    async with shelter.gateway.core.database.read() as connection:
        left = select(inbox.c.state).where(inbox.c.id == sent.id)
        assert await connection.scalar(left) == "erased"


async def test_what_was_sent_in_error_is_opened_by_nobody_once_it_is_recalled(
    three: World,
) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    sent, other = await italy.refer("al.nrm", grant), await italy.refer("al.nrm", grant)
    await three.settle(2)

    await italy.send(
        type="referral.recall",
        to="al.nrm",
        case_ref="CASE-1",
        thread=sent.thread,
        body={"messages": [str(await business_id(italy, sent.id))]},
    )
    await three.settle(2)

    with pytest.raises(ConsentWithdrawn):
        await open_message(albania.parts, sent.id)
    assert (await open_message(albania.parts, other.id))["type"] == "referral.request"


BOTH = GuardianDecision(
    guardian_role="guardian authority",
    guardian_agrees=True,
    child_view="Invented words.",
    child_agrees=True,
)


async def test_a_guardians_word_ends_on_the_day_she_comes_of_age(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    core = italy.gateway.core
    today = core.now().date()
    birthday = today.replace(year=today.year - 18, day=1) + timedelta(days=70)
    await change(core, "CASE-1", {"born": birthday.isoformat()}, worker="knowing")
    child: dict[str, Any] = {"presumed_child": True, "guardian": BOTH}
    grant = await italy.consent("al.nrm", **child)
    assert await until_of(italy, grant) == last_day_of_childhood(birthday.isoformat(), "IT")
    unknown = await italy.consent("al.nrm", "CASE-2", **child)
    assert await until_of(italy, unknown) == NOT_KNOWN

    assert await italy.parts.majority.run_once() == 0
    of_age = today.replace(year=today.year - 18) - timedelta(days=1)
    for case in ("CASE-1", "CASE-2"):
        await change(core, case, {"born": of_age.isoformat()}, worker="knowing")
    assert await italy.parts.majority.run_once() == 2
    assert await italy.parts.majority.run_once() == 0
    await three.settle(2)

    async with albania.gateway.core.database.read() as connection:
        came = list(await connection.scalars(select(inbox.c.type)))
    async with core.database.read() as connection:
        raised = select(alarm.c.code, alarm.c.about).where(alarm.c.code == "consent-majority")
        asked = {row.about for row in await connection.execute(raised)}
    assert came.count("consent.majority") == 2
    assert asked == {str(grant), str(unknown)}
    with pytest.raises(ConsentWithdrawn):
        await italy.refer("al.nrm", grant)
    with pytest.raises(ConsentWithdrawn):
        await italy.parts.consents.renew(grant, RenewalDraft(valid_until=today))


async def test_a_consent_that_she_renews_leaves_out_what_she_took_back(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm", sections=("case_admin", "risk_security"))
    await italy.parts.withdrawals.order(
        grant, [ScopeGrant(purpose=Purpose.PROTECTION, section="risk_security")]
    )
    longer = italy.gateway.core.now().date() + timedelta(days=90)

    again = await italy.parts.consents.renew(grant, RenewalDraft(valid_until=longer))
    await italy.refer("al.nrm", again)
    await three.settle(2)

    told = await reading.read(albania.gateway.core, again)
    assert (told.status, told.record.valid_until) == (ConsentStatus.RENEWED, longer)
    assert [scope.section for scope in told.record.scopes] == ["case_admin"]
    async with albania.gateway.core.database.read() as connection:
        came = set(await connection.scalars(select(inbox.c.type)))
    assert {"consent.renew", "referral.request"} <= came


async def until_of(side: Side, grant_id: Any) -> Any:
    async with side.gateway.core.database.read() as connection:
        return await connection.scalar(
            select(grants.c.guardian_until).where(grants.c.id == grant_id)
        )


async def business_id(side: Side, message: Any) -> Any:
    async with side.gateway.core.database.read() as connection:
        return await connection.scalar(select(outbox.c.business_id).where(outbox.c.id == message))


async def test_what_has_ended_is_looked_at_again_by_somebody_who_may_know(three: World) -> None:
    italy = three["it.nrm"]
    core = italy.gateway.core
    tomorrow = (core.now() + timedelta(days=1)).date().isoformat()
    await change(core, "CASE-1", {"recovery_until": tomorrow}, worker="knowing")
    await change(core, "CASE-2", CLAIM, worker="knowing")
    sweep, clock = italy.parts.safeguards_sweep, core.clock

    async def asked_for(days: int) -> set[str]:
        core.clock = TurnedClock(offset=timedelta(days=days))
        try:
            await sweep.run_once()
        finally:
            core.clock = clock
        async with core.database.read() as connection:
            open_ones = select(alarm.c.about).where(
                alarm.c.code == "safeguards-review", alarm.c.cleared_at.is_(None)
            )
            return set(await connection.scalars(open_ones))

    assert await asked_for(1) == set()
    assert await asked_for(2) == {"CASE-1"}
    await change(core, "CASE-1", {"recovery_until": None}, worker="knowing")
    assert await asked_for(2) == set()
    assert await asked_for(91) == {"CASE-2"}


async def test_her_papers_that_came_tell_the_guard_where_she_is_from(three: World) -> None:
    albania, shelter = three["al.nrm"], three["al.shelter"]
    told = {**CASE, "nationality_documents": {"citizenship": ["IT"]}}
    grant = await albania.consent("al.shelter", sections=tuple(told))
    sent = await albania.refer("al.shelter", grant, sections=told)
    await three.settle(2)
    business = await business_id(albania, sent.id)
    onward = await shelter.consent("it.nrm", "SH-1", sections=("case_admin",), derived_from=grant)
    await change(shelter.gateway.core, str(business), {"protection_claim": True}, worker="knowing")
    refused = await refused_with(
        shelter,
        type="referral.request",
        to="it.nrm",
        grant=onward,
        purpose=Purpose.PROTECTION,
        sections=CASE,
        body={"services": ["safe_house"]},
        derived_from=business,
    )
    assert (refused.code, refused.where) == ("policy", ())
    async with shelter.gateway.core.database.read() as connection:
        about = About(business_ids=frozenset({business}))
        [known] = await persons(shelter.gateway.core, connection, [about])
    assert known.origin == "IT"


async def test_all_that_protects_her_is_found_on_either_database(
    tmp_path: Path, database_url: str
) -> None:
    async with world(tmp_path / "network", databases={"it.nrm": database_url}) as two:
        italy, albania = two["it.nrm"], two["al.nrm"]
        core = italy.gateway.core
        told = {**CASE, "nationality_documents": {"citizenship": ["AL"]}}
        yes = await albania.consent("it.nrm", "AL-9", sections=tuple(told))
        sent = await albania.refer("it.nrm", yes, sections=told, case_ref="AL-9")
        asked = await italy.send(
            type="risk.assessment.request",
            to="al.nrm",
            case_ref="CASE-1",
            grant=await italy.consent("al.nrm", sections=("risk_security",)),
            purpose=Purpose.PROTECTION,
            sections={"risk_security": {"risk_level": "low"}},
            body={"sources": ["debt"]},
        )
        await two.settle(2)
        await albania.send(
            type="risk.assessment.joint",
            to="it.nrm",
            case_ref="AL-9",
            thread=asked.thread,
            body={"level": "low", "assessed_on": SOON, "valid_until": SOON},
        )
        await two.settle(2)
        business = await business_id(albania, sent.id)
        await change(core, str(business), {"protection_claim": True}, worker="knowing")
        await italy.parts.excluding.exclude("CASE-1", "police:AL", worker="knowing")
        async with core.database.read() as connection:
            about = About(case_refs=frozenset({"CASE-1"}), business_ids=frozenset({business}))
            [known] = await persons(core, connection, [about])
    assert (known.origin, known.protection_claim) == ("AL", True)
    assert known.assessed_until == date.fromisoformat(SOON)
    assert known.exclusions.entries == {"police:AL"}
