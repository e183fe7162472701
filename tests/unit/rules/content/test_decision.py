"""All rules together: what travels, what each refusal says, and the laws that hold of them all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules.content import (
    RULES,
    Decision,
    Exclusions,
    Moment,
    Person,
    Question,
    decide,
)
from schemas.catalogue import catalogue
from schemas.consent import ConsentStatus, Purpose
from schemas.directory import OrganisationKind
from schemas.errors import codes
from schemas.sections.index import SECTION_INDEX
from tests.support.questions import (
    ARRANGEMENT,
    DAY,
    NARRATED,
    NGO,
    NOW,
    SHELTER,
    SHELTERED,
    a_grant,
    a_message,
    a_use,
    an_agreement,
    an_alert,
    entry,
    participant,
    question,
    says,
    voices,
    with_basis,
)


def outward(decision: Decision) -> list[tuple[str, str]]:
    """What leaves the engine: codes and paths, without the rules behind them."""
    return [(refusal.code, refusal.where) for refusal in decision.refusals]


@pytest.mark.parametrize("moment", list(Moment))
def test_a_referral_within_consent_agreement_and_law_travels_and_is_read(moment: Moment) -> None:
    decision = decide(question(moment=moment))
    assert decision.allowed
    decision.raise_if_refused()
    with pytest.raises(ValueError, match="nothing to refuse"):
        decision.error()


def test_the_refusal_of_an_excluded_and_of_a_protected_person_look_the_same() -> None:
    excluded = decide(question(exclusions=frozenset({"al.nrm"})))
    protected = decide(question(protection_claim=True, origin="AL"))
    assert outward(excluded) == outward(protected)
    assert excluded.rules != protected.rules, "for who may look at the safeguards"


some = st.sampled_from


@st.composite
def questions(draw: st.DrawFn) -> Question:
    name = draw(some(sorted(catalogue)))
    sections = draw(st.sets(some(sorted(SECTION_INDEX)), max_size=3))
    scopes = tuple(
        entry(
            draw(some(sorted(SECTION_INDEX))),
            draw(some([*list(Purpose)[:3], Purpose.CASE_TRANSFER])),
            scope=draw(some(["s" * 22, None])),
            processing_basis=draw(
                some(["eu-gdpr:A6-1-e", "eu-gdpr:A9-2-a", "eu-gdpr:A9-2-c", "national-law"])
            ),
            transfer_basis=draw(some([ARRANGEMENT, "none-needed", "national-law"])),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    use = draw(st.none() | st.builds(a_use, code=some(["vital_interest_life", "missing_child"])))
    kinds = some([k for k in OrganisationKind if k is not OrganisationKind.HUB])
    return question(
        name,
        message=a_message(
            name,
            sections={section: {} for section in sections},
            scopes=scopes,
            exception=use,
        ),
        sender=participant(draw(some(["it.nrm", "al.nrm"])), draw(kinds)),
        recipient=participant(draw(some(["al.nrm", "it.nrm", "ro.nrm"])), draw(kinds)),
        grant=draw(
            st.none()
            | st.builds(
                a_grant,
                status=some(list(ConsentStatus)),
                presumed_child=st.booleans(),
                removed=some([frozenset(), frozenset({(Purpose.PROTECTION, "case_admin")})]),
            )
        ),
        agreement=draw(st.none() | st.builds(an_agreement, suspended=st.booleans())),
        moment=draw(some(list(Moment))),
        exclusions=draw(some([frozenset(), frozenset({"al.nrm"})])),
        protection_claim=draw(st.booleans()),
        origin=draw(some([None, "AL"])),
        presumed_child=draw(st.booleans()),
        recovery_until=draw(some([None, NOW.date() + DAY])),
    )


CHANGES: tuple[dict[str, Any], ...] = (
    {"grant": None},
    {"grant": a_grant(status=ConsentStatus.WITHDRAWN)},
    {"grant": a_grant(removed=frozenset({(Purpose.PROTECTION, "risk_security")}))},
    {"grant": a_grant(recipient="al.ngo")},
    {"grant": a_grant(presumed_child=True)},
    {"grant": a_grant(status=ConsentStatus.RENEWED)},
    {"grant": a_grant(presumed_child=True, guardian=voices(True, True))},
    {"agreement": None},
    {"agreement": an_agreement(suspended=True)},
    {"agreement": an_agreement(sections=("*",))},
    {"message": with_basis(transfer="none-needed")},
    {"message": a_message(sections={})},
    {"message": a_message(sections={"case_admin": {}})},
    {"message": a_message(scopes=(entry("case_admin"),))},
    {"message": a_message(exception=a_use())},
    {"recipient": NGO},
    {"moment": Moment.DELIVER},
    {"moment": Moment.OPEN},
    {"person": Person(exclusions=Exclusions.of({"al.nrm"}))},
    {"person": Person(exclusions=Exclusions.of({"authorities:AL"}))},
    {"person": Person(presumed_child=True)},
    {"person": Person(protection_claim=True)},
    {"now": NOW + 400 * DAY},
)


@st.composite
def near_misses(draw: st.DrawFn) -> Question:
    """A message that may travel, with a few things changed: most of them right at the edge."""
    asked = question() if draw(st.booleans()) else an_alert(a_use())
    for change in draw(st.lists(some(CHANGES), max_size=2)):
        if asked.type.name == "safety.alert":
            change = {key: value for key, value in change.items() if key != "message"}
        asked = replace(asked, **change)
    return asked


anything = questions() | near_misses()


@given(anything, st.integers(0, len(RULES)))
def test_one_more_rule_never_allows_more(asked: Question, count: int) -> None:
    fewer = decide(asked, RULES[:count])
    more = decide(asked, RULES[: count + 1])
    assert set(fewer.refusals) <= set(more.refusals)
    assert fewer.allowed or not more.allowed


@given(anything, st.permutations(RULES))
def test_the_order_of_the_rules_changes_what_is_said_first_and_nothing_else(
    asked: Question, rules: list[Any]
) -> None:
    assert set(decide(asked, tuple(rules)).refusals) == set(decide(asked).refusals)


@given(anything)
def test_what_is_allowed_has_consent_or_an_exception_for_every_section(asked: Question) -> None:
    if not decide(asked).allowed:
        return
    for section in asked.carried():
        entries = asked.entries(section)
        assert entries
        if asked.message.exception is None:
            assert asked.grant is not None
            live = asked.grant.live_scopes()
            assert all((item.purpose, section) in live for item in entries)
        else:
            assert asked.type.exceptions


@given(anything)
def test_narrowing_a_grant_never_allows_more(asked: Question) -> None:
    if asked.grant is None:
        return
    narrower = replace(
        asked, grant=replace(asked.grant, removed=asked.grant.removed | asked.grant.scopes)
    )
    if decide(narrower).allowed:
        assert decide(asked).allowed


@given(anything)
def test_every_refusal_has_a_code_of_the_protocol_and_a_path_of_the_language(
    asked: Question,
) -> None:
    known = codes()
    for refusal in decide(asked).refusals:
        assert refusal.code in known
        assert set(refusal.where.split(".")) <= {
            "",
            "?",
            "agreement",
            "approved_by",
            "code",
            "decided_at",
            "exception",
            "grant",
            "guardian",
            "law",
            "processing_basis",
            "purposes",
            "reason",
            "redacted",
            "review_by",
            "scopes",
            "sections",
            "tell_person_by",
            "transfer_basis",
            "type",
            "types",
            *SECTION_INDEX,
            *Purpose,
        }


def test_a_silent_refusal_hides_the_paths_of_the_others() -> None:
    asked = says(SHELTERED, protection_claim=True, origin="AL")
    decision = decide(asked)
    assert decision.rules == ("who.origin-during-claim", "what.shelter")
    assert decision.error().where == ()


def test_each_section_can_be_asked_about_alone() -> None:
    asked = says({"case_admin": {}, "case_narrative": {"case_comment": "Invented."}})
    decision = decide(asked)
    assert decision.about("case_admin").allowed
    assert decision.about("case_narrative").rules == ("what.redacted",)
    assert not decide(replace(asked, grant=None)).about("case_admin").allowed


@pytest.mark.parametrize("moment", list(Moment))
def test_the_recipient_asks_the_same_of_what_it_opened(moment: Moment) -> None:
    for asked in (says(SHELTERED), says(NARRATED), says({"perpetrator": {}}, to=SHELTER)):
        assert not decide(replace(asked, moment=moment)).allowed
