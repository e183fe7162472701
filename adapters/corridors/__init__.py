"""Corridors that exist, as terms to start an agreement from: `draft`.

A draft names who, what, why and on which basis each side may send. It is neither signed nor in
force, and where the law leaves a choice it takes the one that two public bodies usually make.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from uuid import UUID

from pydantic import Field

from adapters.countries import country_law
from schemas.agreement import Agreement, TransferBasis
from schemas.base import ParticipantId, ShortText, WireModel
from schemas.consent import Purpose
from schemas.envelope import Lane
from schemas.errors import NotFound, SchemaRefused
from schemas.sections.fields import Country

TO_BE_NAMED = "to be named before signing: the act that the sender rests on"


class Corridor(WireModel):
    """One corridor: from where to where, and what it was for."""

    title: ShortText
    origins: tuple[Country, ...] = Field(alias="from")
    """Countries of destination, which send; empty is any."""
    to: tuple[Country, ...]
    """Countries of origin; empty is any."""
    types: tuple[str, ...] = Field(min_length=1)
    purposes: tuple[Purpose, ...] = Field(min_length=1)
    sections: tuple[str, ...] = Field(min_length=1)

    def joins(self, one: str, other: str) -> bool:
        """True if the corridor runs from the first country to the second."""
        return (not self.origins or one in self.origins) and (not self.to or other in self.to)


@cache
def corridors() -> Mapping[str, Corridor]:
    """Every corridor by name."""
    text = (files("adapters.corridors") / "corridors.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return MappingProxyType(
        {name: Corridor.model_validate(table, strict=False) for name, table in tables.items()}
    )


def draft(
    name: str,
    sender: ParticipantId,
    recipient: ParticipantId,
    *,
    agreement: UUID,
    valid_from: date,
    valid_until: date,
    now: datetime,
) -> Agreement:
    """Terms for two participants of one corridor, for both to read, change and sign.

    Raises:
        NotFound: No such corridor.
        SchemaRefused: It does not run between their countries.
    """
    corridor = corridors().get(name)
    if corridor is None:
        raise NotFound("no such corridor; there are " + ", ".join(corridors()))
    one, other = (party.split(".")[0].upper() for party in (sender, recipient))
    if not corridor.joins(one, other):
        raise SchemaRefused("the corridor does not run between these countries")
    return Agreement(
        id=agreement,
        title=corridor.title,
        parties=(sender, recipient),
        valid_from=valid_from,
        valid_until=valid_until,
        lanes=(Lane.URGENT, Lane.ROUTINE),
        types=corridor.types,
        sections=corridor.sections,
        purposes=corridor.purposes,
        transfer=(
            usual_basis(sender, recipient, valid_from),
            usual_basis(recipient, sender, valid_from),
        ),
        signed_on=now,
    )


def usual_basis(sender: ParticipantId, recipient: ParticipantId, on: date) -> TransferBasis:
    """The transfer basis on which one public body usually sends to another on that day."""
    one, other = (party.partition(".")[0].upper() for party in (sender, recipient))
    here, there = country_law(one), country_law(other)
    if one == other or (here.under_gdpr() and there.under_gdpr()):
        return TransferBasis(sender=sender, basis="none-needed")
    if here.under_gdpr():
        adequate = there.adequate_on(on)
        return TransferBasis(
            sender=sender, basis="eu-gdpr:A45-3" if adequate else "eu-gdpr:A46-3-b"
        )
    return TransferBasis(
        sender=sender,
        basis="national-law",
        reference=None if here.has_own_law() else TO_BE_NAMED,
    )
