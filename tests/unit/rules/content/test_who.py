"""Who may say it and to whom: exclusions, the country that she fled, health, hubs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.rules.content import (
    decide,
    is_exclusion,
)
from schemas.consent import Purpose
from schemas.directory import Compartment, OrganisationKind
from schemas.errors import PolicyRefused
from tests.support.questions import (
    a_grant,
    a_message,
    a_use,
    an_agreement,
    an_alert,
    entry,
    participant,
    question,
    refused,
)


def test_a_recipient_on_the_persons_exclusion_list_is_blocked_without_saying_why() -> None:
    error = decide(question(exclusions=frozenset({"al.nrm"}))).error()
    assert type(error) is PolicyRefused
    assert error.where == ()
    assert "exclu" not in str(error).lower()


def test_not_even_an_alert_goes_to_an_excluded_recipient() -> None:
    assert refused(an_alert(a_use(), exclusions=frozenset({"al.nrm"}))) == ("policy",)


def test_authorities_of_the_country_of_origin_get_nothing_while_a_claim_is_open() -> None:
    asked = question(protection_claim=True, origin="AL")
    error = decide(asked).error()
    assert (type(error), error.where) == (PolicyRefused, ())
    assert "asylum" not in str(error).lower()
    assert refused(question(protection_claim=True, origin="NG")) == ()


def test_health_data_goes_only_where_health_has_a_key_of_its_own() -> None:
    message = a_message(
        sections={"case_admin": {}, "health_general": {}},
        scopes=(entry("case_admin"), entry("health_general")),
    )
    grant = a_grant(
        scopes=frozenset(
            {(Purpose.PROTECTION, "case_admin"), (Purpose.PROTECTION, "health_general")}
        )
    )
    asked = question(message=message, grant=grant, agreement=an_agreement(sections=("*",)))
    assert refused(asked) == ("policy",)
    clinic = participant("al.nrm", compartments=(Compartment.CASEWORK, Compartment.HEALTH))
    assert refused(replace(asked, recipient=clinic)) == ()


def test_a_hub_sends_nothing() -> None:
    hub = participant("it.nrm", OrganisationKind.HUB)
    assert "forbidden" in refused(question(sender=hub))


def test_a_withdrawal_reaches_whom_nothing_else_may_reach() -> None:
    bare = a_message("consent.withdraw", sections={}, scopes=())
    for person in ({"exclusions": ["al.nrm"]}, {"protection_claim": True, "origin": "AL"}):
        assert decide(question("consent.withdraw", message=bare, grant=None, **person)).allowed


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        ("authorities:AL", True),
        ("police:AL", True),
        ("guardian-authority:MD", True),
        ("relative:aunt_or_uncle", True),
        ("authorities:al", False),
        ("authorities:", False),
        ("neighbours:AL", False),
        ("al.police", False),
        ("", False),
    ],
)
def test_an_exclusion_is_a_participant_or_one_of_these_words(words: str, understood: bool) -> None:
    assert is_exclusion(words) is understood
