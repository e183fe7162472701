"""Whose word a high-water mark is: the sender's own, by a key that was in force when it was made."""

from __future__ import annotations

from datetime import datetime, timedelta

from keys import strict_json
from keys.signing import MAX_STATEMENT_BYTES, Signer, check_signature, parse_jws, sign_jws
from schemas.directory import KeyStatus, KeyUse, TrustedDirectory
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import BadSignature, FromTheFuture, KeyRevoked, KeyUnknown
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
    jws = parse_jws(raw, typ=HIGH_WATER_TYP, limit=MAX_STATEMENT_BYTES)
    strict_json.parse_object(jws.payload, limit=MAX_STATEMENT_BYTES)
    content = HighWater.from_json(jws.payload)
    found = directory.key(jws.kid)
    if found is None:
        raise KeyUnknown
    author, key = found
    if author.id != content.by or key.use is not KeyUse.SIGN or key.alg != jws.alg:
        raise BadSignature("not a signing key of the author")
    check_signature(key, jws.signing_input, jws.signature)
    if key.status not in (KeyStatus.ACTIVE, KeyStatus.RETIRED) or not (
        key.not_before - _SKEW <= content.issued_at < key.not_after + _SKEW
    ):
        raise KeyRevoked(f"key {key.kid}: {key.status}")
    if content.issued_at > now + _SKEW:
        raise FromTheFuture
    return content
