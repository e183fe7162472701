"""What an attacker's tools can do: take a JWS apart, change anything, sign it again."""

from __future__ import annotations

import json
from typing import Any

from keys.jws import Signer
from schemas.base import b64u, unb64u
from schemas.envelope import ENVELOPE_TYP


def payload_of(raw: bytes) -> dict[str, Any]:
    """The signed JSON of a flattened JWS."""
    value: dict[str, Any] = json.loads(unb64u(json.loads(raw)["payload"]))
    return value


def header_of(raw: bytes) -> dict[str, Any]:
    """The protected header of a flattened JWS."""
    value: dict[str, Any] = json.loads(unb64u(json.loads(raw)["protected"]))
    return value


def jws(
    payload: dict[str, Any] | bytes,
    signer: Signer,
    *,
    typ: str = ENVELOPE_TYP,
    protected: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """Sign anything under any header, with any further members beside."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    header = {"alg": signer.alg, "kid": signer.kid, "typ": typ} if protected is None else protected
    first, second = b64u(json.dumps(header).encode()), b64u(data)
    signature = b64u(signer.sign(f"{first}.{second}".encode()))
    document = {"payload": second, "protected": first, "signature": signature, **(extra or {})}
    return json.dumps(document).encode()
