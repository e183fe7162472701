"""Bodies of the case transfer: case management changes hands, and both sides sign for it."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from schemas.base import Digest, ProtectedModel, ShortText
from schemas.bodies.common import Body, Code, Note, Period, Reasoned, ReasonedDecline, Urgency
from schemas.codes import EXCHANGE
from schemas.sections.index import SECTION_INDEX

ManifestName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Offer(Body):
    """Offers the case. Responsibility stays with the sender until both have signed `complete`."""

    urgency: Urgency = Urgency.NORMAL
    effective_date: date
    dual_management: Period | None = None
    """Days in which both work on the case by agreement."""
    new_worker_known: bool
    """True if the person knows who will work with her."""
    risk_valid_until: date | None = None
    """Last day on which the joint assessment of risk holds, unless it travels as a section. With no
    day at all the content rules refuse."""
    note: Note | None = None


class Accept(Body):
    """Takes the offer. Not yet the case: that is `complete`."""

    worker_role: ShortText
    effective_date: date | None = None
    """Another date than offered, if the recipient needs one."""
    dual_management: Period | None = None
    conditions: Note | None = None


class Pull(Body):
    """The person is here now and asks for her file."""

    urgency: Urgency = Urgency.NORMAL
    person_asked: Literal[True]
    asked_on: date
    match_confirmed_twice: Literal[True]
    """Two workers compared her with the record that is asked for: the first match is not enough."""


class AcceptConditional(Accept):
    """Takes the offer if this is so; to send the file is to agree."""

    needs: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "transfer_condition")], ...],
        Field(min_length=1, max_length=6),
    ]


class Decline(ReasonedDecline):
    """Does not take the case. Needs no consent and no sections."""


class ManifestKind(StrEnum):
    """What one line of a manifest names."""

    SECTION = "section"
    ATTACHMENT = "attachment"


class ManifestItem(ProtectedModel):
    """One thing that belongs to the file."""

    kind: ManifestKind
    name: ManifestName
    """Section id, or the sender's label of the attachment."""
    part: Annotated[int, Field(ge=1, le=99)] = 1
    """The message in which it travels."""
    digest: Digest | None = None
    """Of an attachment, as sealed."""


class Casefile(Body):
    """The complete case report, in one or more messages; each carries the whole manifest."""

    part: Annotated[int, Field(ge=1, le=99)] = 1
    parts: Annotated[int, Field(ge=1, le=99)] = 1
    manifest: Annotated[tuple[ManifestItem, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _part_exists(self) -> Casefile:
        if self.part > self.parts or any(item.part > self.parts for item in self.manifest):
            raise ValueError("a part beyond the last")
        if len({(item.kind, item.name) for item in self.manifest}) != len(self.manifest):
            raise ValueError("the manifest names a thing twice")
        return self

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        named = self.sections_of_this_part()
        return (
            *(f"sections.{_shown(name)}: missing" for name in sorted(named - sections)),
            *(f"sections.{_shown(name)}: not-in-manifest" for name in sorted(sections - named)),
        )

    def sections_of_this_part(self) -> frozenset[str]:
        """The section ids that this message must carry, no more and no fewer."""
        return frozenset(
            item.name
            for item in self.manifest
            if item.kind is ManifestKind.SECTION and item.part == self.part
        )


def _shown(section: str) -> str:
    return section if section in SECTION_INDEX else "?"


class FileCheck(StrEnum):
    """What the recipient found."""

    COMPLETE = "complete"
    MISSING = "missing"


class CasefileAck(Body):
    """The file compared with its manifest."""

    outcome: FileCheck
    missing: Annotated[tuple[ManifestName, ...], Field(max_length=256)] = ()

    @model_validator(mode="after")
    def _missing_is_named(self) -> CasefileAck:
        if (self.outcome is FileCheck.MISSING) != bool(self.missing):
            raise ValueError("name what is missing, and only then")
        return self

    def event(self) -> str | None:
        return "casefile_missing" if self.outcome is FileCheck.MISSING else None


class Complete(Body):
    """One party's signature under the handover: the sender's first, the recipient's after it."""

    met_person: Literal[True]
    """The person has met the new worker; without this there is no handover."""
    met_on: date
    worker_role: ShortText
    countersigns: UUID | None = None
    """For the recipient: the business id of the sender's `transfer.complete`."""

    def attests(self) -> frozenset[str]:
        return frozenset({"met_person"})


class RevokeReason(StrEnum):
    """Why the sender keeps the case after all."""

    PERSON_ASKED = "person_asked"
    UNSAFE = "unsafe"
    SENT_IN_ERROR = "sent_in_error"
    NO_LONGER_NEEDED = "no_longer_needed"
    OTHER = "other"


class Revoke(Reasoned):
    """Takes the offer back; possible until the sender has signed `complete`."""

    reason: RevokeReason


class ReturnBack(Reasoned):
    """Cannot go on. Until another has signed for the case, whoever has it keeps it."""

    reason: Annotated[str, *Code(EXCHANGE, "give_back")]
    last_day: date


class ExitHandover(Body):
    """The case goes to services inside the country of origin, little by little; the other side knows."""

    to: Annotated[str, *Code(EXCHANGE, "exit_to")]
    first_day: date
    last_day: date | None = None
    monitoring_goes_on: bool
