"""Signing: who said it. JWS (RFC 7515) with exactly one way to write it.

A header has `alg`, `kid` and `typ`, all protected, and nothing else; the directory pins one `alg` to
each `kid`, so a message cannot choose how it is verified (RFC 8725, 3.1). The signed bytes are kept
as they came. Only this module makes the `Verified…` types.

Written on `cryptography` and not on joserfc: the hub verifies every message here, joserfc caps
payloads at 128 000 bytes and tolerates other headers, and what is left is one concatenation and one
signature. The tests hold it against jwcrypto, joserfc and Node's jose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NoReturn, Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

from keys import strict_json
from keys.jwk import ED25519, ES256, SIGNING_ALG, SigningPrivate, public_key
from schemas.agreement import (
    AGREEMENT_TYP,
    SUSPENSION_TYP,
    Agreement,
    Suspension,
    VerifiedAgreement,
)
from schemas.base import KeyId, ParticipantId, b64u, unb64u
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
    KeyRevoked,
    KeyUnknown,
    MalformedJson,
    SchemaRefused,
    SuiteRefused,
    VersionRefused,
)
from schemas.evidence import EVIDENCE_TYP, Evidence, VerifiedEvidence

MAX_STATEMENT_BYTES = 256 * 1024
"""Of evidence, grant statements, agreements and suspensions. 256 facts take 80 KiB."""
MAX_HEADER_BYTES = 512
_SIGNATURE_BYTES = 64  # Ed25519 (RFC 8032), and r and s of ES256 (RFC 7518, 3.4)
_SKEW = timedelta(seconds=MAX_SKEW_SECONDS)
_HEADER = {"alg", "kid", "typ"}
_Content = TypeVar("_Content")


class Signer(Protocol):
    """Signs with one private key, which may be elsewhere.

    `sign` may be called from several threads. It returns the 64 bytes that JWS wants, and raises
    `CustodyLocked` if the key cannot be used just now.
    """

    @property
    def kid(self) -> KeyId: ...
    @property
    def alg(self) -> str: ...
    @property
    def suite(self) -> int: ...
    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True, repr=False)
class LocalSigner:
    """Signs with a private key in this process's memory."""

    kid: KeyId
    alg: str
    suite: int
    key: SigningPrivate

    def sign(self, data: bytes) -> bytes:
        """Sign; ES256 as r and s side by side, as JWS has it, not as DER."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(data)
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def __repr__(self) -> str:
        return f"<LocalSigner {self.kid}>"


@dataclass(frozen=True, slots=True)
class ParsedJws:
    """A flattened JWS that was parsed strictly and of which nothing has been checked."""

    raw: bytes
    kid: KeyId
    alg: str
    payload: bytes
    signature: bytes
    signing_input: bytes


# --- Writing -----------------------------------------------------------------------------


def sign_jws(payload: bytes, *, typ: str, signer: Signer) -> bytes:
    """Sign bytes as a flattened JWS. Store what this returns and send that, never sign again."""
    return make_jws(payload, typ=typ, signer=signer).raw


def make_jws(payload: bytes, *, typ: str, signer: Signer) -> ParsedJws:
    """The same with its parts, as `parse_jws` would find them."""
    protected = _protected(typ, signer)
    body = b64u(payload).encode()
    signing_input = protected + b"." + body
    signature = signer.sign(signing_input)
    raw = b'{"payload":"%b","protected":"%b","signature":"%b"}' % (
        body,
        protected,
        b64u(signature).encode(),
    )
    return ParsedJws(raw, signer.kid, signer.alg, payload, signature, signing_input)


def sign_agreement(agreement: Agreement, signer: Signer) -> bytes:
    """Begin an agreement: a general JWS with the first party's signature."""
    body = b64u(agreement.to_json()).encode()
    return b'{"payload":"%b","signatures":[%b]}' % (body, _signature_object(body, signer))


def countersign(raw: bytes, signer: Signer) -> bytes:
    """Add the second party's signature over the very same payload.

    Raises:
        Conflict: It has two signatures already, or this key's.
        MalformedJson, SchemaRefused, TooLarge: Not an agreement.
    """
    body, signatures = _parse_general(raw)
    if len(signatures) != 1 or signatures[0].kid == signer.kid:
        raise Conflict("already signed")
    Agreement.from_json(signatures[0].payload)
    first = raw[raw.index(b"[") + 1 : raw.rindex(b"]")]
    return b'{"payload":"%b","signatures":[%b,%b]}' % (
        body,
        first.strip(),
        _signature_object(body, signer),
    )


# --- Parsing: nothing is checked yet -----------------------------------------------------


def parse_jws(raw: bytes, *, typ: str, limit: int) -> ParsedJws:
    """Parse a flattened JWS of one type; whatever is not exactly that is refused.

    Raises:
        TooLarge: Longer than `limit`.
        MalformedJson: Not strict JSON, or base64url that is not canonical.
        SchemaRefused: Other members than `payload`, `protected`, `signature`.
        BadSignature: A header that plays tricks: another `typ`, a missing or an additional member,
            `crit`, `jwk`, `jku`, `x5u`, `x5c`, or no signature where one should be.
    """
    document = strict_json.parse_object(raw, limit=limit)
    if document.keys() != {"payload", "protected", "signature"}:
        # An unprotected header may contradict the protected one; an absent signature is a stripped one.
        if "header" in document or "signature" not in document:
            raise BadSignature("unprotected header or no signature")
        raise SchemaRefused(where=("jws: members",))
    return _parsed(raw, document["protected"], document["payload"], document["signature"], typ)


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

    Age, repetition, consent and agreement are for `broker.rules.header`.

    Raises:
        KeyUnknown: Step 1.
        BadSignature: Step 2 or 5.
        SuiteRefused: Step 3 or 6.
        KeyRevoked: Step 4.
    """
    content = sealed.content
    published = _signing_key(sealed.signed_by, sealed.alg, content.from_, directory)  # 1, 2
    if published.suite != content.suite:  # 3
        raise SuiteRefused("the signing key is of another suite")
    _check_validity(published, now)  # 4
    _check_signature(published, sealed.signing_input, sealed.signature)  # 5
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
        KeyUnknown, KeyRevoked, BadSignature: See `verify_envelope`, steps 1, 2, 4, 5.
        TooLarge, MalformedJson, SchemaRefused: Not evidence.
    """
    jws, content = _statement(raw, EVIDENCE_TYP, Evidence.from_json)
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
    jws, content = _statement(raw, GRANT_TYP, GrantStatement.from_json)
    _verify_lasting(jws, content.from_, directory, content.issued_at, now)
    return VerifiedGrant(raw=raw, signed_by=jws.kid, content=content)


def verify_suspension(raw: bytes, directory: TrustedDirectory, *, now: datetime) -> Suspension:
    """Check that a suspension was signed by the party that it names as `by`.

    Raises:
        KeyUnknown, KeyRevoked, BadSignature: See `verify_envelope`, steps 1, 2, 4, 5.
        FromTheFuture: Issued later than ten minutes after `now`: nothing later could take it back.
        TooLarge, MalformedJson, SchemaRefused: Not a suspension.
    """
    jws, content = _statement(raw, SUSPENSION_TYP, Suspension.from_json)
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
    _, signatures = _parse_general(raw)
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


def check_signature(published: PublishedKey, data: bytes, signature: bytes) -> None:
    """Check one signature by a published key over bytes; nothing else about the key is checked.

    Raises:
        BadSignature: It is not this key's signature over these bytes.
    """
    _check_signature(published, data, signature)


# --- Inside ------------------------------------------------------------------------------


def _protected(typ: str, signer: Signer) -> bytes:
    header = f'{{"alg":"{signer.alg}","kid":"{signer.kid}","typ":"{typ}"}}'
    return b64u(header.encode()).encode()


def _signature_object(body: bytes, signer: Signer) -> bytes:
    protected = _protected(AGREEMENT_TYP, signer)
    signature = b64u(signer.sign(protected + b"." + body)).encode()
    return b'{"protected":"%b","signature":"%b"}' % (protected, signature)


def _parsed(
    raw: bytes, protected: object, payload: object, signature: object, typ: str
) -> ParsedJws:
    if not (isinstance(protected, str) and isinstance(payload, str) and isinstance(signature, str)):
        raise SchemaRefused(where=("jws: members",))
    alg, kid = _parse_header(protected, typ)
    try:
        content, mark = unb64u(payload), unb64u(signature)
    except ValueError:
        raise MalformedJson("base64url") from None
    if len(mark) != _SIGNATURE_BYTES:
        raise BadSignature("length")
    signing_input = f"{protected}.{payload}".encode()
    return ParsedJws(raw, kid, alg, content, mark, signing_input)


@lru_cache(maxsize=1024)
def _parse_header(protected: str, typ: str) -> tuple[str, KeyId]:
    """`alg` and `kid`. Cached, as a key writes the same header each time; refusals are not kept."""
    try:
        data = unb64u(protected)
    except ValueError:
        raise MalformedJson("base64url") from None
    header = strict_json.parse_object(data, limit=MAX_HEADER_BYTES)
    alg, kid = header.get("alg"), header.get("kid")
    if header.keys() != _HEADER or header["typ"] != typ:
        raise BadSignature("header members or type")
    if not isinstance(alg, str) or alg not in SIGNING_ALG.values():
        raise BadSignature("alg")
    if not isinstance(kid, str) or len(kid) != 43:
        raise BadSignature("kid")
    return alg, kid


def _parse_general(raw: bytes) -> tuple[bytes, list[ParsedJws]]:
    document = strict_json.parse_object(raw, limit=MAX_STATEMENT_BYTES)
    payload, entries = document.get("payload"), document.get("signatures")
    if document.keys() != {"payload", "signatures"} or not isinstance(payload, str):
        raise SchemaRefused(where=("jws: members",))
    if not isinstance(entries, list) or not 1 <= len(entries) <= 2:
        raise SchemaRefused(where=("signatures: one or two",))
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != {"protected", "signature"}:
            raise BadSignature("signature members")
        found.append(_parsed(raw, entry["protected"], payload, entry["signature"], AGREEMENT_TYP))
    strict_json.parse_object(found[0].payload, limit=MAX_STATEMENT_BYTES)
    return payload.encode(), found


def _statement(
    raw: bytes, typ: str, read: Callable[[bytes], _Content]
) -> tuple[ParsedJws, _Content]:
    jws = parse_jws(raw, typ=typ, limit=MAX_STATEMENT_BYTES)
    strict_json.parse_object(jws.payload, limit=MAX_STATEMENT_BYTES)
    return jws, read(jws.payload)


def _verify(
    jws: ParsedJws, claimed: ParticipantId, directory: TrustedDirectory, now: datetime
) -> None:
    published = _signing_key(jws.kid, jws.alg, claimed, directory)
    _check_validity(published, now)
    _check_signature(published, jws.signing_input, jws.signature)


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
    published = _signing_key(jws.kid, jws.alg, claimed, directory)
    in_force = published.status in (KeyStatus.ACTIVE, KeyStatus.RETIRED, KeyStatus.DESTROYED)
    # Two clocks may differ, and on the wire a moment has milliseconds only.
    if not in_force or not published.not_before - _SKEW <= said_at < published.not_after + _SKEW:
        raise KeyRevoked(f"key {published.kid}: not in force when this was signed")
    _check_signature(published, jws.signing_input, jws.signature)


def _signing_key(
    kid: KeyId, alg: str, claimed: ParticipantId, directory: TrustedDirectory
) -> PublishedKey:
    found = directory.key(kid)
    if found is None:
        raise KeyUnknown
    owner, published = found
    if owner.id != claimed or published.use is not KeyUse.SIGN:
        raise BadSignature("not a signing key of the sender")
    if published.alg != alg:
        raise BadSignature("not the algorithm of the key")
    return published


def _check_validity(published: PublishedKey, now: datetime) -> None:
    if not published.may_verify(now):
        reason = published.status if published.status is not KeyStatus.ACTIVE else "dates"
        raise KeyRevoked(f"key {published.kid}: {reason}")


def _check_signature(published: PublishedKey, data: bytes, signature: bytes) -> None:
    key = public_key(published.jwk)
    if len(signature) != _SIGNATURE_BYTES:
        raise BadSignature("length")
    try:
        if published.alg == ED25519 and isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        elif published.alg == ES256 and isinstance(key, ec.EllipticCurvePublicKey):
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
        else:
            _bad_signature()
    except InvalidSignature:
        _bad_signature()


def _bad_signature() -> NoReturn:
    raise BadSignature from None


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
