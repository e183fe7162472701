"""Bodies of information on request: asked for by section, given in part, withheld with a code.

A refusal must not tell whether the person is known. `cannot_say` is the code for that, and it is as
right for a person who does not exist as for one who said no.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import ProtectedModel
from schemas.bodies.common import Body, Code, Note, Urgency
from schemas.codes import EXCHANGE
from schemas.consent import Purpose
from schemas.message import SectionId
from schemas.sections.index import SECTION_INDEX

Conditions = Annotated[
    tuple[Annotated[str, *Code(EXCHANGE, "use_condition")], ...], Field(min_length=1, max_length=6)
]


class InfoRequest(Body):
    """Asks for named sections, and says why and on which ground."""

    urgency: Urgency = Urgency.NORMAL
    about: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "information")], ...],
        Field(min_length=1, max_length=8),
    ]
    sections: Annotated[tuple[SectionId, ...], Field(min_length=1, max_length=28)]
    purpose: Purpose
    ground: Annotated[str, *Code(EXCHANGE, "legal_ground")]
    question: Note | None = None

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        unknown = [name for name in self.sections if name not in SECTION_INDEX]
        return ("body.sections: unknown_code",) if unknown else ()


class Withheld(ProtectedModel):
    """One section that is not given."""

    section: SectionId
    reason: Annotated[str, *Code(EXCHANGE, "withheld_reason")]


class InfoReply(Body):
    """All that was asked for, or a part; each section that is withheld says why."""

    withheld: Annotated[tuple[Withheld, ...], Field(max_length=28)] = ()
    conditions: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "use_condition")], ...], Field(max_length=6)
    ] = ()
    note: Note | None = None

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        both = sorted(sections & {item.section for item in self.withheld} & SECTION_INDEX.keys())
        return tuple(f"sections.{name}: withheld-and-given" for name in both)


class InfoRefusal(Body):
    """Nothing is given. What only delays it is said too (CETS 197, Art 34(1))."""

    reason: Annotated[str, *Code(EXCHANGE, "info_refusal")]
    delayed: bool = False
    """True if it may be asked again later."""


class InfoConditions(Body):
    """Under these conditions it would be given (CETS 197, Art 34(3))."""

    conditions: Conditions
    note: Note | None = None


class ConditionsAccepted(Body):
    """Bound by them."""

    conditions: Conditions


class ConditionsRejected(Body):
    """Cannot be bound by these; whether it is still given is the other side's choice."""

    conditions: Conditions


class Spontaneous(Body):
    """Useful to the other side, and not asked for (CETS 197, Art 34(2))."""

    about: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "information")], ...],
        Field(min_length=1, max_length=8),
    ]
    conditions: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "use_condition")], ...], Field(max_length=6)
    ] = ()
