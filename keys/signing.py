"""Signing: who said it, and whether that key could say it then.

Only this module makes the `Verified…` types of envelopes, evidence, grants and agreements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from keys import strict_json
from keys.jwk import SIGNING_ALG
from keys.jws import (
    MAX_STATEMENT_BYTES,
    ParsedJws,
    Signer,
    check_signature,
    parse_general,
    parse_jws,
    signature_object,
)
from schemas.agreement import (
    AGREEMENT_TYP,
    SUSPENSION_TYP,
    Agreement,
    Suspension,
    VerifiedAgreement,
)
from schemas.base import KeyId, ParticipantId, b64u
from schemas.consent import GRANT_TYP, GrantStatement, VerifiedGrant
from schemas.directory import KeyStatus, KeyUse, Participant, PublishedKey, TrustedDirectory
from schemas.envelope import (
    ENVELOPE_TYP,
    MAX_ENVELOPE_BYTES,
    MAX_SKEW_SECONDS,
    WIRE_VERSION,
    Envelope,
    SealedEnvelope,
    VerifiedEnvelope,
)
from schemas.errors import (
    BadSignature,
    Conflict,
    FromTheFuture,
    KeyNotYetValid,
    KeyRevoked,
    KeyUnknown,
    SchemaRefused,
    SuiteRefused,
    VersionRefused,
)
from schemas.evidence import EVIDENCE_TYP, Evidence, VerifiedEvidence

_SKEW = timedelta(seconds=MAX_SKEW_SECONDS)
_Content = TypeVar("_Content")


def sign_agreement(agreement: Agreement, signer: Signer) -> bytes:
    """Begin an agreement: a general JWS with the first party's signature."""
    body = b64u(agreement.to_json()).encode()
    return b'{"payload":"%b","signatures":[%b]}' % (
        body,
        signature_object(body, typ=AGREEMENT_TYP, signer=signer),
    )


def countersign(raw: bytes, signer: Signer) -> bytes:
    """Add the second party's signature over the very same payload.

    Raises:
        Conflict: It has two signatures already, or this key's.
        MalformedJson, SchemaRefused, TooLarge: Not an agreement.
    """
    body, signatures = parse_general(raw, typ=AGREEMENT_TYP)
    if len(signatures) != 1 or signatures[0].kid == signer.kid:
        raise Conflict("already signed")
    Agreement.from_json(signatures[0].payload)
    first = raw[raw.index(b"[") + 1 : raw.rindex(b"]")]
    return b'{"payload":"%b","signatures":[%b,%b]}' % (
        body,
        first.strip(),
        signature_object(body, typ=AGREEMENT_TYP, signer=signer),
    )


# --- Parsing: nothing is checked yet -----------------------------------------------------


def parse_envelope(raw: bytes) -> SealedEnvelope:
    """Parse an envelope strictly and completely, and check nothing.

    Raises:
        TooLarge, MalformedJson, SchemaRefused, BadSignature: See `parse_jws`.
        VersionRefused: A version of the wire that we do not read.
        SuiteRefused: A suite that does not exist.
    """
    jws = parse_jws(raw, typ=ENVELOPE_TYP, limit=MAX_ENVELOPE_BYTES)
    payload = strict_json.parse_object(jws.payload, limit=MAX_ENVELOPE_BYTES)
    # Asked first, so that a newer sender is told what the matter is and not "unknown field".
    version, suite = payload.get("version"), payload.get("suite")
    # `true` and `1.0` equal 1 in Python, and so for the model; on the wire they do not.
    if type(version) is not int or type(suite) is not int:
        raise SchemaRefused(where=("version, suite: integer",))
    if version != WIRE_VERSION:
        raise VersionRefused
    if suite not in SIGNING_ALG:
        raise SuiteRefused
    return SealedEnvelope(
        raw=raw,
        signed_by=jws.kid,
        alg=jws.alg,
        payload=jws.payload,
        signature=jws.signature,
        signing_input=jws.signing_input,
        digest=hashlib.sha256(jws.payload).digest(),
        content=Envelope.from_json(jws.payload),
        header={name: value for name, value in payload.items() if name != "parts"},
    )


# --- Verifying ---------------------------------------------------------------------------


def verify_envelope(
    sealed: SealedEnvelope, directory: TrustedDirectory, *, now: datetime
) -> VerifiedEnvelope:
    """Check who signed an envelope, and that its keys are of its suite.

    1. The directory knows the key.
    2. The key belongs to `from`, is for signing, and is used with its own algorithm.
    3. The key is of the envelope's suite.
    4. The key may verify at `now`: active, or retired and not past its end.
    5. The signature is right.
    6. Each part is to another key, and no part is to a key that the directory gives to another
       participant, another use or another suite.

    Age, consent and agreement are for `broker.rules.header`, repetition for whoever stores it.

    Raises:
        KeyUnknown: Step 1.
        BadSignature: Step 2 or 5.
        SuiteRefused: Step 3 or 6.
        KeyRevoked: Step 4.
        KeyNotYetValid: Step 4, and its time is still to come: ask again with the same bytes.
    """
    content = sealed.content
    _, published = author_of(sealed.signed_by, sealed.alg, content.from_, directory)  # 1, 2
    if published.suite != content.suite:  # 3
        raise SuiteRefused("the signing key is of another suite")
    _check_validity(published, now)  # 4
    check_signature(published, sealed.signing_input, sealed.signature)  # 5
    _check_part_keys(content, directory)  # 6
    return VerifiedEnvelope(
        raw=sealed.raw,
        signed_by=sealed.signed_by,
        digest=sealed.digest,
        content=content,
        header=sealed.header,
        directory_version=directory.version,
    )


def verify_evidence(raw: bytes, directory: TrustedDirectory, *, now: datetime) -> VerifiedEvidence:
    """Check that evidence was signed by the participant that it names as `by`.

    Raises:
        KeyUnknown, KeyRevoked, KeyNotYetValid, BadSignature: `verify_envelope`, steps 1, 2, 4, 5.
        TooLarge, MalformedJson, SchemaRefused: Not evidence.
    """
    jws, content = read_statement(raw, EVIDENCE_TYP, Evidence.from_json)
    _verify(jws, content.by, directory, now)
    return VerifiedEvidence(raw=raw, signed_by=jws.kid, content=content)


def verify_grant(raw: bytes, directory: TrustedDirectory, *, now: datetime) -> VerifiedGrant:
    """Check that a grant statement was signed by its sender.

    A statement outlives its key: it is read again when that has been replaced. So the key must have
    been in force when the statement says that it was issued, and not be compromised today. Whoever
    stole a key that had ended could write an older one, but could send nothing under it.

    Raises:
        KeyUnknown, KeyRevoked, BadSignature: See `verify_envelope`, steps 1, 2, 4, 5.
        FromTheFuture: Issued later than ten minutes after `now`.
        TooLarge, MalformedJson, SchemaRefused: Not a grant statement.
    """
    jws, content = read_statement(raw, GRANT_TYP, GrantStatement.from_json)
    _verify_lasting(jws, content.from_, directory, content.issued_at, now)
    return VerifiedGrant(raw=raw, signed_by=jws.kid, content=content)


def verify_suspension(raw: bytes, directory: TrustedDirectory, *, now: datetime) -> Suspension:
    """Check that a suspension was signed by the party that it names as `by`.

    Raises:
        KeyUnknown, KeyRevoked, KeyNotYetValid, BadSignature: `verify_envelope`, steps 1, 2, 4, 5.
        FromTheFuture: Issued later than ten minutes after `now`: nothing later could take it back.
        TooLarge, MalformedJson, SchemaRefused: Not a suspension.
    """
    jws, content = read_statement(raw, SUSPENSION_TYP, Suspension.from_json)
    _verify(jws, content.by, directory, now)
    if content.issued_at > now + _SKEW:
        raise FromTheFuture
    return content


def verify_agreement(
    raw: bytes, directory: TrustedDirectory, *, now: datetime
) -> VerifiedAgreement:
    """Check that both parties signed, each once, and nobody else.

    As with a grant, the keys must have been in force on `signed_on`.

    Raises:
        BadSignature: A party's signature is missing or wrong, or another's stands there.
        KeyUnknown, KeyRevoked: See `verify_envelope`.
        FromTheFuture: Signed later than ten minutes after `now`.
        TooLarge, MalformedJson, SchemaRefused: Not an agreement, or one with oneself.
    """
    _, signatures = parse_general(raw, typ=AGREEMENT_TYP)
    content = Agreement.from_json(signatures[0].payload)
    if content.parties[0] == content.parties[1]:
        raise SchemaRefused(where=("parties: the same twice",))
    missing = set(content.parties)
    for jws in signatures:
        found = directory.key(jws.kid)
        if found is None:
            raise KeyUnknown
        if found[0].id not in missing:
            raise BadSignature("not a party, or twice")
        _verify_lasting(jws, found[0].id, directory, content.signed_on, now)
        missing.discard(found[0].id)
    if missing:
        raise BadSignature("a party has not signed")
    return VerifiedAgreement(raw=raw, content=content)


def read_statement(
    raw: bytes, typ: str, read: Callable[[bytes], _Content], *, limit: int = MAX_STATEMENT_BYTES
) -> tuple[ParsedJws, _Content]:
    """Parse a signed statement strictly, and check nothing.

    Raises:
        TooLarge, MalformedJson, SchemaRefused, BadSignature: See `keys.jws.parse_jws`.
    """
    jws = parse_jws(raw, typ=typ, limit=limit)
    strict_json.parse_object(jws.payload, limit=limit)
    return jws, read(jws.payload)


def author_of(
    kid: KeyId, alg: str, claimed: ParticipantId, directory: TrustedDirectory
) -> tuple[Participant, PublishedKey]:
    """Whose key it is that signs in somebody's name; neither its dates nor the signature are checked.

    Raises:
        KeyUnknown: The directory does not know the key.
        BadSignature: It is another's, is not for signing, or is used with another algorithm.
    """
    found = directory.key(kid)
    if found is None:
        raise KeyUnknown
    owner, published = found
    if owner.id != claimed or published.use is not KeyUse.SIGN:
        raise BadSignature("not a signing key of the sender")
    if published.alg != alg:
        raise BadSignature("not the algorithm of the key")
    return owner, published


# --- Inside ------------------------------------------------------------------------------


def _verify(
    jws: ParsedJws, claimed: ParticipantId, directory: TrustedDirectory, now: datetime
) -> None:
    _, published = author_of(jws.kid, jws.alg, claimed, directory)
    _check_validity(published, now)
    check_signature(published, jws.signing_input, jws.signature)


def _verify_lasting(
    jws: ParsedJws,
    claimed: ParticipantId,
    directory: TrustedDirectory,
    said_at: datetime,
    now: datetime,
) -> None:
    """Judge the key by the moment that the statement names, and by what is known of it today."""
    if said_at > now + _SKEW:
        raise FromTheFuture
    _, published = author_of(jws.kid, jws.alg, claimed, directory)
    in_force = published.status in (KeyStatus.ACTIVE, KeyStatus.RETIRED, KeyStatus.DESTROYED)
    # Two clocks may differ, and on the wire a moment has milliseconds only.
    if not in_force or not published.not_before - _SKEW <= said_at < published.not_after + _SKEW:
        raise KeyRevoked(f"key {published.kid}: not in force when this was signed")
    check_signature(published, jws.signing_input, jws.signature)


def _check_validity(published: PublishedKey, now: datetime) -> None:
    if published.begins_later(now):
        # A clock that was put back, or another's that is a little ahead: nobody's fault who signs.
        raise KeyNotYetValid(f"key {published.kid}")
    if not published.may_verify(now):
        reason = published.status if published.status is not KeyStatus.ACTIVE else "dates"
        raise KeyRevoked(f"key {published.kid}: {reason}")


def _check_part_keys(content: Envelope, directory: TrustedDirectory) -> None:
    seen: set[KeyId] = set()
    for part in content.parts:
        if part.to_key in seen:
            raise SuiteRefused("two parts to one key")
        seen.add(part.to_key)
        # A key that the directory no longer knows may be one that was rotated out while the envelope
        # was under way; whether the recipient can still open it, the recipient finds out.
        if (found := directory.key(part.to_key)) is None:
            continue
        if not _seals_to(found, content):
            raise SuiteRefused("a part is to a key of another participant, use or suite")


def _seals_to(found: tuple[Participant, PublishedKey], content: Envelope) -> bool:
    owner, key = found
    return owner.id == content.to and key.use is KeyUse.SEAL and key.suite == content.suite
