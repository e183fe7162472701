"""Corridors promise: terms that the catalogue knows, on a basis that the law opens."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from adapters.corridors import TO_BE_NAMED, corridors, draft
from adapters.countries import countries_here
from broker.rules.content.bases import transfer_is_lawful
from broker.rules.countries import has_own_law
from schemas.agreement import Agreement
from schemas.catalogue import catalogue
from schemas.directory import Participant
from schemas.errors import NotFound, SchemaRefused
from schemas.sections.index import SECTION_INDEX
from tests.support.parties import NOW, make_party


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


def _pairs() -> list[tuple[str, str, str]]:
    """Every pair of countries of every corridor; any country is each one that has a folder."""
    everywhere = [code.upper() for code in countries_here()]
    return [
        (name, f"{one.lower()}.nrm", f"{other.lower()}.nrm")
        for name, corridor in corridors().items()
        for one in corridor.origins or everywhere
        for other in corridor.to or everywhere
        if one != other
    ]


def test_every_pair_of_every_corridor_has_terms_on_a_basis_that_is_lawful() -> None:
    """What a corridor proposes, the content rules let through, in both directions."""
    for name, sender, recipient in _pairs():
        terms = drafted(name, sender, recipient)
        parties = {party: _state(party) for party in terms.parties}
        for basis in terms.transfer:
            (other,) = set(terms.parties) - {basis.sender}
            lawful = transfer_is_lawful(
                basis.basis, parties[basis.sender], parties[other], on=terms.valid_from
            )
            assert lawful, (name, basis.sender, other, basis.basis)
            if basis.basis == "national-law":
                known = has_own_law(basis.sender[:2].upper())
                assert known == (basis.reference is None), (name, basis.sender)


def _state(participant: str) -> Participant:
    entry = make_party("it.nrm").entry
    return entry.model_copy(update={"id": participant, "country": participant[:2].upper()})


def test_where_no_act_is_known_the_parties_must_name_what_they_rest_on() -> None:
    assert drafted("compass", "it.nrm", "ly.nrm").transfer[1].reference == TO_BE_NAMED


def test_a_corridor_joins_its_own_countries_and_care_any() -> None:
    assert drafted("care", "pt.nrm", "br.nrm").parties == ("pt.nrm", "br.nrm")
    with pytest.raises(SchemaRefused):
        drafted("tact", "at.nrm", "al.nrm")
    with pytest.raises(NotFound):
        drafted("silk-road", "it.nrm", "al.nrm")
