"""Corridors promise: terms that the catalogue knows, on a basis that the law opens."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from adapters.corridors import TO_BE_NAMED, corridors, draft
from adapters.countries import countries_here
from schemas.agreement import Agreement
from schemas.catalogue import catalogue
from schemas.errors import NotFound, SchemaRefused
from schemas.sections.index import SECTION_INDEX
from tests.support.parties import NOW


def drafted(name: str, sender: str, recipient: str) -> Agreement:
    terms: dict[str, Any] = {
        "agreement": UUID(int=5),
        "valid_from": date(2026, 12, 1),
        "valid_until": date(2027, 12, 1),
        "now": NOW,
    }
    return draft(name, sender, recipient, **terms)


@pytest.mark.parametrize("name", corridors())
def test_a_corridor_speaks_the_language_of_the_mechanism(name: str) -> None:
    corridor = corridors()[name]
    assert {c.lower() for c in (*corridor.origins, *corridor.to)} <= set(countries_here())
    assert {*corridor.sections} - {"*"} <= SECTION_INDEX.keys()
    families = {row.family for row in catalogue.values()}
    assert {text.removesuffix(".*") for text in corridor.types} - {"*"} <= families


@pytest.mark.parametrize(
    ("name", "sender", "recipient", "there", "back"),
    [
        ("tact", "it.nrm", "al.nrm", "eu-gdpr:A46-3-b", "national-law"),
        ("care", "at.nrm", "gb.nrm", "eu-gdpr:A45-3", "national-law"),
        ("ravot-eur", "be.nrm", "hu.nrm", "none-needed", "none-needed"),
        ("mekong", "th.nrm", "la.nrm", "national-law", "national-law"),
    ],
)
def test_each_side_sends_on_a_basis_of_its_own_law(
    name: str, sender: str, recipient: str, there: str, back: str
) -> None:
    found = drafted(name, sender, recipient)
    assert [item.basis for item in found.transfer] == [there, back]
    assert Agreement.from_json(found.to_json()) == found


def test_where_no_act_is_known_the_parties_must_name_what_they_rest_on() -> None:
    assert drafted("compass", "it.nrm", "ly.nrm").transfer[1].reference == TO_BE_NAMED


def test_a_corridor_joins_its_own_countries_and_care_any() -> None:
    assert drafted("care", "pt.nrm", "br.nrm").parties == ("pt.nrm", "br.nrm")
    with pytest.raises(SchemaRefused):
        drafted("tact", "at.nrm", "al.nrm")
    with pytest.raises(NotFound):
        drafted("silk-road", "it.nrm", "al.nrm")
