"""Who may say that a key is compromised: its participant, or the authority of that one's country.

Revoking only ever stops something, so a reader believes more than the hub: the hub wants a signing
key that is in force, lest a thief of an old key stops the new ones too; a reader that follows the
hub's feed asks for a key that the directory gives to the author, in whatever state by now, since a
participant that loses its only key signs its revocation with that very key.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from keys.jws import Signer, check_signature, sign_jws
from keys.signing import author_of, read_statement
from schemas.directory import AUTHORITIES, KeyStatus, Participant, TrustedDirectory
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import Forbidden, FromTheFuture, KeyRevoked, KeyUnknown
from schemas.revocation import REVOCATION_TYP, Revocation, VerifiedRevocation

_SKEW = timedelta(seconds=MAX_SKEW_SECONDS)


def sign_revocation(content: Revocation, signer: Signer) -> bytes:
    """Sign a revocation. Keep the bytes: they are what is repeated until the hub has them."""
    return sign_jws(content.to_json(), typ=REVOCATION_TYP, signer=signer)


def verify_revocation(
    raw: bytes, directory: TrustedDirectory, *, now: datetime, in_force: bool
) -> VerifiedRevocation:
    """Check who says that which keys are compromised.

    Args:
        in_force: True where it is new, at the hub; False where it may be old, in the feed.

    Raises:
        KeyUnknown: Nobody's signing key, or a revoked key is not the participant's.
        BadSignature: Not signed by whom it names.
        KeyRevoked: The signing key itself is no longer in force.
        Forbidden: Not the participant's to say, nor its country's.
        FromTheFuture: Issued later than ten minutes after `now`.
        TooLarge, MalformedJson, SchemaRefused: Not a revocation.
    """
    jws, content = read_statement(raw, REVOCATION_TYP, Revocation.from_json)
    author, key = author_of(jws.kid, jws.alg, content.by, directory)
    if key.status is KeyStatus.PENDING or (in_force and not key.may_verify(now)):
        raise KeyRevoked(f"key {key.kid}: {key.status}")
    check_signature(key, jws.signing_input, jws.signature)
    if content.issued_at > now + _SKEW:
        raise FromTheFuture
    if not may_revoke(author, content.participant):
        raise Forbidden
    owners = {kid: directory.key(kid) for kid in content.keys}
    if any(owner is None or owner[0].id != content.participant for owner in owners.values()):
        raise KeyUnknown("not a key of this participant")
    return VerifiedRevocation(raw, content)


def may_revoke(author: Participant, participant: str) -> bool:
    """True if the author may say that this participant's keys are compromised."""
    if author.id == participant:
        return True
    same_country = author.id.partition(".")[0] == participant.partition(".")[0]
    return same_country and author.function in AUTHORITIES and not author.suspended
