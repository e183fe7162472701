"""The other five of ten things that a toy would miss (docs/stories.md), each told as a story."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from schemas.catalogue import catalogue
from schemas.families.base import Corridor
from tests.support.stories import Declined, Said, Told, after, day, declined

pytestmark = pytest.mark.asyncio(loop_scope="module")
CASE = {"case_admin": {"status": "Active"}}
TRAVEL = {"return_travel": {"decision": "return"}}


async def test_6_a_case_changes_hands_step_by_step_and_once_more_inside_the_country(
    told: Told,
) -> None:
    italy, albania, shelter = told.italy, told.albania, told.albanian_shelter
    yes = await italy.consent("al.nrm", ("case_admin",), "case_transfer")
    under: dict[str, Any] = {"under": yes, "purpose": "case_transfer"}

    async def owners(thread: str, *offices: Any) -> set[str]:
        return {(await office.exchange(thread))["owner"] for office in offices}

    # Offered, accepted, sent, received, travelled, arrived: all that time the case is Italy's.
    overlap = {"first": day(), "last": day(30)}
    offer = {"dual_management": overlap, "risk_valid_until": day(30)}
    thread = (await italy.say("transfer.offer", "al.nrm", offer, sections=CASE, **under)).thread
    await albania.say("transfer.accept", "it.nrm", {"dual_management": overlap}, thread=thread)
    await italy.say("transfer.casefile", "al.nrm", sections=CASE, thread=thread, **under)
    await albania.say("transfer.casefile.ack", "it.nrm", thread=thread)
    left = {"risk_valid_until": day(30)}
    await italy.say("departure.confirm", "al.nrm", left, thread=thread, **under)
    await albania.say("arrival.handover.confirm", "it.nrm", {"stage": "arrived"}, thread=thread)
    with declined("not-permitted"):  # Albania cannot take what Italy has not signed over
        await albania.say("transfer.complete", "it.nrm", thread=thread)
    signed = await italy.say("transfer.complete", "al.nrm", thread=thread)
    assert await owners(thread, italy, albania) == {"it.nrm"}
    countersigned = {"countersigns": signed.business_id}
    await albania.say("transfer.complete", "it.nrm", countersigned, thread=thread)
    assert await owners(thread, italy, albania) == {"al.nrm"}

    # Reintegration goes on there: the project ends, and the shelter's own hands are the next.
    hers = await albania.consent("al.shelter", ("case_admin",), "case_transfer")
    inside = await albania.say(
        "transfer.offer",
        "al.shelter",
        {"risk_valid_until": day(30)},
        under=hers,
        purpose="case_transfer",
        sections=CASE,
    )
    await shelter.say("transfer.decline", "al.nrm", {"reason": "no_capacity"}, thread=inside.thread)
    assert await owners(inside.thread, albania, shelter) == {"al.nrm"}  # never nobody's
    told_so = await albania.consent("it.nrm", ("monitoring_followup",), "case_transfer")
    await albania.say(
        "exit.handover", "it.nrm", {"to": "ngo"}, under=told_so, purpose="case_transfer"
    )

    # How she is may be asked only of somebody who agreed to be asked, which is a consent apart.
    with declined("consent-scope", "sections.monitoring_followup"):
        await italy.say(
            "monitoring.request",
            "al.nrm",
            under=yes,
            purpose="monitoring",
            sections={"monitoring_followup": {}},
        )
    agreed = await italy.consent("al.nrm", ("monitoring_followup",), "monitoring")
    asked = await italy.say(
        "monitoring.request",
        "al.nrm",
        under=agreed,
        purpose="monitoring",
        sections={"monitoring_followup": {}},
    )
    back = await albania.consent("it.nrm", ("monitoring_followup",), "monitoring")
    await albania.say("contact.lost", "it.nrm", under=back, thread=asked.thread)
    assert (await italy.hears("contact.lost"))["body"]["missed"] == 2
    await albania.say("contact.restored", "it.nrm", thread=asked.thread)
    assert "contact.restored" in await italy.heard()


async def test_7_both_look_at_the_danger_before_she_decides_and_danger_to_life_passes(
    told: Told,
) -> None:
    italy, albania, police = told.italy, told.albania, told.albanian_police
    yes = await italy.consent("al.nrm", ("risk_security",), "return_planning")
    under: dict[str, Any] = {"under": yes, "purpose": "return_planning"}
    risk = {"risk_security": {"risk_level": "medium"}}

    # Each side says what it sees; both say what they agree on, and until when that holds.
    asked = await italy.say("risk.assessment.request", "al.nrm", sections=risk, **under)
    seen = {"scores": [{"source": "family", "grade": "high"}]}
    await albania.say("risk.assessment.contribution", "it.nrm", seen, thread=asked.thread)
    await italy.say("risk.assessment.contribution", "al.nrm", thread=asked.thread)
    joint = {"level": "high", "assessed_on": day(-30), "valid_until": day(-1)}
    await albania.say("risk.assessment.joint", "it.nrm", joint, thread=asked.thread)
    assert (await italy.hears("risk.assessment.joint"))["body"]["valid_until"] == day(-1)

    # It has run out: nobody plans a journey on it, and one side alone cannot say that it goes on.
    travel = await italy.consent("al.nrm", ("return_travel",), "return_planning")

    async def plan(last: str) -> None:
        await italy.say(
            "return.plan.propose",
            "al.nrm",
            {"risk_valid_until": last},
            under=travel,
            purpose="return_planning",
            sections=TRAVEL,
        )

    for last in (day(-1), day(30)):
        with declined("policy", "sections.risk_security"):
            await plan(last)
    again = await italy.say("risk.assessment.request", "al.nrm", sections=risk, **under)
    joint = {"level": "low", "assessed_on": day(), "valid_until": day(30)}
    await albania.say("risk.assessment.joint", "it.nrm", joint, thread=again.thread)
    await plan(day(30))
    with declined("policy", "sections.risk_security"):
        await plan(day(31))

    # Danger to her life goes through without her consent: the least, by two workers, and on record.
    minimum = {"risk_security": {"risk_level": "high"}}
    more = {"purpose": "protection", "sections": minimum}
    code = "vital_interest_life"
    said = await italy.alert("safety.alert", "al.nrm", code, **more)
    heard = await albania.hears("safety.alert")
    assert heard["exception"]["decided_by"] != heard["exception"]["approved_by"]
    assert "exception-received" in await albania.alarms(said)
    with declined("exception", "sections.identity_core"):
        named = {**minimum, "identity_core": {"first_name": "Invented"}}
        await italy.alert(
            "safety.alert", "al.nrm", "staff_safety", purpose="protection", sections=named
        )

    # But the wrong police can be the danger: whom she excludes learns nothing even then.
    await italy.exclude("police:AL")
    with declined("policy"):
        await italy.alert("safety.alert", "al.police", code, **more)
    assert await police.heard() == []
    await italy.alert("safety.alert", "al.nrm", code, **more)


async def test_8_return_is_no_condition_and_the_country_she_fled_learns_nothing(
    told: Told,
) -> None:
    italy, albania = told.italy, told.albania
    to_authority = await italy.consent("al.nrm", ("case_admin",), "protection")
    to_shelter = await italy.consent("al.shelter", ("case_admin",), "protection")

    async def refer(to: str, under: str) -> None:
        await italy.say("referral.request", to, under=under, purpose="protection", sections=CASE)

    async def answer(to: str, under: str) -> tuple[str, tuple[str, ...]]:
        with pytest.raises(Declined) as no:
            await refer(to, under)
        return no.value.code, no.value.where

    # While her claim is open nothing reaches authorities there, whatever it is, and nobody says why.
    before = await albania.heard()
    await italy.protect(protection_claim=True, origin="AL")
    for_claim = await answer("al.nrm", to_authority)
    towards = [
        row
        for row in catalogue.values()
        if row.corridor is Corridor.TO_ORIGIN and row.opens and not row.needs_exception
    ]
    for row in towards:
        purpose = min(row.purposes or {"protection"})
        content: dict[str, Any] = {name: {} for name in row.required_sections}
        under = await italy.consent("al.nrm", tuple(content) or ("case_admin",), purpose)
        with declined("policy"):
            await italy.say(row.name, "al.nrm", under=under, purpose=purpose, sections=content)
    await refer("al.shelter", to_shelter)  # those who shelter her there are no authority
    await italy.protect(protection_claim=None)
    await italy.exclude("al.nrm")
    assert for_claim == await answer("al.nrm", to_authority) == ("policy", ())
    assert await albania.heard() == before

    # Until her time of recovery is over no return is prepared, unless she asks for it herself.
    await italy.post("/v1/exclusions/lift", {"about": italy.case, "participant": "al.nrm"})
    await italy.protect(recovery_until=day(10))
    travel = await italy.consent("al.nrm", ("return_travel",), "return_planning")

    async def plan() -> None:
        await italy.say(
            "return.plan.propose",
            "al.nrm",
            {"risk_valid_until": day(30)},
            under=travel,
            purpose="return_planning",
            sections=TRAVEL,
        )

    with declined("policy", "type", "scopes.return_travel"):
        await plan()
    await italy.protect(asked_to_go_on=True)
    await plan()

    # Help does not depend on what she says to the police: who helps does not even learn it.
    justice = {"criminal_justice": {"cooperation": "declined"}}
    both = await italy.consent("it.shelter", ("case_admin", "criminal_justice"), "protection")
    with declined("policy", "sections.criminal_justice"):
        await italy.say(
            "referral.request",
            "it.shelter",
            under=both,
            purpose="protection",
            sections={**CASE, **justice},
        )
    await italy.say(
        "referral.request", "it.shelter", under=both, purpose="protection", sections=CASE
    )
    # And that she is not to be punished for what she was forced to can be said to the other side.
    status = {"identification_status": {"trafficking_status": "ActualVictimOfTrafficking"}}
    noted = await italy.consent("al.nrm", ("identification_status",), "protection")
    await italy.say(
        "nonpunishment.notice", "al.nrm", under=noted, purpose="protection", sections=status
    )
    assert "nonpunishment.notice" in await albania.heard()


async def test_9_who_is_there_is_known_today_and_a_stranger_finds_the_way_in(told: Told) -> None:
    italy, albania, mission = told.italy, told.albania, told.mission

    async def seen(whom: str) -> dict[str, Any]:
        [found] = [
            one
            for one in (await italy.get("/v1/participants"))["participants"]
            if one["id"] == whom
        ]
        return dict(found)

    # What changes daily each says itself; the newest word counts, and it goes stale by itself.
    free = {"services": [{"service": "legal", "capacity": "yes"}], "confirm_again_by": day(30)}
    await albania.say("directory.announce", "it.nrm", {**free, "deputy_role": "deputy 1"})
    await albania.say("directory.announce", "it.nrm", {**free, "deputy_role": "deputy 2"})
    said = (await seen("al.nrm"))["announced"]
    assert (said["deputy_role"], said["services"]) == ("deputy 2", free["services"])
    assert said["languages"] == ["sqi", "eng"]
    with after(italy, timedelta(days=31)):
        later = (await seen("al.nrm"))["announced"]
    assert (later["stale"], later["services"]) == (True, [])
    assert later["emergency_telephone"] == said["emergency_telephone"]

    # In danger the telephone number comes with the answer: nobody waits for a message to be read.
    alert = {
        "message": italy.draft(
            "safety.alert",
            "al.nrm",
            purpose="protection",
            sections={"risk_security": {"risk_level": "high"}},
        ),
        "code": "vital_interest_life",
        "reason": "Invented reason.",
        "review_by": f"{day(2)}T12:00:00Z",
    }
    proposed = (await italy.post("/v1/exceptions", alert))["id"]
    approved = await italy.post(f"/v1/exceptions/{proposed}/approve", worker="second")
    assert approved["call"] == said["emergency_telephone"]

    # Each agreement is another: what one partner may get another may not.
    both = ("case_admin", "identity_core")
    more = {**CASE, "identity_core": {"first_name": "Invented"}}
    for whom, code in (("al.nrm", None), ("al.police", "no-agreement")):
        yes = await italy.consent(whom, both, "protection")
        draft: dict[str, Any] = {"under": yes, "purpose": "protection", "sections": more}
        if code is None:
            await italy.say("referral.request", whom, **draft)
        else:
            with declined(code, "agreement.sections.identity_core"):
                await italy.say("referral.request", whom, **draft)

    # A country without a focal point: a mission stands in, in somebody's gateway, and is found.
    assert (await seen("xk.mission"))["hosted_by"] == "al.nrm"
    yes = await italy.consent("xk.mission", ("case_admin",), "protection")
    stand_in: dict[str, Any] = {"under": yes, "purpose": "protection", "sections": CASE}
    draft = italy.draft("referral.request", "xk.mission", **stand_in)
    shown = await italy.post("/v1/messages", {**draft, "dry_run": True})
    assert shown["hosted_by"] == "al.nrm"  # in whose hands it will be is said before it goes
    await italy.say("referral.request", "xk.mission", **stand_in)
    assert "referral.request" in await mission.heard()
    await italy.exclude("al.nrm")  # whom she excludes reads it there, so it does not go there
    with declined("policy"):
        await italy.say("referral.request", "xk.mission", **stand_in)

    # And somebody outside of it all, who met her by chance, finds whom to call.
    hub = httpx2.ASGITransport(italy.made.hub)
    async with httpx2.AsyncClient(transport=hub, base_url="http://hub.invalid") as anybody:
        page = (await anybody.get("/find", params={"country": "AL", "lang": "fr"})).text
    assert "+355400000000" in page
    assert "Layla" not in page


async def test_10_a_journey_is_a_chain_of_hands_and_she_is_told_at_every_step(told: Told) -> None:
    italy, albania, greece = told.italy, told.albania, told.greece
    travelling = ("return_travel",)
    yes = await italy.consent("al.nrm", travelling, "return_planning")
    on_the_way = await italy.consent("gr.nrm", travelling, "return_planning")
    under: dict[str, Any] = {"under": yes, "purpose": "return_planning", "sections": TRAVEL}
    risk = {"risk_valid_until": day(30)}

    plan = await italy.say("return.plan.propose", "al.nrm", risk, **under)
    thread = plan.thread
    await albania.say("return.plan.agree", "it.nrm", thread=thread)

    # A third country on the way: who meets her there knows of the journey, and of nothing else.
    transit = await italy.say(
        "transit.assist.request",
        "gr.nrm",
        under=on_the_way,
        purpose="return_planning",
        sections=TRAVEL,
    )
    await greece.say("transit.assist.reply", "it.nrm", thread=transit.thread)
    assert await greece.heard() == ["transit.assist.request"]

    await italy.say("travel.notice", "al.nrm", risk, thread=thread, **under)
    gone: Said = await italy.say(
        "departure.confirm",
        "al.nrm",
        risk,
        under=yes,
        thread=thread,
    )
    # She is not there a day after she should be: both look for her until somebody received her.
    for office in (italy, albania):
        with after(office, timedelta(days=2)):
            assert await office.alarms(gone) == ["arrival-missing"]
        alert = await office.get(f"/v1/deadlines/{gone.id}/draft")
        assert (alert["message"]["type"], alert["message"]["to"]) == (
            "missing.alert",
            "al.nrm" if office is italy else "it.nrm",
        )
        assert "body.facts" in alert["to_say"]  # two people say the rest; nothing leaves by itself
        assert (await office.exchange(thread))["state"] == "missing_alert"
    await albania.say("arrival.handover.confirm", "it.nrm", thread=thread)
    for office in (italy, albania):
        assert (await office.exchange(thread))["state"] == "handed_over"
        assert await office.alarms(gone) == []

    # At each step a sentence waits for her, in her language, until a worker has told her.
    waiting = [
        one for one in (await italy.get("/v1/notices"))["notices"] if one["thread"] == thread
    ]
    assert [one["state"] for one in waiting][-1] == "handed_over"
    paper = await italy.get(f"/v1/notices/{waiting[-1]['id']}?language=ar")
    assert 'lang="ar" dir="rtl"' in paper["html"]
    await italy.post(f"/v1/notices/{waiting[-1]['id']}/done", {"how": "read_out"})

    # Service by service she may say no, and what she was not asked about is not filled in for her.
    name = {"first_name": "Layla", "original_first_name": "ليلى", "original_script": "Arab"}
    services = {
        "services": [
            {"service": "housing", "state": "requested"},
            {"service": "health", "state": "declined_by_person"},
        ]
    }
    sections = {**CASE, "identity_core": name, "services_support": services}
    help_there = await italy.consent("al.nrm", tuple(sections), "protection")
    referred = await italy.say(
        "referral.request",
        "al.nrm",
        {"services": ["housing"]},
        under=help_there,
        purpose="protection",
        sections=sections,
    )
    heard = (await albania.hears("referral.request"))["sections"]
    assert heard["identity_core"] == name
    assert heard["services_support"] == services
    assert not {"health_general", "health_sexual_reproductive"} & heard.keys()
    await albania.say(
        "referral.decline", "it.nrm", {"reason": "declined_by_person"}, thread=referred.thread
    )
    assert (await italy.exchange(referred.thread))["state"] == "withdrawn"
