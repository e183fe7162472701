"""What workers wrote and what sections say add up to what the content rules know of a person."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from broker.gateway.safeguards.sweep import CLAIM_REVIEW, review_due
from broker.gateway.safeguards.words import Safeguards, person_of, told_by
from broker.rules.content import Exclusions, Person
from broker.rules.countries import last_day_of_childhood

TODAY = date(2026, 11, 22)


def person(*written: Safeguards, told: dict[str, dict[str, Any]] | None = None) -> Person:
    theirs = [] if told is None else [told_by(told)]
    return person_of(written, theirs, exclusions=Exclusions(), country="IT", today=TODAY)


def test_of_whom_nobody_said_anything_nothing_is_known() -> None:
    assert person() == Person()
    assert person(told={"case_admin": {}}) == Person()


@pytest.mark.parametrize(
    ("stage", "protected"),
    [(None, True), ("lodged", True), ("granted", True), ("refused", False), ("withdrawn", False)],
)
def test_a_claim_that_a_section_tells_of_protects_until_it_ends(
    stage: str | None, protected: bool
) -> None:
    section = {"feared_countries": ["AL"]} | ({} if stage is None else {"stage": stage})

    found = person(told={"asylum_protection": section})

    assert found.protection_claim is protected
    assert found.feared == ({"AL"} if protected else set())


def test_what_a_worker_wrote_decides_over_a_section() -> None:
    told = {"asylum_protection": {"stage": "lodged"}, "guardian_child": {}}

    found = person(Safeguards(protection_claim=False, presumed_child=False), told=told)

    assert (found.protection_claim, found.presumed_child) == (False, False)


def test_of_what_two_workers_wrote_the_stricter_holds_and_two_origins_are_none() -> None:
    found = person(
        Safeguards(origin="AL", protection_claim=False, recovery_until=date(2026, 12, 1)),
        Safeguards(origin="MA", protection_claim=True, recovery_until=date(2026, 12, 9)),
    )

    assert found.origin is None
    assert found.protection_claim
    assert found.recovery_until == date(2026, 12, 9)


def test_sections_tell_of_family_reflection_and_age() -> None:
    identifications = [{"reflection_until": "2026-12-01"}, {"reflection_until": "2026-11-30"}, {}]
    found = person(
        told={
            "family_dependants": {"family_suspected": True},
            "identification_status": {"identifications": identifications},
            "identity_core": {"birthdate": "2008-XX"},
        }
    )

    assert found.family_suspected
    assert found.recovery_until == date(2026, 12, 1)
    assert found.presumed_child
    assert found.guardian_until == date(2026, 12, 30)


def test_a_relative_speaks_for_itself() -> None:
    found = person(Safeguards(relatives={"father": "refused", "mother": "given"}))

    assert found.relatives_refuse == {"father"}


@pytest.mark.parametrize(
    ("born", "country", "last"),
    [
        ("2008-11-22", "IT", date(2026, 11, 21)),
        ("2008-02-29", "IT", date(2026, 2, 28)),
        ("2008", "IT", date(2026, 12, 30)),
    ],
)
def test_childhood_ends_the_day_before_the_latest_birthday_of_majority(
    born: str, country: str, last: date
) -> None:
    assert last_day_of_childhood(born, country) == last


@pytest.mark.parametrize(
    ("papers", "origin"),
    [
        ({"citizenship": ["AL"]}, "AL"),
        ({"citizenship": ["AL", "XK"]}, None),
        ({"citizenship": ["AL"], "stateless": True}, None),
        ({}, None),
    ],
)
def test_her_papers_tell_where_she_is_from_if_they_are_clear(
    papers: dict[str, Any], origin: str | None
) -> None:
    assert person(told={"nationality_documents": papers}).origin == origin
    assert person(Safeguards(origin="MA"), told={"nationality_documents": papers}).origin == "MA"


def test_each_relative_has_a_word_and_a_part_of_their_own() -> None:
    family = {
        "relatives": [
            {"relation": "mother", "consent": "refused"},
            {"relation": "father", "suspected": True},
            {"relation": "sibling", "consent": "given"},
        ]
    }
    found = person(
        Safeguards(relatives_must_not_know=("spouse",)), told={"family_dependants": family}
    )
    assert found.relatives_refuse == {"mother"}
    assert found.relatives_suspected == {"father"}
    assert found.relatives_must_not_know == {"spouse"}
    later = Safeguards(relatives={"mother": "given"})
    assert person(later, told={"family_dependants": family}).relatives_refuse == frozenset()


SAID = date(2026, 9, 1)


@pytest.mark.parametrize(
    ("known", "due"),
    [
        (Safeguards(), False),
        (Safeguards(recovery_until=TODAY), False),
        (Safeguards(recovery_until=date(2026, 11, 21)), True),
        (Safeguards(recovery_until=date(2026, 8, 31)), False),  # it was over when it was said
        (Safeguards(protection_claim=True), False),
        (Safeguards(presumed_child=True, born="2008-11-22"), True),
        (Safeguards(presumed_child=True, born="2008-11-23"), False),
        (Safeguards(presumed_child=False, born="2008-11-22"), False),
        (Safeguards(guardian_until=date(2026, 11, 1)), True),
    ],
)
def test_what_has_ended_since_it_was_said_is_looked_at_again(known: Safeguards, due: bool) -> None:
    assert review_due(known, said_on=SAID, today=TODAY, country="IT") is due


def test_a_claim_is_asked_after_each_quarter() -> None:
    claim = Safeguards(protection_claim=True)
    last = SAID + CLAIM_REVIEW
    assert not review_due(claim, said_on=SAID, today=last, country="IT")
    assert review_due(claim, said_on=SAID, today=last + timedelta(days=1), country="IT")


def test_a_joint_assessment_holds_until_the_earlier_of_what_we_say_and_they_signed() -> None:
    theirs = [told_by({}, assessed_until="2026-12-20"), told_by({}, assessed_until="2026-12-01")]

    def until(*ours: Safeguards) -> date | None:
        return person_of(
            ours, theirs, exclusions=Exclusions(), country="IT", today=TODAY
        ).assessed_until

    assert until() == date(2026, 12, 20)
    assert until(Safeguards(assessed_until=date(2026, 12, 10))) == date(2026, 12, 10)
    assert until(Safeguards(assessed_until=date(2027, 1, 1))) == date(2026, 12, 20)
