"""Sealing: make a message readable to one participant's compartments and to nobody in between.

Needs public keys only. Each compartment key that the recipient publishes gets a part, always all of
them and all of one size, so that the outside does not say whether there is a medical file. Each part
depends on the whole clear header (`keys.binding`): under any other header it does not open. So nobody,
the hub included, can readdress a message, widen its consent, or strip the signature and pass the
content on as their own.

The JWE is written on `cryptography`: no library has HPKE key encryption yet (suite 1), and joserfc
(suite 2) cannot leave out the `aad` member, nor take more than 64 KiB, without being subclassed into
what stands here. jwcrypto, joserfc and Node's jose check the result in the tests.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from keys.binding import access_aad, digest_of_header, subject_of
from keys.jwk import ECDH_ES_A256KW, HPKE_9_KE, SEALING_ALG, public_jwk, public_key
from keys.jws import Signer, make_jws
from schemas.base import ParticipantId, b64u
from schemas.directory import Compartment, Participant, PublishedKey
from schemas.envelope import (
    BUCKETS,
    ENVELOPE_TYP,
    MAX_ENVELOPE_BYTES,
    AttachmentRef,
    ConsentTag,
    Envelope,
    Kind,
    Lane,
    Part,
    SealedEnvelope,
    Stream,
)
from schemas.errors import KeyUnknown, RecipientUnknown, SchemaRefused, SuiteRefused, TooLarge

ENC = "A256GCM"
CEK_BYTES = 32
IV_BYTES = 12
TAG_BYTES = 16
EMPTY = b"{}"

HPKE = Suite(KEM.MLKEM768_X25519, KDF.SHAKE256, AEAD.AES_256_GCM)
"""HPKE-9: the constants of draft-ietf-jose-hpke-pq-pqt."""
HPKE_EK_BYTES = KEM.MLKEM768_X25519.enc_length()
HPKE_INFO = b"JOSE-HPKE rcpt\xff" + ENC.encode() + b"\xff"
"""Recipient_structure of draft-ietf-jose-hpke-encrypt: the content's algorithm, no further info."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeDraft:
    """An envelope before it is sealed: the clear header. The fields are those of `Envelope`."""

    suite: Literal[1, 2]
    id: UUID
    from_: ParticipantId
    to: ParticipantId
    lane: Lane
    stream: Stream
    thread: UUID
    kind: Kind
    issued_at: datetime
    expires_at: datetime
    version: Literal[1] = 1
    replaces: UUID | None = None
    in_reply_to: UUID | None = None
    answer_by: datetime | None = None
    pauses_clock: bool = False
    agreement: UUID | None = None
    consent: ConsentTag | None = None
    attachments: tuple[AttachmentRef, ...] = ()


def seal_envelope(
    draft: EnvelopeDraft,
    parts: Mapping[Compartment, bytes],
    *,
    recipient: Participant,
    signer: Signer,
    now: datetime,
) -> SealedEnvelope:
    """Seal each compartment's content to the recipient's key for it, then sign the whole.

    Args:
        draft: All that travels in the clear. Everything in it is bound to every part.
        parts: A JSON object per compartment. Compartments that are missing are sealed empty.
        recipient: The directory's entry for `draft.to`.
        signer: Holds a signing key of `draft.from_` of the draft's suite.
        now: Decides which of the recipient's keys are current.

    Returns:
        The envelope; its `raw` is what is stored before the first attempt and sent each time.

    Raises:
        RecipientUnknown: `recipient` is another than `draft.to`.
        SuiteRefused: The recipient has no current key of the suite, or the signer is of another.
        KeyUnknown: There is content for a compartment for which the recipient publishes no key.
        SchemaRefused: A content is not a JSON object, or the draft breaks a rule of `Envelope`.
        TooLarge: A content exceeds 256 KiB, or all together exceed an envelope (all parts get the
            size of the largest). Send an attachment instead.
    """
    if recipient.id != draft.to:
        raise RecipientUnknown("not the addressee")
    if signer.suite != draft.suite:
        raise SuiteRefused("the signing key is of another suite")
    sealing_keys = recipient.sealing_keys(now, draft.suite)
    if not sealing_keys:
        raise SuiteRefused("the recipient has no current sealing key of this suite")
    if strangers := parts.keys() - sealing_keys.keys():
        raise KeyUnknown("no key for " + ", ".join(sorted(strangers)))

    ordered = [(sealing_keys[c], parts.get(c, EMPTY)) for c in Compartment if c in sealing_keys]
    size = _bucket(max(len(content) for _, content in ordered))
    if size * len(ordered) * 16 // 9 > MAX_ENVELOPE_BYTES:  # base64 in base64: 16/9
        raise TooLarge("all compartments together exceed an envelope")
    header = clear_header(draft)
    aad = b64u(digest_of_header(header, [key.kid for key, _ in ordered]))
    sealed = [
        {"to_key": key.kid, "jwe": seal_part(pad(content, size), key, aad=aad)}
        for key, content in ordered
    ]
    payload = json.dumps({**header, "parts": sealed}, separators=(",", ":")).encode()
    content = Envelope.from_json(payload)  # what breaks a rule of the wire is never signed
    jws = make_jws(payload, typ=ENVELOPE_TYP, signer=signer)
    return SealedEnvelope(
        raw=jws.raw,
        signed_by=jws.kid,
        alg=jws.alg,
        payload=payload,
        signature=jws.signature,
        signing_input=jws.signing_input,
        digest=subject_of(payload),
        content=content,
        header=header,
    )


def seal_part(plaintext: bytes, key: PublishedKey, *, aad: str) -> dict[str, str]:
    """Seal bytes to one key as a flattened JWE (RFC 7516) whose `aad` member is left out.

    Args:
        plaintext: Already padded.
        key: A sealing key of the directory.
        aad: base64url, as it would stand in the `aad` member.
    """
    cek, iv = secrets.token_bytes(CEK_BYTES), secrets.token_bytes(IV_BYTES)
    header, wrapped = _WRAP[key.suite](key, cek)
    protected = b64u(json.dumps(header, separators=(",", ":")).encode())
    # The key is used once, so the random 96-bit nonce cannot repeat under it.
    sealed = AESGCM(cek).encrypt(iv, plaintext, f"{protected}.{aad}".encode())
    return {
        "protected": protected,
        "encrypted_key": b64u(wrapped),
        "iv": b64u(iv),
        "ciphertext": b64u(sealed[:-TAG_BYTES]),
        "tag": b64u(sealed[-TAG_BYTES:]),
    }


def seal_access(recipient: Participant, user: str, password: str, now: datetime) -> Part | None:
    """Seal the password of a participant's RabbitMQ user to its casework key; None if it has none."""
    for suite in sorted(recipient.suites):
        key = recipient.sealing_keys(now, suite).get(Compartment.CASEWORK)
        if key is not None:
            secret = json.dumps({"password": password}).encode()
            aad = access_aad(recipient.id, user)
            return Part.model_validate({"to_key": key.kid, "jwe": seal_part(secret, key, aad=aad)})
    return None


def pad(content: bytes, size: int) -> bytes:
    """A JSON object followed by spaces up to `size` bytes: still the same JSON."""
    if not (content.startswith(b"{") and content.endswith(b"}")):
        raise SchemaRefused(where=("parts: not a JSON object",))
    return content.ljust(size, b" ")


def _bucket(length: int) -> int:
    for size in BUCKETS:
        if length <= size:
            return size
    raise TooLarge(f"{length} bytes, at most {BUCKETS[-1]}")


def clear_header(draft: EnvelopeDraft) -> dict[str, object]:
    """All that will travel in the clear: the JSON values of the envelope without `parts`."""
    values = {
        "from" if name == "from_" else name: getattr(draft, name)
        for name in EnvelopeDraft.__dataclass_fields__
    }
    # No validation here: what is really written is validated.
    return Envelope.model_construct(**values, parts=()).model_dump(
        mode="json", by_alias=True, exclude={"parts"}
    )


def _wrap_hpke(key: PublishedKey, cek: bytes) -> tuple[dict[str, object], bytes]:
    public = public_key(key.jwk)
    if not isinstance(public, MLKEM768X25519PublicKey):
        raise SuiteRefused("not a key for HPKE-9-KE")
    sealed = HPKE.encrypt(cek, public, HPKE_INFO)
    ek, wrapped = sealed[:HPKE_EK_BYTES], sealed[HPKE_EK_BYTES:]
    return {"alg": HPKE_9_KE, "enc": ENC, "kid": key.kid, "ek": b64u(ek)}, wrapped


def _wrap_ecdh(key: PublishedKey, cek: bytes) -> tuple[dict[str, object], bytes]:
    public = public_key(key.jwk)
    if not isinstance(public, ec.EllipticCurvePublicKey) or key.alg != ECDH_ES_A256KW:
        raise SuiteRefused("not a key for ECDH-ES+A256KW")
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    wrapped = aes_key_wrap(ecdh_kek(ephemeral.exchange(ec.ECDH(), public)), cek)
    epk = public_jwk(ephemeral.public_key())
    return {"alg": ECDH_ES_A256KW, "enc": ENC, "kid": key.kid, "epk": epk}, wrapped


def ecdh_kek(shared: bytes) -> bytes:
    """The key that wraps the content key: Concat KDF as in RFC 7518, 4.6.2, without apu and apv."""
    alg = ECDH_ES_A256KW.encode()
    other_info = len(alg).to_bytes(4, "big") + alg + bytes(8) + (256).to_bytes(4, "big")
    return ConcatKDFHash(SHA256(), length=32, otherinfo=other_info).derive(shared)


_WRAP = {1: _wrap_hpke, 2: _wrap_ecdh}


def sealing_alg(suite: int) -> str:
    """The key wrapping that a suite has.

    Raises:
        SuiteRefused: No such suite.
    """
    if suite not in SEALING_ALG:
        raise SuiteRefused
    return SEALING_ALG[suite]
