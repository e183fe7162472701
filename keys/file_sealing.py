"""Files that lie on a country's own server: sealed with one key that the country's system has too.

JWE in its compact form (RFC 7516), `alg` `dir`, `enc` `A256GCM`, a fresh nonce for each file: any
JOSE library opens it with the 256-bit `oct` key. Nothing between participants is sealed so. The
key is the country's alone; it does not say who sealed a file, only that somebody who has it did.

Custody keeps one ring of such keys, the newest first: that one seals, and what lies there from
before a rotation opens still, until the older ones are dropped.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.base import b64u, unb64u
from schemas.errors import CannotOpen, SchemaRefused

KEY_BYTES = 32
TYP = "referral-file+jwe"
_NONCE_BYTES = 12
_TAG_BYTES = 16


def new_file_key() -> bytes:
    """A key for the files of one country."""
    return secrets.token_bytes(KEY_BYTES)


def keys_of(ring: bytes) -> tuple[bytes, ...]:
    """The keys of a ring, the newest first.

    Raises:
        SchemaRefused: It is no ring.
    """
    if not ring or len(ring) % KEY_BYTES:
        raise SchemaRefused("a ring of file keys has 256 bits for each")
    return tuple(ring[at : at + KEY_BYTES] for at in range(0, len(ring), KEY_BYTES))


def file_key_jwk(key: bytes) -> dict[str, str]:
    """The key as the country's own system is given it (RFC 7518, 6.4)."""
    return {"alg": "dir", "enc": "A256GCM", "k": b64u(key), "kid": _kid(key), "kty": "oct"}


def seal_file(content: bytes, key: bytes) -> bytes:
    """The sealed file."""
    header = _header(key)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(_checked(key)).encrypt(nonce, content, header.encode())
    ciphertext, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
    return ".".join((header, "", b64u(nonce), b64u(ciphertext), b64u(tag))).encode()


def open_file(data: bytes, key: bytes) -> bytes:
    """The content of a sealed file.

    Raises:
        CannotOpen: Another key, another kind of file, changed or cut off.
    """
    try:
        header, encrypted_key, nonce, ciphertext, tag = data.decode("ascii").strip().split(".")
        protected = json.loads(unb64u(header))
        # The key decides how it is opened; the header may only agree.
        if encrypted_key or protected.get("alg") != "dir" or protected.get("enc") != "A256GCM":
            raise CannotOpen
        if protected.keys() - {"alg", "enc", "kid", "typ"} or len(unb64u(nonce)) != _NONCE_BYTES:
            raise CannotOpen
        if len(unb64u(tag)) != _TAG_BYTES:
            raise CannotOpen
        sealed = unb64u(ciphertext) + unb64u(tag)
        return AESGCM(_checked(key)).decrypt(unb64u(nonce), sealed, header.encode())
    except (ValueError, AttributeError, RecursionError, InvalidTag):
        raise CannotOpen from None


def open_with_any(data: bytes, keys: Sequence[bytes]) -> bytes:
    """The content of a file that was sealed with one of several keys.

    Raises:
        CannotOpen: With none of them; see `open_file`.
    """
    # Most say which; a header can lie about it, and then the key does not open.
    named = [key for key in keys if _kid(key).encode() in _header_text(data)] or keys
    for key in named:
        try:
            return open_file(data, key)
        except CannotOpen:
            continue
    raise CannotOpen


def _header_text(data: bytes) -> bytes:
    try:
        return unb64u(data[:4096].decode("ascii").strip().partition(".")[0])
    except ValueError:
        return b""


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise SchemaRefused("a file key has 256 bits")
    return key


def _header(key: bytes) -> str:
    members = {"alg": "dir", "enc": "A256GCM", "kid": _kid(key), "typ": TYP}
    return b64u(json.dumps(members, separators=(",", ":")).encode())


def _kid(key: bytes) -> str:
    """RFC 7638: names the key and says nothing about it."""
    return b64u(hashlib.sha256(f'{{"k":"{b64u(key)}","kty":"oct"}}'.encode()).digest())
