"""What is inside the seal: the message itself.

The casework part always holds the type, the typed body, the business id, the grant key and the
table of scopes; each section lies in the part of its compartment. The hub may not import this.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from schemas.base import B64Bytes, FreeText, Instant, ProtectedModel, Scope, ShortText
from schemas.consent import Purpose

SectionId = Annotated[str, Field(pattern=r"^[a-z][a-z_]{2,39}$")]
TypeName = Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z_]+){1,2}$")]
CaseRef = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")]
"""A case number of a case system. Never built from a name or a birth date."""


MAX_NOT_TO = 64
NotTo = Annotated[
    str,
    Field(
        pattern=r"^([a-z]{2,3}\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|[a-z-]{1,40}:[A-Z]{2}"
        r"|relative:[a-z_]{1,40})$"
    ),
]
"""Whom a person wants nothing to reach: `al.police-2`, `authorities:AL`, `police:AL`, `relative:father`."""


def _objects(sections: Any) -> Any:
    # Looked at before each by itself: where it failed would be a name that the sender chose.
    if isinstance(sections, dict) and not all(isinstance(s, dict) for s in sections.values()):
        raise PydanticCustomError("section_type", "each section is an object")
    return sections


EachObject = BeforeValidator(_objects)


class ExceptionUse(ProtectedModel):
    """Why sections travel without protection consent: never a tick, always two people."""

    code: Annotated[
        str,
        Field(
            pattern=r"^(vital_interest_life|child_best_interest|missing_child"
            r"|legal_obligation|staff_safety|anonymous_statistics)$"
        ),
    ]
    law: ShortText | None = None
    """For `legal_obligation`: which."""
    reason: FreeText
    decided_by: ShortText
    """Role and number of the worker who decided; not a name."""
    approved_by: ShortText
    """A different worker."""
    decided_at: Instant
    review_by: Instant
    tell_person_by: Instant | None = None
    """By when the person is told; None only where nobody is identified."""


class ScopeEntry(ProtectedModel):
    """Opens one blinded scope of the header: which section, for which purpose, on which bases."""

    scope: Scope | None
    """None only when an exception takes the place of consent."""
    section: SectionId
    purpose: Purpose
    processing_basis: Annotated[str, Field(pattern=r"^(eu-gdpr:A[69][0-9A-Za-z-]*|national-law)$")]
    transfer_basis: Annotated[
        str, Field(pattern=r"^(eu-gdpr:A4[569][0-9A-Za-z-]*|none-needed|national-law)$")
    ]


class AttachmentKey(ProtectedModel):
    """What the recipient needs to open one attachment."""

    digest: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    key: B64Bytes
    size: Annotated[int, Field(ge=0)]
    """Of the content, in bytes, before padding and sealing."""
    name: ShortText
    media_type: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]{1,80}$")]
    section: SectionId


class CaseworkPart(ProtectedModel):
    """The content of the casework compartment's part."""

    type: TypeName
    type_version: Annotated[int, Field(ge=1, le=1)] = 1
    business_id: UUID
    """Names the thing, not the message: filing in a case system is idempotent on it."""
    case_ref: CaseRef
    """The sender's case number."""
    recipient_case_ref: CaseRef | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{3}$")] = "eng"
    body: dict[str, Any]
    """Validated by the body model of the type; see `schemas.catalogue`."""
    grant_key: B64Bytes | None
    scopes: tuple[ScopeEntry, ...] = ()
    exception: ExceptionUse | None = None
    sections: Annotated[dict[SectionId, dict[str, Any]], EachObject] = Field(default_factory=dict)
    attachments: tuple[AttachmentKey, ...] = ()
    derived_from: UUID | None = None
    """The business id of the referral that this one passes on."""
    not_to: Annotated[tuple[NotTo, ...], Field(max_length=MAX_NOT_TO)] | None = None
    """Whom she wants nothing about her to reach, from whoever has this: the whole list as it is now,
    instead of any earlier one. None says nothing about it."""


class CompartmentPart(ProtectedModel):
    """The content of any other compartment's part. Empty ones are sent too, padded alike."""

    sections: Annotated[dict[SectionId, dict[str, Any]], EachObject] = Field(default_factory=dict)
    attachments: tuple[AttachmentKey, ...] = ()


class Message(ProtectedModel):
    """A whole message as the gateway's code works with it: what was sealed, joined together."""

    type: TypeName
    business_id: UUID
    case_ref: CaseRef
    recipient_case_ref: CaseRef | None = None
    language: str = "eng"
    body: dict[str, Any]
    sections: Annotated[dict[SectionId, dict[str, Any]], EachObject] = Field(default_factory=dict)
    scopes: tuple[ScopeEntry, ...] = ()
    exception: ExceptionUse | None = None
    attachments: tuple[AttachmentKey, ...] = ()
    grant_key: B64Bytes | None = None
    derived_from: UUID | None = None
    not_to: tuple[NotTo, ...] | None = None
