"""Whose word a high-water mark is: the sender's own, by a key that was in force when it was made."""

from __future__ import annotations

from datetime import datetime, timedelta

from keys.jws import Signer, check_signature, sign_jws
from keys.signing import author_of, read_statement
from schemas.directory import KeyStatus, TrustedDirectory
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import FromTheFuture, KeyRevoked
from schemas.high_water import HIGH_WATER_TYP, HighWater

_SKEW = timedelta(seconds=MAX_SKEW_SECONDS)


def sign_high_water(content: HighWater, signer: Signer) -> bytes:
    """Sign a mark."""
    return sign_jws(content.to_json(), typ=HIGH_WATER_TYP, signer=signer)


def verify_high_water(raw: bytes, directory: TrustedDirectory, *, now: datetime) -> HighWater:
    """Check that a mark was signed by the sender of the stream.

    Raises:
        KeyUnknown, BadSignature: Not signed by whom it names.
        KeyRevoked: By a key that was not in force then, or is compromised.
        FromTheFuture: Issued later than ten minutes after `now`.
        TooLarge, MalformedJson, SchemaRefused: Not a mark.
    """
    jws, content = read_statement(raw, HIGH_WATER_TYP, HighWater.from_json)
    _, key = author_of(jws.kid, jws.alg, content.by, directory)
    check_signature(key, jws.signing_input, jws.signature)
    if key.status not in (KeyStatus.ACTIVE, KeyStatus.RETIRED) or not (
        key.not_before - _SKEW <= content.issued_at < key.not_after + _SKEW
    ):
        raise KeyRevoked(f"key {key.kid}: {key.status}")
    if content.issued_at > now + _SKEW:
        raise FromTheFuture
    return content
