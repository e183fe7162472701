"""What a worker hands in: a message, a consent, an exception, before anything was decided."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, field_validator

from schemas.base import Instant, ParticipantId, ProtectedModel, ShortText
from schemas.bodies.common import Urgency
from schemas.consent import USUAL_WITHDRAWAL, GuardianDecision, Purpose, ScopeGrant
from schemas.message import CaseRef, SectionId, TypeName


class AttachmentDraft(ProtectedModel):
    """A file to send: what `POST /v1/attachments` answered, or a path on this machine."""

    path: str
    name: ShortText
    media_type: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]{1,80}$")]
    section: SectionId


class MessageDraft(ProtectedModel):
    """A message as a worker wrote it."""

    type: TypeName
    to: ParticipantId
    case_ref: CaseRef
    grant: UUID | None = None
    purpose: Purpose | None = None
    sections: dict[SectionId, dict[str, Any]] = Field(default_factory=dict)
    body: dict[str, Any] = Field(default_factory=dict)
    in_reply_to: UUID | None = None
    thread: UUID | None = None
    urgency: Urgency | None = None
    attachments: tuple[AttachmentDraft, ...] = ()
    derived_from: UUID | None = None
    """Business id of the referral that this one passes on."""
    replaces: UUID | None = None
    """A message of ours that never arrived, as one sealed to a key that was lost: this one says the
    same, sealed anew, under its business id."""
    recipient_case_ref: CaseRef | None = None
    business_id: UUID | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{3}$")] = "eng"
    dry_run: bool = False

    @field_validator("urgency", mode="before")
    @classmethod
    def _lane_words(cls, value: object) -> object:
        # `routine` is the lane's word for what the form calls normal.
        return "normal" if value == "routine" else value


class ConsentDraft(ProtectedModel):
    """A consent as a worker recorded it."""

    to: ParticipantId
    case_ref: CaseRef
    scopes: Annotated[tuple[ScopeGrant, ...], Field(min_length=1, max_length=256)]
    principal: Annotated[str, Field(min_length=1, max_length=64)]
    """Pseudonym; never a name."""
    valid_until: date
    language: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    notice: ShortText
    how: Annotated[str, Field(pattern=r"^(read|read-out|pictogram|audio)$")] = "read-out"
    interpreter: bool = False
    presumed_child: bool = False
    guardian: GuardianDecision | None = None
    guardian_until: date | None = None
    """The last day before the person comes of age, by the law of her case's country."""
    derived_from: UUID | None = None
    """The grant under which the data was received."""
    retention_until: date | None = None
    withdrawal_method: ShortText = USUAL_WITHDRAWAL


class RenewalDraft(ProtectedModel):
    """A consent that a person gave again, to the same; what is not said stays as it was."""

    valid_until: date
    language: Annotated[str, Field(pattern=r"^[a-z]{3}$")] | None = None
    notice: ShortText | None = None
    how: Annotated[str, Field(pattern=r"^(read|read-out|pictogram|audio)$")] | None = None
    interpreter: bool | None = None
    guardian: GuardianDecision | None = None
    """Asked again too, where a guardian agreed before."""


class WithdrawalDraft(ProtectedModel):
    """Whole (no scopes) or in part. The person owes nobody a reason."""

    scopes: tuple[ScopeGrant, ...] = ()
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None


class ExceptionDraft(ProtectedModel):
    """A message that is to travel without consent, and why."""

    message: MessageDraft
    code: Annotated[
        str,
        Field(
            pattern=r"^(vital_interest_life|child_best_interest|missing_child"
            r"|legal_obligation|staff_safety|anonymous_statistics)$"
        ),
    ]
    law: ShortText | None = None
    reason: Annotated[str, Field(min_length=1, max_length=20_000)]
    review_by: Instant
    tell_person_by: Instant | None = None
    """By when the person is told; at the latest when it is reviewed."""
