"""Unsealing: the only module that decrypts a message. The hub may not import it.

It takes a `VerifiedEnvelope`, so nothing is opened before its sender is known, and it rebuilds the
binding from the header that the sender signed; what a JWE says of itself is never believed.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from keys import strict_json
from keys.binding import access_aad, digest_of_header
from keys.jwk import ECDH_ES_A256KW, HPKE_9_KE, SEALING_ALG, read_public_key
from keys.sealing import (
    CEK_BYTES,
    ENC,
    HPKE,
    HPKE_EK_BYTES,
    HPKE_INFO,
    IV_BYTES,
    TAG_BYTES,
    ecdh_kek,
    sealing_alg,
)
from schemas.base import KeyId, b64u, unb64u
from schemas.directory import KeyUse, Participant
from schemas.envelope import (
    BUCKETS,
    Envelope,
    Jwe,
    Part,
    VerifiedEnvelope,
)
from schemas.errors import BrokerError, CannotOpen, SuiteRefused

_MAX_HEADER_BYTES = 4096  # `ek` takes 1494 characters


class Keyring(Protocol):
    """Private sealing keys by id. `private` may be called from several threads."""

    def private(self, kid: KeyId) -> object | None:
        """The key, or None if it was never here or has been destroyed."""
        ...


@runtime_checkable
class Exchange(Protocol):
    """A P-256 key that is somewhere else, as in a hardware module."""

    def shared_secret(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        """ECDH's shared x coordinate, 32 bytes.

        Raises:
            CustodyLocked: The key cannot be used just now.
        """
        ...


def unseal_envelope(
    envelope: VerifiedEnvelope, keyring: Keyring, recipient_entry: Participant | None
) -> dict[KeyId, bytes]:
    """Open the parts whose keys we hold.

    1. Every part, also those that we cannot open, is wrapped as the envelope's suite says.
    2. If the directory's entry is given: it is the addressee's, and none of its keys is used
       against its use or suite.
    3. Each part whose key we hold opens under the header as it was signed.
    4. What comes out has a bucket's size; the padding is taken off.

    Args:
        envelope: Verified just now; the caller has also asked whether consent is live.
        keyring: Our private keys.
        recipient_entry: Our own entry, or None if this is done without a directory.

    Returns:
        The content by key id. Holding no key at all is an error, as is a part that does not open;
        there is no half-opened message.

    Raises:
        SuiteRefused: Step 1 or 2: suites are mixed.
        CannotOpen: Step 2 to 4, or we hold no key of any part.
    """
    content = envelope.content
    headers = [_part_header(part, content.suite) for part in content.parts]  # 1
    if recipient_entry is not None:
        _check_addressee(content, recipient_entry)  # 2
    # From the signed bytes and not from the model, so that a sender who writes a time or an id in
    # another permitted form has bound what that sender wrote.
    aad = b64u(digest_of_header(envelope.header, [part.to_key for part in content.parts]))
    opened: dict[KeyId, bytes] = {}
    for part, header in zip(content.parts, headers, strict=True):
        private = keyring.private(part.to_key)
        if private is not None:
            padded = open_part(part.jwe, header, private, aad=aad)  # 3
            opened[part.to_key] = _without_padding(padded)  # 4
    if not opened:
        raise CannotOpen("we hold no key of any part")
    return opened


def open_part(jwe: Jwe, header: dict[str, object], private: object, *, aad: str) -> bytes:
    """Open one part with its private key.

    Raises:
        CannotOpen: Another key, another header, or a changed bit; it is not said which.
    """
    try:
        cek = _unwrap(header, unb64u(jwe.encrypted_key), private)
        iv, tag = unb64u(jwe.iv), unb64u(jwe.tag)
        if len(cek) != CEK_BYTES or len(iv) != IV_BYTES or len(tag) != TAG_BYTES:
            raise CannotOpen
        associated = f"{jwe.protected}.{aad}".encode()
        return AESGCM(cek).decrypt(iv, unb64u(jwe.ciphertext) + tag, associated)
    except (InvalidTag, InvalidUnwrap, ValueError):
        raise CannotOpen from None


def open_access(part: Part, participant: str, user: str, keyring: Keyring) -> str:
    """The password of our own RabbitMQ user, as the hub hands it out.

    Raises:
        CannotOpen: It is not for us, not for this user, or we do not hold its key.
        SuiteRefused: Wrapped as no suite says.
    """
    try:
        alg = strict_json.parse_object(unb64u(part.jwe.protected), limit=_MAX_HEADER_BYTES)["alg"]
        suite = next(suite for suite, name in SEALING_ALG.items() if name == alg)
    except (BrokerError, KeyError, ValueError, StopIteration):
        raise CannotOpen("header") from None
    header = _part_header(part, suite)
    private = keyring.private(part.to_key)
    if private is None:
        raise CannotOpen("we do not hold the key")
    opened = open_part(part.jwe, header, private, aad=access_aad(participant, user))
    try:
        secret = strict_json.parse_object(opened, limit=_MAX_HEADER_BYTES)
    except BrokerError:
        raise CannotOpen("content") from None
    password = secret.get("password")
    if secret.keys() != {"password"} or not isinstance(password, str):
        raise CannotOpen("content")
    return password


def _part_header(part: Part, suite: int) -> dict[str, object]:
    """The part's protected header, which must say exactly what the envelope says."""
    try:
        header = strict_json.parse_object(
            unb64u(part.jwe.protected), limit=_MAX_HEADER_BYTES, depth=2
        )
    except (BrokerError, ValueError):
        raise CannotOpen("header") from None
    if header.get("alg") != sealing_alg(suite) or header.get("enc") != ENC:
        raise SuiteRefused("a part is not wrapped as its suite says")
    fresh = "ek" if suite == 1 else "epk"
    if header.keys() != {"alg", "enc", "kid", fresh} or header["kid"] != part.to_key:
        raise CannotOpen("header")
    return header


def _check_addressee(content: Envelope, entry: Participant) -> None:
    if entry.id != content.to:
        raise CannotOpen("for another participant")
    ours = {key.kid: key for key in entry.keys}
    for part in content.parts:
        key = ours.get(part.to_key)
        if key is not None and (key.use is not KeyUse.SEAL or key.suite != content.suite):
            raise SuiteRefused("a part is to a key of another use or suite")


def _unwrap(header: dict[str, object], wrapped: bytes, private: object) -> bytes:
    if header["alg"] == HPKE_9_KE and isinstance(private, MLKEM768X25519PrivateKey):
        ek = header["ek"]
        data = unb64u(ek) if isinstance(ek, str) else b""
        if len(data) != HPKE_EK_BYTES:
            raise CannotOpen
        return HPKE.decrypt(data + wrapped, private, HPKE_INFO)
    if header["alg"] == ECDH_ES_A256KW:
        peer = _ephemeral(header["epk"])
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return aes_key_unwrap(ecdh_kek(private.exchange(ec.ECDH(), peer)), wrapped)
        if isinstance(private, Exchange):
            return aes_key_unwrap(ecdh_kek(private.shared_secret(peer)), wrapped)
    raise CannotOpen("not a key of this suite")


def _ephemeral(epk: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(epk, dict) or not all(isinstance(value, str) for value in epk.values()):
        raise CannotOpen
    try:
        key = read_public_key(epk)  # refuses a point that is not on the curve
    except BrokerError:
        raise CannotOpen from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CannotOpen
    return key


def _without_padding(padded: bytes) -> bytes:
    content = padded.rstrip(b" ")
    if len(padded) not in BUCKETS or not (content.startswith(b"{") and content.endswith(b"}")):
        raise CannotOpen("padding")
    return content
