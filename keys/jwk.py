"""Keys as JSON (RFC 7517) and as objects of `cryptography`, both ways, nothing tolerated.

Four kinds exist, and each has exactly the members below; any other member is refused, so that a
private member can never slip into a public key:

* `OKP` Ed25519 (RFC 8037): signing, suite 1.
* `AKP` HPKE-9-KE (RFC 9964, draft-ietf-jose-hpke-pq-pqt): sealing, suite 1. `pub` is the ML-KEM-768
  public key (1184 bytes) followed by the X25519 one (32); `priv` is the 32-byte seed of both.
* `EC` P-256: signing, and a separate key for sealing, suite 2.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from schemas.base import KeyId, b64u, unb64u
from schemas.errors import SchemaRefused

ED25519 = "Ed25519"
ES256 = "ES256"
HPKE_9_KE = "HPKE-9-KE"
ECDH_ES_A256KW = "ECDH-ES+A256KW"

SIGNING_ALG = {1: ED25519, 2: ES256}
"""The signature algorithm of each suite."""
SEALING_ALG = {1: HPKE_9_KE, 2: ECDH_ES_A256KW}
"""The key wrapping of each suite."""

MLKEM_PUBLIC_BYTES = 1184
SEED_BYTES = 32

SigningPrivate = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
SigningPublic = Ed25519PublicKey | ec.EllipticCurvePublicKey
SealingPrivate = MLKEM768X25519PrivateKey | ec.EllipticCurvePrivateKey
SealingPublic = MLKEM768X25519PublicKey | ec.EllipticCurvePublicKey
AnyPrivate = SigningPrivate | SealingPrivate
AnyPublic = SigningPublic | SealingPublic

_PUBLIC_MEMBERS = {
    "OKP": ("crv", "kty", "x"),
    "EC": ("crv", "kty", "x", "y"),
    "AKP": ("alg", "kty", "pub"),
}
_PRIVATE_MEMBER = {"OKP": "d", "EC": "d", "AKP": "priv"}


def thumbprint(jwk: Mapping[str, str]) -> KeyId:
    """The key's id: RFC 7638 thumbprint with SHA-256 (for `AKP`: RFC 9964, section 6).

    Private members do not count, so both halves of a key have one id.

    Raises:
        SchemaRefused: Not one of the kinds of key above.
    """
    public = _public_members(jwk)
    # The members stand in lexicographic order, and none of them can need an escape.
    text = ",".join(f'"{name}":"{value}"' for name, value in public.items())
    return b64u(hashlib.sha256(b"{" + text.encode() + b"}").digest())


def public_key(jwk: Mapping[str, str]) -> AnyPublic:
    """The public key that a public JWK stands for. Cached: the result depends on the JWK alone.

    Raises:
        SchemaRefused: A member is missing, unknown or malformed, or the point is not on the curve.
    """
    return _cached_public_key(tuple(sorted(jwk.items())))


@lru_cache(maxsize=4096)
def _cached_public_key(members: tuple[tuple[str, str], ...]) -> AnyPublic:
    return read_public_key(dict(members))


def read_public_key(jwk: Mapping[str, str]) -> AnyPublic:
    """The same without the cache: for keys that are seen once, as ephemeral ones."""
    if jwk.keys() != _public_members(jwk).keys():
        raise SchemaRefused(where=("jwk: members",))
    try:
        match jwk["kty"]:
            case "OKP":
                return Ed25519PublicKey.from_public_bytes(unb64u(jwk["x"]))
            case "EC":
                return _point(jwk).public_key()
            case _:
                return _hybrid_public(unb64u(jwk["pub"]))
    except ValueError:
        raise SchemaRefused(where=("jwk: value",)) from None


def private_key(jwk: Mapping[str, str]) -> AnyPrivate:
    """The private key that a private JWK stands for; its public members must belong to it.

    Raises:
        SchemaRefused: A member is missing, unknown or malformed, or the halves do not match.
    """
    public = _public_members(jwk)
    secret_name = _PRIVATE_MEMBER[jwk["kty"]]
    if jwk.keys() != {*public, secret_name}:
        raise SchemaRefused(where=("jwk: members",))
    key: AnyPrivate
    try:
        secret = unb64u(jwk[secret_name])
        match jwk["kty"]:
            case "OKP":
                key = Ed25519PrivateKey.from_private_bytes(secret)
            case "EC":
                number = int.from_bytes(secret, "big")
                key = ec.EllipticCurvePrivateNumbers(number, _point(jwk)).private_key()
            case _:
                key = hybrid_private(secret)
    except ValueError:
        raise SchemaRefused(where=("jwk: value",)) from None
    if private_jwk_public_half(key, secret) != public:
        raise SchemaRefused(where=("jwk: halves do not match",))
    return key


def public_jwk(key: AnyPublic) -> dict[str, str]:
    """Write a public key (other than the hybrid, whose object keeps its parts to itself).

    Raises:
        SchemaRefused: Not a key of a kind above.
    """
    if isinstance(key, Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": b64u(key.public_bytes_raw())}
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        numbers = key.public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return {"crv": "P-256", "kty": "EC", "x": b64u(x), "y": b64u(y)}
    raise SchemaRefused(where=("jwk: kind",))


def private_jwk_public_half(key: AnyPrivate, seed: bytes) -> dict[str, str]:
    """The public members that belong to a private key; `seed` is used for the hybrid only."""
    if isinstance(key, MLKEM768X25519PrivateKey):
        mlkem, x25519 = _halves(seed)
        pub = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        return {"alg": HPKE_9_KE, "kty": "AKP", "pub": b64u(pub)}
    return public_jwk(key.public_key())


def generate(alg: str) -> dict[str, str]:
    """Make a new private JWK for an algorithm of a suite.

    Raises:
        SchemaRefused: No suite has this algorithm.
    """
    key: AnyPrivate
    if alg == ED25519:
        key = Ed25519PrivateKey.generate()
        return {**public_jwk(key.public_key()), "d": b64u(key.private_bytes_raw())}
    if alg == HPKE_9_KE:
        seed = secrets.token_bytes(SEED_BYTES)
        return {**private_jwk_public_half(hybrid_private(seed), seed), "priv": b64u(seed)}
    if alg in (ES256, ECDH_ES_A256KW):
        key = ec.generate_private_key(ec.SECP256R1())
        number = key.private_numbers().private_value.to_bytes(32, "big")
        return {**public_jwk(key.public_key()), "d": b64u(number)}
    raise SchemaRefused(where=("alg: unknown",))


def public_half(jwk: Mapping[str, str]) -> dict[str, str]:
    """Only the public members of a JWK."""
    return _public_members(jwk)


def fits(jwk: Mapping[str, str], alg: str) -> bool:
    """True if a key of this kind can be used with this algorithm."""
    kind = {ED25519: "OKP", ES256: "EC", ECDH_ES_A256KW: "EC", HPKE_9_KE: "AKP"}.get(alg)
    return kind is not None and jwk.get("kty") == kind


def hybrid_private(seed: bytes) -> MLKEM768X25519PrivateKey:
    """Expand the 32-byte seed of a hybrid key (X-Wing, draft-connolly-cfrg-xwing-kem, 5.2)."""
    return MLKEM768X25519PrivateKey(*_halves(seed))


def _halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(seed) != SEED_BYTES:
        raise ValueError("a hybrid seed has 32 bytes")
    expanded = hashlib.shake_256(seed).digest(96)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def _hybrid_public(data: bytes) -> MLKEM768X25519PublicKey:
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(data[:MLKEM_PUBLIC_BYTES]),
        X25519PublicKey.from_public_bytes(data[MLKEM_PUBLIC_BYTES:]),
    )


def _point(jwk: Mapping[str, str]) -> ec.EllipticCurvePublicNumbers:
    x, y = unb64u(jwk["x"]), unb64u(jwk["y"])
    if len(x) != 32 or len(y) != 32:  # RFC 7518, 6.2.1.2: always the curve's full length
        raise ValueError("a P-256 coordinate has 32 bytes")
    numbers = int.from_bytes(x, "big"), int.from_bytes(y, "big")
    return ec.EllipticCurvePublicNumbers(*numbers, ec.SECP256R1())


def _public_members(jwk: Mapping[str, str]) -> dict[str, str]:
    names = _PUBLIC_MEMBERS.get(jwk.get("kty", ""))
    if names is None or any(name not in jwk for name in names):
        raise SchemaRefused(where=("jwk: members",))
    curve_fits = {"OKP": "Ed25519", "EC": "P-256"}.get(jwk["kty"]) == jwk.get("crv")
    if jwk.get("alg", HPKE_9_KE) != HPKE_9_KE or not (curve_fits or jwk["kty"] == "AKP"):
        raise SchemaRefused(where=("jwk: curve or algorithm",))
    for name in names:
        if name in ("x", "y", "pub"):
            try:
                unb64u(jwk[name])
            except ValueError:
                raise SchemaRefused(where=(f"jwk.{name}: base64url",)) from None
    return {name: jwk[name] for name in names}
