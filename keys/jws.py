"""JWS (RFC 7515) with exactly one way to write it; who said it is `keys.signing`'s to judge.

A header has `alg`, `kid` and `typ`, all protected, and nothing else; the directory pins one `alg` to
each `kid`, so a message cannot choose how it is verified (RFC 8725, 3.1). The signed bytes are kept
as they came.

Written on `cryptography` and not on joserfc: the hub verifies every message here, joserfc caps
payloads at 128 000 bytes and tolerates other headers, and what is left is one concatenation and one
signature. The tests hold it against jwcrypto, joserfc and Node's jose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Protocol

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
from schemas.base import KeyId, b64u, unb64u
from schemas.directory import PublishedKey
from schemas.errors import BadSignature, MalformedJson, SchemaRefused

MAX_STATEMENT_BYTES = 256 * 1024
"""Of evidence, grant statements, agreements and suspensions. 256 facts take 80 KiB."""
MAX_HEADER_BYTES = 512
_SIGNATURE_BYTES = 64  # Ed25519 (RFC 8032), and r and s of ES256 (RFC 7518, 3.4)
_HEADER = {"alg", "kid", "typ"}


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


def signature_object(body: bytes, *, typ: str, signer: Signer) -> bytes:
    """One signature of a general JWS, over a payload that is base64url already."""
    protected = _protected(typ, signer)
    signature = b64u(signer.sign(protected + b"." + body)).encode()
    return b'{"protected":"%b","signature":"%b"}' % (protected, signature)


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


def parse_general(raw: bytes, *, typ: str) -> tuple[bytes, list[ParsedJws]]:
    """Parse a general JWS with one signature or two, each over the same payload; as base64url, too.

    Raises:
        TooLarge, MalformedJson, SchemaRefused, BadSignature: See `parse_jws`.
    """
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
        found.append(_parsed(raw, entry["protected"], payload, entry["signature"], typ))
    strict_json.parse_object(found[0].payload, limit=MAX_STATEMENT_BYTES)
    return payload.encode(), found


def check_signature(published: PublishedKey, data: bytes, signature: bytes) -> None:
    """Check one signature by a published key over bytes; nothing else about the key is checked.

    Raises:
        BadSignature: It is not this key's signature over these bytes.
    """
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


# --- Inside ------------------------------------------------------------------------------


def _protected(typ: str, signer: Signer) -> bytes:
    header = f'{{"alg":"{signer.alg}","kid":"{signer.kid}","typ":"{typ}"}}'
    return b64u(header.encode()).encode()


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


def _bad_signature() -> NoReturn:
    raise BadSignature from None
