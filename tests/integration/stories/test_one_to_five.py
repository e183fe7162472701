"""The first five of ten things that a toy would miss (docs/stories.md), each told as a story."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.stories import Declined, Told, after, day, declined, years_ago

pytestmark = pytest.mark.asyncio(loop_scope="module")
CASE = {"case_admin": {"status": "Active"}}


async def test_1_her_relatives_are_asked_themselves_and_each_may_refuse(told: Told) -> None:
    italy, albania = told.italy, told.albania
    yes = await italy.consent("al.nrm", ("identity_core", "family_dependants"), "family_tracing")

    async def look_for(**mother: Any) -> str:
        relative = {"relation": "mother", "name": "Invented mother", "age": 50, **mother}
        sections = {
            "identity_core": {"first_name": "Invented"},
            "family_dependants": {"relatives": [relative]},
        }
        asked = await italy.say(
            "family.tracing.request",
            "al.nrm",
            under=yes,
            purpose="family_tracing",
            sections=sections,
        )
        return asked.thread

    # Her own yes does not speak for her mother.
    with declined("consent-missing", "sections.family_dependants.relatives.0"):
        await look_for()
    thread = await look_for(consent="given")

    # Found, and her mother wants no contact: an answer like any other, with nothing of hers in it.
    result = {"result": "relative_refuses", "relatives_agreed": False}
    await albania.say("family.tracing.result", "it.nrm", result, thread=thread)
    heard = await italy.hears("family.tracing.result")
    assert (heard["body"]["result"], heard["sections"]) == ("relative_refuses", {})
    assert (await italy.exchange(thread))["state"] == "answered"

    # What a relative said stands above what the form says, also when she said yes before.
    for word in ("refused", "withdrawn"):
        await italy.protect(relatives={"mother": word})
        with declined("consent-missing", "sections.family_dependants.relatives.0"):
            await look_for(consent="given")

    # And the family has a part in it only where that is good for her.
    await italy.protect(relatives={"mother": "given"})
    await look_for(consent="given")
    await italy.exclude("relative:mother")
    with declined("policy", "sections.family_dependants.relatives.0"):
        await look_for(consent="given")


async def test_2_an_early_notice_binds_nobody_and_staying_costs_nothing(told: Told) -> None:
    italy, albania = told.italy, told.albania
    yes = await italy.consent("al.nrm", ("case_admin", "return_travel"), "return_planning")
    under: dict[str, Any] = {"under": yes, "purpose": "return_planning"}

    async def notice() -> Any:
        said = await italy.say("referral.early_notice", "al.nrm", sections=CASE, **under)
        await albania.say("referral.received", "it.nrm", thread=said.thread)
        return said

    # She stays: both know, and nobody is reminded of anything afterwards.
    first = await notice()
    await italy.say("return.decision", "al.nrm", {"decision": "stay"}, thread=first.thread)
    for office in (italy, albania):
        assert (await office.exchange(first.thread))["state"] == "stay_chosen"
        with after(office, timedelta(days=70)):
            assert await office.alarms(first) == []

    # Nobody decides: the window of two weeks to two months closes by itself and without a word.
    second = await notice()
    for office in (italy, albania):
        with after(office, timedelta(days=62)):
            assert await office.alarms(second) == []
        assert (await office.exchange(second.thread))["state"] == "option_open"

    # She wants to go, all is ready, and on the last day she stays after all: that is as good.
    third = await notice()
    travel = {"return_travel": {"decision": "return"}}
    last = {"risk_valid_until": day(30)}
    joint = {"assessed_on": day(), "valid_until": day(30)}
    await albania.say("risk.assessment.joint", "it.nrm", joint, thread=third.thread)
    await italy.say("return.decision", "al.nrm", {"decision": "return"}, thread=third.thread)
    for word in ("return.plan.propose", "travel.notice"):
        await italy.say(word, "al.nrm", last, thread=third.thread, sections=travel, **under)
        if word == "return.plan.propose":
            await albania.say("return.plan.agree", "it.nrm", thread=third.thread)
    assert (await italy.exchange(third.thread))["state"] == "travel_scheduled"
    await italy.say("return.decision", "al.nrm", {"decision": "stay"}, thread=third.thread)
    assert (await albania.exchange(third.thread))["state"] == "stay_chosen"
    assert (await italy.exchange((await notice()).thread))["state"] == "early_notified"


async def test_3_either_side_asks_the_other_and_a_refusal_tells_nothing(told: Told) -> None:
    italy, albania = told.italy, told.albania
    four = {
        "about": [
            "family_identification",
            "social_questionnaire",
            "risk_assessment",
            "consequences_upon_return",
        ],
        "sections": ["family_dependants", "vulnerability_needs", "risk_security"],
        "purpose": "protection",
    }
    # The country of origin asks, the country of destination sets a condition and gives a part.
    asked = await albania.say("info.request", "it.nrm", four, recipient_case_ref=italy.case)
    condition = {"conditions": ["no_onward"]}
    await italy.say("info.conditions", "al.nrm", condition, thread=asked.thread)
    await albania.say("info.conditions.accept", "it.nrm", condition, thread=asked.thread)
    yes = await italy.consent("al.nrm", ("risk_security",), "protection")
    withheld = [
        {"section": "family_dependants", "reason": "third_party"},
        {"section": "vulnerability_needs", "reason": "not_consented"},
    ]
    await italy.say(
        "info.reply",
        "al.nrm",
        {"withheld": withheld, "conditions": ["no_onward"]},
        under=yes,
        purpose="protection",
        sections={"risk_security": {"risk_level": "medium"}},
        thread=asked.thread,
    )
    heard = await albania.hears("info.reply")
    assert (list(heard["sections"]), heard["body"]["withheld"]) == (["risk_security"], withheld)
    assert (await albania.exchange(asked.thread))["state"] == "answered"

    # And the other way round. Who is not known and who said no are answered in the same words.
    answers = []
    for case in (italy.case, "NOBODY-0001"):
        asked = await italy.say("info.request", "al.nrm", four, recipient_case_ref=case)
        no = {"reason": "cannot_say"}
        await albania.say("info.refuse", "it.nrm", no, thread=asked.thread)
        heard = await italy.hears("info.refuse")
        answers.append((heard["body"], heard["sections"], heard["purposes"]))
        assert (await italy.exchange(asked.thread))["state"] == "refused"
    assert answers[0] == answers[1]


async def test_4_she_reads_who_got_what_of_hers_and_gets_her_data_from_everyone_who_has_them(
    told: Told,
) -> None:
    italy, albania, shelter = told.italy, told.albania, told.albanian_shelter
    hers = {
        **CASE,
        "identity_core": {"first_name": "Layla", "original_first_name": "ليلى"},
        "family_dependants": {
            "relatives": [{"relation": "mother", "name": "Invented mother", "consent": "given"}]
        },
    }
    yes = await italy.consent("al.nrm", tuple(hers), "protection")
    sent = await italy.say(
        "referral.request", "al.nrm", under=yes, purpose="protection", sections=hers
    )
    onward = await albania.consent(
        "al.shelter", ("case_admin",), "protection", derived_from=yes, valid_until=day(60)
    )
    await albania.say(
        "referral.request",
        "al.shelter",
        under=onward,
        purpose="protection",
        sections=CASE,
        derived_from=sent.business_id,
    )

    # The ledger: who, what, when, on which basis, at every office, and unchanged since.
    here = (await italy.post("/v1/rights/ledger", {"case": italy.case}))["disclosures"]
    assert {row["section"] for row in here} == set(hers)
    assert {row["partner"] for row in here} == {"al.nrm"}
    assert all(row["recorded"] and row["processing_basis"] and row["at"] for row in here)
    there = (await albania.post("/v1/rights/ledger", {"case": albania.case}))["disclosures"]
    assert ("onward", "al.shelter") in {(row["way"], row["partner"]) for row in there}

    # She asks at one office. Every holder answers; until the last has, it stays open.
    asked = {"kind": "access", "case": italy.case, "identity_proved": True}
    await italy.post("/v1/rights/ask", asked)
    await italy.made.settle(2)
    status = await italy.post("/v1/rights/status", {"case": italy.case})
    assert (status["open"], status["told"][0]["due_at"] is not None) == (1, True)
    request = (await albania.hears("access.request"))["id"]
    said = await albania.post("/v1/rights/answer", {"message": request, "texts_read": True})
    assert (said["sections"], said["withheld"]) == (sorted(hers), [])
    await italy.made.settle(2)
    assert (await italy.post("/v1/rights/status", {"case": italy.case}))["open"] == 0

    # Her copy, in her language: hers alone, with who got it further on, and no word of a relative.
    wanted = {"case": italy.case, "language": "ar", "texts_read": True}
    copy = await italy.post("/v1/rights/copy", wanted)
    assert 'lang="ar" dir="rtl"' in copy["html"]
    assert "ليلى" in copy["html"]
    assert "Invented mother" not in copy["html"] + str(copy["copy"])
    assert [row["recipient"] for row in copy["copy"]["further"]] == ["al.shelter"]

    # And what she takes back is taken back wherever it went; that it was there stays to be read.
    await italy.post(f"/v1/consents/{yes}/withdraw")
    await italy.made.settle(4)
    assert "referral.request" not in await shelter.heard()
    after = (await italy.post("/v1/rights/ledger", {"case": italy.case}))["disclosures"]
    assert {row["section"] for row in after} >= set(hers)


async def test_5_a_child_has_a_guardian_and_a_view_of_its_own_until_it_comes_of_age(
    told: Told,
) -> None:
    italy, albania = told.italy, told.albania
    await italy.protect(born=day(-40))  # an infant: age 0 counts
    sections = ("case_admin", "guardian_child")

    def guardian(agrees: bool = True) -> dict[str, Any]:
        return {
            "presumed_child": True,
            "guardian": {
                "guardian_role": "guardian authority",
                "guardian_agrees": True,
                "child_view": "Invented words.",
                "child_agrees": agrees,
            },
        }

    async def refer(grant: str, *names: str) -> Any:
        content = {**CASE, "guardian_child": {"presumed_child": True}}
        return await italy.say(
            "referral.request",
            "al.nrm",
            under=grant,
            purpose="protection",
            sections={name: content[name] for name in names},
        )

    # An adult's form is not enough, nor the guardian's word against the child's.
    alone = await italy.consent("al.nrm", sections, "protection")
    with declined("child", "grant.guardian"):
        await refer(alone, *sections)
    unwilling = await italy.consent("al.nrm", sections, "protection", **guardian(agrees=False))
    with declined("child", "grant.guardian"):
        await refer(unwilling, *sections)
    both = await italy.consent("al.nrm", sections, "protection", **guardian())
    with declined("child", "sections.guardian_child"):
        await refer(both, "case_admin")
    await refer(both, *sections)
    assert "guardian_child" in (await albania.hears("referral.request"))["sections"]

    # Nobody leaves before somebody has found out what is best for it.
    asked = await italy.say(
        "bestinterests.request",
        "al.nrm",
        under=both,
        purpose="protection",
        sections={"guardian_child": {"presumed_child": True}},
    )
    result = {"result": "stay", "child_heard": True}
    await albania.say("bestinterests.result", "it.nrm", result, thread=asked.thread)
    assert (await italy.exchange(asked.thread))["state"] == "answered"
    with pytest.raises(Declined, match="schema"):
        await italy.say(
            "departure.confirm",
            "al.nrm",
            {"guardian_and_best_interests": False},
            under=both,
            thread=asked.thread,
        )

    # On the day it comes of age the guardian's word ends, and the person is asked herself.
    await italy.protect(born=years_ago(18, days=-1))
    assert await italy.made[italy.id].parts.majority.run_once() >= 1
    await italy.made.settle(2)
    with declined("consent-withdrawn"):
        await refer(both, *sections)
    assert (await albania.get(f"/v1/consents/{both}"))["state"] == "withdrawn"
