"""What the mechanism's table asks of each message is required, expected, or said in its body."""

from __future__ import annotations

import pytest

from schemas.catalogue import catalogue
from schemas.families.expected import EXPECTED, expected_sections


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_is_expected_is_permitted_and_not_required(name: str) -> None:
    row = catalogue[name]

    assert expected_sections(row)
    assert all(row.permits(section) for section in expected_sections(row))
    assert not expected_sections(row) & row.required_sections


def test_a_full_referral_is_what_the_table_says_and_each_part_is_hers_to_give() -> None:
    row = catalogue["referral.request"]

    assert row.required_sections == {"case_admin"}
    assert expected_sections(row) == {
        "identity_core",
        "demographics_language",
        "services_support",
        "risk_security",
        "identification_status",
    }
