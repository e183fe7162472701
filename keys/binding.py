"""Binding: which bytes depend on which. Every label of the protocol is here and nowhere else.

A label names the protocol and the purpose and ends in a newline, so that no digest made for one
purpose can be passed off as another's (`docs/protocol.md`, section 3). Knows headers only: the hub
imports this module, and nothing here needs what is inside a seal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import rfc8785

from schemas.base import Digest, KeyId, Scope, b64u
from schemas.consent import ConsentRecord, Purpose
from schemas.envelope import Envelope

HEADER_LABEL = b"referral-broker/1 header\n"
SCOPE_LABEL = b"referral-broker/1 scope\n"
RECORD_LABEL = b"referral-broker/1 record\n"
LEAF_LABEL = b"referral-broker/1 leaf\n"
STREAM_LABEL = b"referral-broker/1 stream\n"
ACCESS_LABEL = b"referral-broker/1 access\n"

SCOPE_BYTES = 16
GRANT_KEY_BYTES = 32
SALT_BYTES = 32


def header_digest(content: Envelope) -> bytes:
    """What every part's seal depends on: SHA-256 of the whole clear header of an envelope."""
    header = content.to_dict()
    del header["parts"]
    return digest_of_header(header, [part.to_key for part in content.parts])


def digest_of_header(header: Mapping[str, object], to_keys: Sequence[KeyId]) -> bytes:
    """The same from the header's JSON values, without `parts`, and the keys of the parts in order.

    RFC 8785 is written here by the standard library, five times faster than the general one. That is
    the same for a header: its names are ASCII, it has no fractions, and integers stay below 2^53
    (`keys.strict_json`). A test compares the two.
    """
    values = {**header, "to_keys": list(to_keys)}
    text = json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(HEADER_LABEL + text.encode()).digest()


def blind_scope(grant_key: bytes, purpose: Purpose | str, section: str) -> Scope:
    """Blind a (purpose, section): whoever lacks the grant key sees 16 random-looking bytes.

    The lengths come first, so that no two pairs run together into one.
    """
    data = SCOPE_LABEL + _prefixed(str(purpose)) + _prefixed(section)
    return b64u(hmac.digest(grant_key, data, "sha256")[:SCOPE_BYTES])


def record_digest(grant_key: bytes, record: ConsentRecord) -> Digest:
    """Tie a grant to the consent record behind it. An HMAC: the record's words cannot be guessed."""
    data = RECORD_LABEL + rfc8785.dumps(record.to_dict())
    return b64u(hmac.digest(grant_key, data, "sha256"))


def commitment(salt: bytes, subject: bytes) -> bytes:
    """What a leaf of the log says of its subject. Without the salt it says nothing, for ever."""
    return hashlib.sha256(LEAF_LABEL + salt + subject).digest()


def subject_of(signed: bytes) -> bytes:
    """Name a signed object: SHA-256 of an envelope's payload, or of a whole JWS."""
    return hashlib.sha256(signed).digest()


def stream_context(envelope_thread: UUID, scope: str | None) -> bytes:
    """What an attachment's seal depends on: it opens in its own thread and scope only."""
    return STREAM_LABEL + envelope_thread.bytes + _prefixed(scope or "")


def access_aad(participant: str, user: str) -> str:
    """What the seal of a queue's password depends on: whose it is, and for which user."""
    data = ACCESS_LABEL + _prefixed(participant) + _prefixed(user)
    return b64u(hashlib.sha256(data).digest())


def uuid7(now: datetime) -> UUID:
    """A new id that sorts by time (RFC 9562, 5.7): 48 bits of milliseconds, 74 random bits."""
    milliseconds = int(now.timestamp() * 1000)
    value = milliseconds << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def new_grant_key() -> bytes:
    """A new grant key: one per person and recipient."""
    return secrets.token_bytes(GRANT_KEY_BYTES)


def new_salt() -> bytes:
    """A new salt for one leaf."""
    return secrets.token_bytes(SALT_BYTES)


def new_incarnation() -> str:
    """A new name for one gateway database."""
    return b64u(secrets.token_bytes(16))


def _prefixed(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data
