"""Request signatures: who is asking. RFC 9421 in one profile (`docs/protocol.md`, section 6).

Label `sig1`; covered are exactly `@method`, `@target-uri` and, when there is a body, `content-digest`
(RFC 9530, SHA-256). Parameters: `created`, `nonce`, `keyid`, `alg`, `tag`. The grammar is
http-message-signatures' business; which key, which algorithm, which age and which parts, ours.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
    InvalidSignature,
)

from keys.jwk import ED25519, ES256
from keys.jws import Signer, check_signature
from schemas.base import KeyId, b64u
from schemas.directory import KeyUse, Participant, PublishedKey, TrustedDirectory
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import BadSignature, KeyRevoked, Unauthenticated

LABEL = "sig1"
TAG = "referral-broker"
SKEW = timedelta(seconds=MAX_SKEW_SECONDS)
_WANTED = ("signature", "signature-input", "content-digest")
_WITHOUT_BODY = ("@method", "@target-uri")
_WITH_BODY = (*_WITHOUT_BODY, "content-digest")
_KEY_ID = re.compile(r';keyid="([A-Za-z0-9_-]{43})"')
_PARAMETERS = {"created", "nonce", "keyid", "alg", "tag"}


class Nonces:
    """Remembers the nonces of the last twenty minutes, so that a request counts once per process.

    Bounded: the oldest go first. Safe to use from several threads.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[KeyId, str], datetime] = OrderedDict()

    def remember(self, kid: KeyId, nonce: str, now: datetime) -> bool:
        """True if this key has not used this nonce before."""
        with self._lock:
            while self._seen and (
                len(self._seen) >= self._capacity
                or next(iter(self._seen.values())) < now - 2 * SKEW
            ):
                self._seen.popitem(last=False)
            if (kid, nonce) in self._seen:
                return False
            self._seen[kid, nonce] = now
            return True


def sign_request(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    signer: Signer,
    now: datetime,
) -> dict[str, str]:
    """Sign a request.

    Args:
        method: As sent.
        url: The absolute target URI, with its query, as the hub is known to the outside.
        headers: Those of the request; none of them is covered, and none is changed.
        body: The whole body; empty if there is none, or if it is streamed to a URL that carries its
            digest (attachments).
        signer: One of our signing keys.
        now: Becomes `created`.

    Returns:
        The headers to add: `signature`, `signature-input`, and with a body `content-digest`.
    """
    message = _Message(method, url, {})
    library = HTTPMessageSigner(
        signature_algorithm=_ALGORITHMS[signer.alg], key_resolver=_OurKey(signer)
    )
    library.sign(
        message,
        key_id=signer.kid,
        created=now,
        nonce=b64u(secrets.token_bytes(16)),
        label=LABEL,
        tag=TAG,
        covered_component_ids=_WITHOUT_BODY,
        body=body or None,
    )
    return {name.lower(): value for name, value in message.headers.items()}


def verify_request(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    directory: TrustedDirectory,
    now: datetime,
    nonces: Nonces | None = None,
) -> Participant:
    """Say whose request this is.

    1. There is one signature, with our label and tag, and its key is in the directory.
    2. It is a signing key and may verify at `now`.
    3. `created` is at most ten minutes off, either way.
    4. Exactly the method, the target and, with a body, its digest are covered.
    5. The signature is right, and the digest is that of the body.
    6. The nonce is new, if there is a memory to ask.

    Returns:
        The participant. Whether it is suspended, and may ask this, is for the caller.

    Raises:
        KeyRevoked: Step 2, retired or compromised: the participant is known, and may be told.
        Unauthenticated: Anything else; nothing more is said.
    """
    fields = _signature_fields(headers)
    entry = directory.key(_named_key(fields))
    if entry is None:  # 1
        raise Unauthenticated
    owner, published = entry
    if published.use is not KeyUse.SIGN or published.alg not in _ALGORITHMS:
        raise Unauthenticated
    if not published.may_verify(now):  # 2
        raise KeyRevoked(f"key {published.kid}")
    _verify(_Message(method, url, fields), body, published, now, nonces)
    return owner


def verify_request_by(
    keys: Mapping[KeyId, PublishedKey],
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    nonces: Nonces | None = None,
) -> KeyId:
    """The same for somebody whom no directory knows, as a country's own case system.

    Args:
        keys: The keys that were registered by hand.

    Returns:
        The key that signed it.

    Raises:
        Unauthenticated: Steps 1 and 3 to 6 of `verify_request`; nothing more is said.
    """
    fields = _signature_fields(headers)
    published = keys.get(_named_key(fields))
    if published is None or published.alg not in _ALGORITHMS or not published.may_verify(now):
        raise Unauthenticated
    _verify(_Message(method, url, fields), body, published, now, nonces)
    return published.kid


def _named_key(fields: Mapping[str, str]) -> KeyId:
    found = _KEY_ID.search(fields.get("signature-input", ""))
    return found[1] if found else ""


def _verify(
    message: _Message,
    body: bytes,
    published: PublishedKey,
    now: datetime,
    nonces: Nonces | None,
) -> None:
    """Steps 3 to 6."""
    verifier = _Verifier(now, published)
    covered = _WITH_BODY if body else _WITHOUT_BODY
    try:
        (result,) = verifier.verify(
            message,
            max_age=SKEW,
            expect_tag=TAG,
            expect_label=LABEL,
            require_components=covered,
            body=body or None,
        )
    except (HTTPMessageSignaturesException, BadSignature, ValueError):
        raise Unauthenticated from None
    names = {f'"{name}"' for name in (*covered, "@signature-params")}
    if result.covered_components.keys() != names or result.parameters.keys() != _PARAMETERS:  # 4
        raise Unauthenticated
    nonce = str(result.parameters["nonce"])
    if nonces is not None and not nonces.remember(published.kid, nonce, now):  # 6
        raise Unauthenticated("repeated")


@dataclass(slots=True)
class _Message:
    """What the library wants to see of a request; only the headers that matter."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


def _signature_fields(headers: Mapping[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers.items():
        if (lower := name.lower()) in _WANTED:
            if lower in fields:  # a framework's multi-mapping yields a repeated header twice
                raise Unauthenticated
            fields[lower] = value
    return fields


class _Ed25519(HTTPSignatureAlgorithm):
    """Signs through our `Signer`, verifies through `keys.signing`."""

    algorithm_id = "ed25519"

    def __init__(
        self, public_key: PublishedKey | None = None, private_key: Signer | None = None
    ) -> None:
        self._published = public_key
        self._signer = private_key

    def sign(self, message: bytes) -> bytes:
        if self._signer is None:
            raise InvalidSignature("no private key")
        return self._signer.sign(message)

    def verify(self, signature: bytes, message: bytes) -> None:
        if self._published is None:
            raise InvalidSignature("no public key")
        check_signature(self._published, message, signature)


class _Es256(_Ed25519):
    algorithm_id = "ecdsa-p256-sha256"


_ALGORITHMS: dict[str, type[_Ed25519]] = {ED25519: _Ed25519, ES256: _Es256}


class _OurKey(HTTPSignatureKeyResolver):
    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def resolve_private_key(self, key_id: str) -> Signer:
        return self._signer


class _ThisKey(HTTPSignatureKeyResolver):
    """Knows one key. Another `keyid` than the one that was looked up therefore fails."""

    def __init__(self, published: PublishedKey) -> None:
        self._published = published

    def resolve_public_key(self, key_id: str) -> PublishedKey | None:
        return self._published if key_id == self._published.kid else None


class _Verifier(HTTPMessageVerifier):
    """The library's verifier with time as a parameter."""

    def __init__(self, now: datetime, published: PublishedKey) -> None:
        super().__init__(
            signature_algorithm=_ALGORITHMS[published.alg], key_resolver=_ThisKey(published)
        )
        self._now = now

    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        parameters = getattr(sig_input, "params", {})
        created = parameters.get("created")
        # Compared as numbers: a huge one is no date.
        if (
            not isinstance(created, int)
            or abs(created - self._now.timestamp()) > SKEW.total_seconds()
        ):
            raise InvalidSignature("created")  # 3
