"""What Node's jose and hpke wrote is opened here, and by jwcrypto; both say what Node said."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from keys import jwk, strict_json
from keys.binding import digest_of_header
from keys.signing import parse_envelope, verify_envelope
from keys.trust import insecure_directory
from keys.unsealing import unseal_envelope
from schemas.base import b64u
from schemas.directory import Participant
from schemas.errors import BadSignature, CannotOpen, MalformedJson, Refused

KEPT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "interop.json").read_text(encoding="utf-8")
)
NOW = datetime.fromisoformat(KEPT["now"])
BOTH = pytest.mark.parametrize("kept", KEPT["envelopes"], ids=lambda one: f"suite {one['suite']}")


class Keys:
    """The recipient's keys of the file."""

    def private(self, kid: str) -> object | None:
        found = KEPT["insecure_recipient_keys"].get(kid)
        return jwk.private_key(found) if found else None


def entries() -> list[Participant]:
    return [Participant.from_json(json.dumps(entry)) for entry in KEPT["participants"]]


def open_(raw: bytes) -> str:
    directory = insecure_directory(entries(), NOW)
    verified = verify_envelope(parse_envelope(raw), directory, now=NOW)
    (opened,) = unseal_envelope(verified, Keys(), directory.participant("it.nrm")).values()
    return opened.decode()


@BOTH
def test_what_node_wrote_opens_here(kept: dict[str, Any]) -> None:
    assert open_(kept["envelope"].encode()) == KEPT["plaintext"]


@BOTH
def test_jwcrypto_verifies_the_signature_of_node(kept: dict[str, Any]) -> None:
    sealed = parse_envelope(kept["envelope"].encode())
    (public,) = [k.jwk for one in entries() for k in one.keys if k.kid == sealed.signed_by]
    jws = JWS()
    jws.allowed_algs = ["EdDSA", "Ed25519", "ES256"]
    jws.deserialize(kept["envelope"], JWK(**public))
    assert jws.payload == sealed.payload


def test_jwcrypto_opens_the_seal_of_node_in_suite_2() -> None:
    (kept,) = [one for one in KEPT["envelopes"] if one["suite"] == 2]
    sealed = parse_envelope(kept["envelope"].encode())
    header: dict[str, Any] = dict(strict_json.parse_object(sealed.payload, limit=1024 * 1024))
    (part,) = header.pop("parts")
    aad = b64u(digest_of_header(header, [part["to_key"]]))
    secret = JWK(**KEPT["insecure_recipient_keys"][part["to_key"]])
    jwe = JWE(algs=["ECDH-ES+A256KW", "A256GCM"])
    jwe.deserialize(json.dumps({**part["jwe"], "aad": aad}), secret)
    assert jwe.payload.decode().rstrip(" ") == KEPT["plaintext"]


@BOTH
@pytest.mark.parametrize("share", range(8))
def test_a_bit_flipped_anywhere_in_it_is_refused_or_suspect(
    kept: dict[str, Any], share: int
) -> None:
    raw = kept["envelope"].encode()
    for place in range(share * 7, len(raw), 331):
        changed = bytearray(raw)
        changed[place] ^= 1 << share
        with pytest.raises((Refused, BadSignature, CannotOpen, MalformedJson)):
            open_(bytes(changed))
