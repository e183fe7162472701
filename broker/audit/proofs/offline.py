"""What the offline verifier reads with: strict JSON, base64url, leaves, keys, signatures.

Written again here, on the standard library and `cryptography` alone, so that the verifier shares
no parser with the code that it checks. A test compares the two.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

LEAF_LABEL = b"referral-broker/1 leaf\n"
_B64U = re.compile(r"[A-Za-z0-9_-]*")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_EVENT = re.compile(r"[a-z-]{1,40}:[a-z-]{1,40}")


class Failed(Exception):
    """A check does not pass; says why, and never what about."""


@dataclass(frozen=True)
class TrustedKey:
    """A participant's public key as the reader's own directory gives it."""

    participant: str
    alg: str
    jwk: Mapping[str, str]


@dataclass(frozen=True)
class LeafRead:
    event: str
    time: str
    commitment: bytes


def read_leaf(data: bytes) -> LeafRead:
    leaf = object_of(strict_json(data), "leaf")
    if leaf.keys() != {"v", "event", "time", "commitment"} or leaf["v"] != 1:
        raise Failed("not a leaf of version 1")
    # All its text is ASCII, so this is its RFC 8785 form.
    if json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode() != data:
        raise Failed("the leaf is not in its canonical form")
    event, time = text_of(leaf["event"], "event"), text_of(leaf["time"], "time")
    commitment = unb64u(text_of(leaf["commitment"], "commitment"))
    if not _EVENT.fullmatch(event) or not _INSTANT.fullmatch(time) or len(commitment) != 32:
        raise Failed("the leaf holds something else than an event, a time and a commitment")
    return LeafRead(event, time, commitment)


def verify_signature(key: TrustedKey, signature: bytes, signed: bytes) -> None:
    try:
        if key.alg == "Ed25519" and key.jwk.get("crv") == "Ed25519":
            public = Ed25519PublicKey.from_public_bytes(unb64u(key.jwk["x"]))
            public.verify(signature, signed)
            return
        if key.alg == "ES256" and key.jwk.get("crv") == "P-256" and len(signature) == 64:
            x, y = (int.from_bytes(unb64u(key.jwk[name]), "big") for name in ("x", "y"))
            numbers = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            der = utils.encode_dss_signature(r, s)
            numbers.public_key().verify(der, signed, ec.ECDSA(SHA256()))
            return
    except (InvalidSignature, ValueError, KeyError):
        raise Failed("the signature does not verify") from None
    raise Failed("not a key or signature of a kind that signs evidence")


def thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638: the required members alone, sorted."""
    required = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y")}
    names = required.get(jwk.get("kty", ""), ())
    if not names or any(name not in jwk for name in names):
        raise Failed("not a public signing key")
    text = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def strict_json(data: bytes) -> object:
    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("duplicate member")
        return found

    def refuse(_: str) -> object:
        raise ValueError("not a number of JSON")

    try:
        parsed: object = json.loads(
            data.decode(), object_pairs_hook=members, parse_constant=refuse, parse_float=refuse
        )
    except (ValueError, RecursionError):
        raise Failed("not strict JSON") from None
    return parsed


def unb64u(text: str) -> bytes:
    try:
        if not _B64U.fullmatch(text):
            raise ValueError
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Failed("not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise Failed("base64url is not canonical")
    return data


def text_of(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise Failed(f"{name} is not text")
    return value


def object_of(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Failed(f"{name} is not an object")
    return value


def list_of(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise Failed(f"{name} is not a list")
    return value
