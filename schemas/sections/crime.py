"""Where it happened and who did it (RTE, PER): third parties, kept apart from the experience."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER, HTCDS
from schemas.sections.fields import (
    Column,
    Country,
    FreeText,
    Latitude,
    Longitude,
    PartialDate,
    ShortText,
    Subdivision,
    Texts,
    no_repeats,
    one_of,
)


class RouteEvent(ProtectedModel):
    """One place at one time: recruited, taken through, exploited.

    In a case file the first event has the columns of the standard; the others travel beside them.
    """

    type: Annotated[Annotated[str, *one_of(HTCDS, "hte_Type")] | None, Column("hte_Type")] = None
    date: Annotated[PartialDate | None, Column("hte_Date")] = None
    country: Annotated[Country | None, Column("hte_Country")] = None
    subdivision: Subdivision | None = None
    """Where a part of a country matters, as `CN-YN`."""
    state: Annotated[ShortText | None, Column("hte_State")] = None
    city: Annotated[ShortText | None, Column("hte_City")] = None
    street: Annotated[ShortText | None, Column("hte_Street")] = None
    postal_code: Annotated[ShortText | None, Column("hte_PostalCode")] = None
    longitude: Annotated[Longitude | None, Column("hte_Longitude")] = None
    latitude: Annotated[Latitude | None, Column("hte_Latitude")] = None
    description: Annotated[FreeText | None, Column("hte_Description")] = None
    position: Annotated[int, Field(ge=1, le=99)] | None = None
    """Its place in the order of the route, from 1."""
    transport: Annotated[str, *one_of(BROKER, "transport")] | None = None
    """How the person was brought there."""


class TraffickingRoute(ProtectedModel):
    """The way and the places of the crime. Its view `country-level` is enough for most purposes.

    HTCDS looks both places up among organisations: they name third parties.
    """

    location_of_recruitment: Annotated[ShortText | None, Column("vic_LocationOfRecruitment")] = None
    location_of_exploitation: Annotated[ShortText | None, Column("vic_LocationOfExploitation")] = (
        None
    )
    events: Annotated[tuple[RouteEvent, ...], Field(max_length=40)] = ()
    transit_countries: Annotated[
        tuple[Country, ...], AfterValidator(no_repeats), Field(max_length=20)
    ] = ()
    border_points: Texts = ()


class SuspectedPerson(ProtectedModel):
    """One person held to be involved. Suspected is not convicted; verdicts are in JUS."""

    roles: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "per_RoleInProcess")], ...],
            AfterValidator(no_repeats),
        ],
        Column("per_RoleInProcess"),
    ] = ()
    role_details: Annotated[FreeText | None, Column("per_RoleDetails")] = None
    organisation: Annotated[ShortText | None, Column("per_Organisation")] = None
    """HTCDS gives it no type; text here."""
    name: ShortText | None = None
    aliases: Texts = ()
    citizenship: Annotated[
        tuple[Country, ...], AfterValidator(no_repeats), Field(max_length=8)
    ] = ()
    ties_to_origin: FreeText | None = None
    ties_to_family: FreeText | None = None
    threat_made: FreeText | None = None


class Perpetrator(ProtectedModel):
    """Who is suspected. To law enforcement and risk assessors alone; never to a service."""

    relationship_to_trafficker: Annotated[
        Annotated[str, *one_of(HTCDS, "vic_RelationshipToTrafficker")] | None,
        Column("vic_RelationshipToTrafficker"),
    ] = None
    persons: Annotated[tuple[SuspectedPerson, ...], Field(max_length=20)] = ()
    use_restrictions: FreeText | None = None
    """What the recipient may use this for (Palermo Protocol, Art 10(3))."""
