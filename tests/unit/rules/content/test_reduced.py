"""What a section leaves of itself where no more is needed; what is left is what the rules let pass."""

from __future__ import annotations

from typing import Any

import pytest

from broker.rules.content import fitting
from schemas.catalogue import catalogue
from schemas.consent import Purpose
from schemas.sections import section_content, validate_section

HEALTH = {"fit_to_travel": "fit", "chronic_conditions": ["Invented"]}
MONEY = {"payout": {"kind": "bank"}, "wages_unpaid": True}


@pytest.mark.parametrize(
    ("name", "section", "content", "purpose", "left"),
    [
        ("return.plan.propose", "health_general", HEALTH, Purpose.RETURN_PLANNING, "fit_to_travel"),
        ("referral.request", "health_general", HEALTH, Purpose.PROTECTION, None),
        ("referral.request", "compensation_finance", MONEY, Purpose.PROTECTION, "wages_unpaid"),
        ("compensation.claim", "compensation_finance", MONEY, Purpose.COMPENSATION, None),
    ],
)
def test_a_section_travels_in_the_form_that_the_type_and_the_purpose_need(
    name: str, section: str, content: dict[str, Any], purpose: Purpose, left: str | None
) -> None:
    found = fitting(content, section=section, row=catalogue[name], purpose=purpose, exception=None)

    assert found == (content if left is None else {left: content[left]})


def test_what_is_left_is_content_of_the_same_section() -> None:
    row = catalogue["return.plan.propose"]
    found = fitting(
        HEALTH,
        section="health_general",
        row=row,
        purpose=Purpose.RETURN_PLANNING,
        exception=None,
    )

    assert section_content(validate_section("health_general", found)) == found
