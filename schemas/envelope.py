"""The envelope: what one participant hands to another through a hub that cannot read it.

On the wire an envelope is a flattened JWS (RFC 7515, 7.2.2) whose payload is the JSON of
`Envelope`. The signed bytes are kept as they came and never written again.

Trust has types. `SealedEnvelope` was parsed, no more. `keys.signing.verify_envelope` alone
makes a `VerifiedEnvelope`; the hub's rules and store take nothing less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.base import (
    B64Text,
    Digest,
    Instant,
    KeyId,
    ParticipantId,
    Scope,
    WireModel,
)

ENVELOPE_TYP = "referral-envelope+jws"
WIRE_VERSION = 1
MAX_ENVELOPE_BYTES = 1024 * 1024
"""Of the whole JWS as received."""
MAX_ATTACHMENT_BYTES = 25 * 1024 * 1024
MAX_LIFE_DAYS = 90
"""No envelope lives longer; ids are remembered until `expires_at` plus the clock skew."""
MAX_SKEW_SECONDS = 600
BUCKETS = (4096, 16384, 65536, 262144)
"""Sizes to which the content of a part is padded, in bytes before sealing."""


class Lane(StrEnum):
    """Each participant has one queue per lane; urgent is drained first."""

    URGENT = "urgent"
    ROUTINE = "routine"


class Kind(StrEnum):
    """All that the hub learns about what a message is. The type itself is sealed."""

    REQUEST = "request"
    ANSWER = "answer"
    PROGRESS = "progress"
    NOTICE = "notice"
    WITHDRAWAL = "withdrawal"
    SAFETY = "safety"
    RIGHTS = "rights"
    """Erasure, restriction, exclusion, and what was done about them. It never holds a section."""


NEVER_HELD_BACK = frozenset({Kind.WITHDRAWAL, Kind.SAFETY, Kind.RIGHTS})
"""Kinds that need no live grant, pass expired or suspended agreements, and are not rate-limited."""
BARE = frozenset({Kind.WITHDRAWAL, Kind.RIGHTS})
"""Kinds that carry nothing of a case: no section, no file, no exception."""


class Stream(WireModel):
    """Numbers the envelopes of one (from, to, lane), so that a missing one shows."""

    incarnation: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]
    """Random per gateway database: a restored backup or a clone shows itself."""
    number: Annotated[int, Field(ge=1, le=2**53 - 1)]


class ConsentTag(WireModel):
    """What the hub may know of a consent: whose id, which blinded scopes, until when.

    In a `withdrawal`, `scopes` are those taken back; empty takes back the whole grant.
    """

    grant: UUID
    scopes: Annotated[tuple[Scope, ...], Field(max_length=512)]
    until: date


class Jwe(WireModel):
    """A flattened JWE (RFC 7516, 7.2.2) without `aad`: the reader rebuilds it from the header."""

    protected: B64Text
    encrypted_key: B64Text
    iv: B64Text
    ciphertext: B64Text
    tag: B64Text


class Part(WireModel):
    """One compartment's content, sealed to that compartment's key and padded to a bucket."""

    to_key: KeyId
    jwe: Jwe


class AttachmentRef(WireModel):
    """A file that travels beside the envelope; its key and name are inside a sealed part."""

    scope: Scope | None
    """The blinded (purpose, section) that covers the file; null only under an exception."""
    digest: Digest
    """SHA-256 of the sealed bytes as uploaded."""
    bucket: Annotated[int, Field(ge=1, le=MAX_ATTACHMENT_BYTES * 2)]
    """Size of the sealed bytes, in bytes."""


class Envelope(WireModel):
    """The clear header and the sealed parts: the exact payload that the sender signs."""

    suite: Literal[1, 2]
    version: Literal[1]
    id: UUID
    """UUIDv7; stored before the first attempt and resent with the same bytes."""
    replaces: UUID | None
    """The id that this newly sealed envelope stands in for, if any."""
    from_: Annotated[ParticipantId, Field(alias="from")]
    to: ParticipantId
    lane: Lane
    stream: Stream
    thread: UUID
    """One exchange between two participants; never shared with a third."""
    in_reply_to: UUID | None
    kind: Kind
    issued_at: Instant
    expires_at: Instant
    answer_by: Instant | None
    pauses_clock: bool
    """True while a question is open: the deadline of what was asked does not run."""
    agreement: UUID | None
    consent: ConsentTag | None
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=8)]
    attachments: Annotated[tuple[AttachmentRef, ...], Field(max_length=32)]


@dataclass(frozen=True, slots=True)
class SealedEnvelope:
    """An envelope that was parsed strictly and of which nothing has been checked."""

    raw: bytes
    """The flattened JWS as received. Stored and forwarded as it is."""
    signed_by: KeyId
    alg: str
    payload: bytes
    signature: bytes
    signing_input: bytes
    digest: bytes
    """SHA-256 of `payload`: what evidence speaks of."""
    content: Envelope
    header: Mapping[str, object] = field(compare=False)
    """The payload's JSON without `parts`, as it was written and not as the model reads it."""


@dataclass(frozen=True, slots=True)
class VerifiedEnvelope:
    """Signed by a key that the directory gives to `content.from_`, valid at the time of the check.

    Only `keys.signing.verify_envelope` makes one.
    """

    raw: bytes
    signed_by: KeyId
    digest: bytes
    content: Envelope
    header: Mapping[str, object] = field(compare=False)
    """As of `SealedEnvelope`: what the parts are bound to."""
    directory_version: int
