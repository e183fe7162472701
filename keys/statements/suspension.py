"""Who may hold an agreement, and who still does: read from what they signed, never from a hub's word.

Holding only ever stops something, so of a statement that holds a reader asks little: that the author's
key wrote it. One that lets go again must come from a key that is in force and not compromised. A
reader keeps the last word of each author; a hub that leaves one out, or tells an old one again,
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from keys.jws import check_signature
from keys.signing import author_of, read_statement
from schemas.agreement import SUSPENSION_TYP, Suspension
from schemas.base import ParticipantId
from schemas.directory import (
    AUTHORITIES,
    KeyStatus,
    Participant,
    PublishedKey,
    TrustedDirectory,
)
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import Forbidden, FromTheFuture, KeyRevoked

_SKEW = timedelta(seconds=MAX_SKEW_SECONDS)


@dataclass(frozen=True, slots=True)
class Word:
    """What one author said last about one agreement."""

    agreement: UUID
    by: ParticipantId
    holds: bool
    issued_at: datetime


def may_suspend(author: Participant | None, parties: Iterable[ParticipantId]) -> bool:
    """True for either party, and for the authority of a party's country."""
    if author is None:
        return False
    countries = {party.split(".")[0] for party in parties}
    authority = author.function in AUTHORITIES and author.id.split(".")[0] in countries
    return author.id in parties or authority


def word_of(
    raw: bytes, parties: Iterable[ParticipantId], directory: TrustedDirectory, *, now: datetime
) -> Word:
    """Read one statement as a gateway does, which may get it long after it was signed.

    Raises:
        KeyUnknown, BadSignature: Not signed by whom it names.
        KeyRevoked: By a key that was never in force.
        Forbidden: By neither party, nor the authority of a party's country.
        FromTheFuture: Issued later than ten minutes after `now`.
        TooLarge, MalformedJson, SchemaRefused: Not a suspension.
    """
    jws, content = read_statement(raw, SUSPENSION_TYP, Suspension.from_json)
    author, key = author_of(jws.kid, jws.alg, content.by, directory)
    if key.status is KeyStatus.PENDING:
        raise KeyRevoked(f"key {key.kid}: {key.status}")
    check_signature(key, jws.signing_input, jws.signature)
    if content.issued_at > now + _SKEW:
        raise FromTheFuture
    if not may_suspend(author, tuple(parties)):
        raise Forbidden
    # Whoever resumes had suspended before. If a thief may have written this, that still stands.
    holds = content.action == "suspend" or not _in_force(key, content.issued_at)
    return Word(content.agreement, content.by, holds, content.issued_at)


def later(known: Word | None, heard: Word) -> Word:
    """Which of two words of one author stands: the later; of two at one moment, the one that holds."""
    if known is None or heard.issued_at > known.issued_at:
        return heard
    if heard.issued_at == known.issued_at and heard.holds:
        return heard
    return known


def held(words: Mapping[tuple[UUID, ParticipantId], Word], agreement: UUID) -> bool:
    """True while anybody holds the agreement."""
    return any(word.holds for word in words.values() if word.agreement == agreement)


def _in_force(key: PublishedKey, at: datetime) -> bool:
    return key.status is not KeyStatus.COMPROMISED and (
        key.not_before - _SKEW <= at < key.not_after + _SKEW
    )
