"""A referral that crosses no border: the country of destination is the country of origin."""

from __future__ import annotations

import pytest

from tests.support.stories import Told, declined

pytestmark = pytest.mark.asyncio(loop_scope="module")
CASE = {"case_admin": {"status": "Active"}}
PROTECTED = {"asylum_protection": {"stage": "lodged", "country": "IT"}}


async def test_inside_one_country_a_referral_goes_its_whole_way_and_needs_no_transfer(
    told: Told,
) -> None:
    albania, shelter = told.albania, told.albanian_shelter
    yes = await albania.consent("al.shelter", ("case_admin",), "protection")
    await albania.protect(origin="AL")
    draft = albania.draft(
        "referral.request", "al.shelter", under=yes, purpose="protection", sections=CASE
    )
    shown = await albania.post("/v1/messages", {**draft, "dry_run": True})
    [scope] = shown["sealed"]["casework"]["scopes"]
    assert scope["transfer_basis"] == "none-needed"

    sent = await albania.say(
        "referral.request", "al.shelter", under=yes, purpose="protection", sections=CASE
    )
    assert (await albania.get(f"/v1/messages/{sent.id}"))["state"] == "filed"
    await shelter.say("referral.accept", "al.nrm", thread=sent.thread)
    await shelter.say(
        "referral.outcome", "al.nrm", {"services": ["safe_house"]}, thread=sent.thread
    )
    assert (await albania.exchange(sent.thread))["state"] == "completed"
    ledger = await albania.post("/v1/rights/ledger", {"case": albania.case})
    assert {row["transfer_basis"] for row in ledger["disclosures"]} == {"none-needed"}


async def test_words_towards_the_country_of_origin_are_said_inside_it_too(told: Told) -> None:
    albania, shelter = told.albania, told.albanian_shelter
    await albania.protect(origin="AL")
    for word, purpose, sections in (
        (
            "family.tracing.request",
            "family_tracing",
            {"family_dependants": {}, "identity_core": {"first_name": "Invented"}},
        ),
        ("referral.early_notice", "return_planning", CASE),
    ):
        yes = await albania.consent("al.shelter", tuple(sections), purpose)
        await albania.say(word, "al.shelter", under=yes, purpose=purpose, sections=sections)
        assert word in await shelter.heard()


async def test_a_claim_against_another_country_stops_nobody_here_and_one_against_ours_does(
    told: Told,
) -> None:
    italy, italian_shelter = told.italy, told.italian_shelter
    here = await italy.consent("it.shelter", (*CASE, *PROTECTED), "protection")
    await italy.protect(protection_claim=True)
    for origin in (None, "AL"):  # not known yet, or known to be another
        await italy.protect(origin=origin)
        await italy.say(
            "referral.request",
            "it.shelter",
            under=here,
            purpose="protection",
            sections={**CASE, **PROTECTED},
        )
    heard = await italian_shelter.hears("referral.request")
    assert heard["sections"]["asylum_protection"] == PROTECTED["asylum_protection"]

    # Who seeks protection from this very state is not told of to its other authorities.
    albania, police = told.albania, told.albanian_police
    await albania.protect(protection_claim=True, origin="AL")
    yes = await albania.consent("al.police", ("case_admin",), "protection")
    with declined("policy"):
        await albania.say(
            "referral.request", "al.police", under=yes, purpose="protection", sections=CASE
        )
    assert "referral.request" not in await police.heard()
