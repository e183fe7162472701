"""Bodies of the person's rights: her copy, corrections, erasure, a stop, a complaint."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.base import Instant, ParticipantId, ProtectedModel
from schemas.bodies.common import Body, Code, Note
from schemas.bodies.consent import MAX_ONWARD, Onward
from schemas.codes import EXCHANGE
from schemas.consent import Purpose
from schemas.evidence import KEPT_BASIS, Erasure, StoreErasure
from schemas.message import SectionId

SectionIds = Annotated[tuple[SectionId, ...], Field(max_length=28)]


class AccessRequest(Body):
    """She asks for her data (GDPR Art 15). Identity is proved safely, and nothing of it is kept."""

    identity_proved: Literal[True]
    delivery: Annotated[str, *Code(EXCHANGE, "access_delivery")]


class AccessReply(Body):
    """Her data are in the sections; what is others' is left out and said to be."""

    third_parties_redacted: bool
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=13)] = ()
    withheld: SectionIds = ()
    more_follow: bool = False
    """Sections under another consent follow; what is withheld is said in the last message."""

    def event(self) -> str | None:
        return "contribute" if self.more_follow else None


class Disclosure(ProtectedModel):
    """One time that something of hers went somewhere."""

    recipient: ParticipantId
    sections: SectionIds
    purpose: Purpose | None
    on: date
    basis: Annotated[str, Field(pattern=r"^[a-zA-Z0-9:._-]{1,60}$")]


class DisclosureList(Body):
    """Who received what, when, on which basis."""

    disclosures: Annotated[tuple[Disclosure, ...], Field(max_length=512)]
    complete: bool


class Rectify(Body):
    """A correction for everyone who has it (GDPR Art 19); the sections hold the right version."""

    corrects: UUID
    """Business id of what was wrong."""
    sections: SectionIds = ()

    def supersedes(self) -> UUID | None:
        return self.corrects

    @property
    def in_part(self) -> bool:
        return True


class Erase(Body):
    """Erase, and say what is kept and why (GDPR Art 17)."""

    ground: Annotated[str, *Code(EXCHANGE, "erase_ground")]
    about: UUID | None = None
    """Business id of the one message; all that is held of the case, if none is named."""
    sections: SectionIds = ()


class RightDone(Body):
    """What was done, store by store where there is more than one."""

    outcome: Annotated[str, *Code(EXCHANGE, "right_outcome")]
    done_at: Instant
    stores: Annotated[tuple[StoreErasure, ...], Field(max_length=16)] = ()
    basis: Annotated[str, Field(pattern=KEPT_BASIS)] | None = None
    """Of what is kept."""
    onward: Annotated[tuple[Onward, ...], Field(max_length=MAX_ONWARD)] = ()
    """Whom it was passed on to, and what each of them has attested so far."""

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        based = self.basis is not None or any(store.basis for store in self.stores)
        unknown = any(store.outcome is Erasure.UNKNOWN for store in self.stores)
        missing = self.outcome == "kept" or (self.outcome == "partly" and not unknown)
        return ("body.basis: missing",) if missing and not based else ()


class Restrict(Body):
    """Freeze its use (GDPR Art 18)."""

    ground: Annotated[str, *Code(EXCHANGE, "restrict_ground")]
    about: UUID | None = None
    sections: SectionIds = ()


class RestrictLift(Body):
    """It may be used again."""

    about: UUID | None = None
    sections: SectionIds = ()


class Exclude(Body):
    """Whom she wants nothing about her to reach: the list itself is `not_to`, in the sealed part, as in
    every message that brings something of hers."""


class Complaint(Body):
    """A complaint, also hers, to the other focal point or its oversight."""

    about: Annotated[str, *Code(EXCHANGE, "complaint_about")]
    by_person: bool
    words: Note | None = None


class ComplaintReply(Body):
    """What came of it, and where to go next."""

    result: Annotated[str, *Code(EXCHANGE, "complaint_result")]
    words: Note | None = None
