"""Bodies between focal points: what can you do, whom do I reach. No person is spoken of."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from schemas.base import Instant, ProtectedModel, ShortText
from schemas.bodies.common import Body, Code, Note, Service, Urgency
from schemas.codes import EXCHANGE
from schemas.sections.fields import Country, Language, Phone


class Capacity(ProtectedModel):
    """Room for one service: a class, never a count of beds."""

    service: Service
    capacity: Annotated[str, *Code(EXCHANGE, "accept_capacity")]


class Announce(Body):
    """What changes daily about a focal point. It goes stale by itself."""

    services: Annotated[tuple[Capacity, ...], Field(max_length=32)] = ()
    languages: Annotated[tuple[Language, ...], Field(max_length=40)] = ()
    hours: ShortText
    deputy_role: ShortText | None = None
    emergency_telephone: Phone
    local_police_liaison: Phone | None = None
    """The liaison at local level: the national one may be the danger."""
    child_protection_authority: ShortText | None = None
    confirm_again_by: date


class CapacityQuery(Body):
    """Could you take *a* case of this kind? Bands only, nobody is described."""

    urgency: Urgency = Urgency.NORMAL
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=16)]
    age: Annotated[str, *Code(EXCHANGE, "age_band")] = "unknown"
    sex: Annotated[str, *Code(EXCHANGE, "sex_band")] = "unknown"
    with_children: bool = False
    language: Language | None = None
    country: Country | None = None


class CapacityReply(Body):
    """Whether, and from when."""

    capacity: Annotated[str, *Code(EXCHANGE, "accept_capacity")]
    from_day: date | None = None
    valid_until: Instant | None = None
    note: Note | None = None
