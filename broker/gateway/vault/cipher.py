"""AES-256-GCM as the vault uses it: random nonces, and each ciphertext bound to its row."""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import VaultTampered

KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
"""Of a key under another key."""
_LABEL = b"referral-broker/1 vault\n"


def aad_of(table: str, row: str, *owner: str) -> bytes:
    """Length-prefixed, so that no two rows share it."""
    parts = [part.encode() for part in (table, row, *owner)]
    return _LABEL + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def seal(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def unseal(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise VaultTampered("a ciphertext is too short")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)
    except InvalidTag:
        raise VaultTampered("a ciphertext does not belong to its row") from None
