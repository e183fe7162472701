"""An envelope has one form: whatever is written otherwise is refused or suspect, before anybody is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from keys.jws import (
    MAX_STATEMENT_BYTES,
)
from keys.signing import (
    parse_envelope,
    verify_evidence,
)
from schemas.base import b64u
from schemas.envelope import MAX_ENVELOPE_BYTES
from schemas.errors import (
    BadSignature,
    BrokerError,
    MalformedJson,
    SchemaRefused,
    SuiteRefused,
    TooLarge,
    VersionRefused,
)
from schemas.evidence import EVIDENCE_TYP
from tests.support.jose import header_of, jws, payload_of
from tests.support.parties import NOW, Party, directory_of

LIMIT = 10_000


HEADER_TRICKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "alg none": lambda h: {**h, "alg": "none"},
    "alg of a MAC": lambda h: {**h, "alg": "HS256"},
    "alg polymorphic": lambda h: {**h, "alg": "EdDSA"},
    "alg in another case": lambda h: {**h, "alg": "ED25519"},
    "alg not text": lambda h: {**h, "alg": ["Ed25519"]},
    "no alg": lambda h: {k: v for k, v in h.items() if k != "alg"},
    "no kid": lambda h: {k: v for k, v in h.items() if k != "kid"},
    "kid not a thumbprint": lambda h: {**h, "kid": "../../etc/passwd"},
    "kid not text": lambda h: {**h, "kid": 1},
    "no typ": lambda h: {k: v for k, v in h.items() if k != "typ"},
    "typ of evidence": lambda h: {**h, "typ": EVIDENCE_TYP},
    "typ of a JWT": lambda h: {**h, "typ": "JWT"},
    "crit": lambda h: {**h, "crit": ["exp"], "exp": 1},
    "crit, empty": lambda h: {**h, "crit": []},
    "b64": lambda h: {**h, "b64": False, "crit": ["b64"]},
    "jwk": lambda h: {**h, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}},
    "jku": lambda h: {**h, "jku": "https://evil.example/keys"},
    "x5u": lambda h: {**h, "x5u": "https://evil.example/cert"},
    "x5c": lambda h: {**h, "x5c": ["AAAA"]},
    "x5t": lambda h: {**h, "x5t#S256": "AAAA"},
    "cty": lambda h: {**h, "cty": "json"},
}


@pytest.mark.parametrize("trick", HEADER_TRICKS.values(), ids=HEADER_TRICKS.keys())
def test_a_header_that_plays_tricks_is_suspect(
    trick: Callable[[dict[str, Any]], dict[str, Any]], envelope: bytes, italy: Party
) -> None:
    forged = jws(payload_of(envelope), italy.signer(), protected=trick(header_of(envelope)))
    with pytest.raises(BadSignature):
        parse_envelope(forged)


@pytest.mark.parametrize("name", ["crit", "jwk", "jku", "x5u", "x5c", "kid"])
def test_an_unprotected_header_is_suspect(name: str, envelope: bytes, italy: Party) -> None:
    forged = jws(payload_of(envelope), italy.signer(), extra={"header": {name: "A"}})
    with pytest.raises(BadSignature):
        parse_envelope(forged)


def test_a_stripped_signature_is_suspect(envelope: bytes) -> None:
    document = json.loads(envelope)
    for missing in ({"signature": ""}, {}):
        stripped = {"payload": document["payload"], "protected": document["protected"], **missing}
        with pytest.raises(BadSignature):
            parse_envelope(json.dumps(stripped).encode())


def test_other_forms_of_a_jws_are_refused(envelope: bytes) -> None:
    document = json.loads(envelope)
    compact = f"{document['protected']}.{document['payload']}.{document['signature']}"
    with pytest.raises(MalformedJson):
        parse_envelope(compact.encode())
    general = {
        "payload": document["payload"],
        "signatures": [{k: document[k] for k in ("protected", "signature")}],
    }
    with pytest.raises(BrokerError):
        parse_envelope(json.dumps(general).encode())
    with pytest.raises(SchemaRefused):
        parse_envelope(json.dumps({**document, "more": "x"}).encode())
    with pytest.raises(SchemaRefused):
        parse_envelope(json.dumps({**document, "payload": 1}).encode())


def test_duplicate_members_are_refused_outside_in_the_header_and_inside(
    envelope: bytes, italy: Party
) -> None:
    outside = envelope[:-1] + b',"payload":"e30"}'
    payload = json.dumps(payload_of(envelope)).encode()
    inside = jws(payload[:-1] + b',"to":"xx.evil"}', italy.signer())
    header = json.dumps(header_of(envelope))[:-1] + ',"kid":"' + "A" * 43 + '"}'
    document = json.loads(envelope)
    for forged in (
        outside,
        inside,
        json.dumps({**document, "protected": b64u(header.encode())}).encode(),
    ):
        with pytest.raises(MalformedJson):
            parse_envelope(forged)


@pytest.mark.parametrize("member", ["payload", "protected", "signature"])
@pytest.mark.parametrize("change", ["padding", "newline", "standard alphabet", "trailing bits"])
def test_base64url_has_one_form(member: str, change: str, envelope: bytes) -> None:
    document = json.loads(envelope)
    text: str = document[member]
    if change == "trailing bits":
        if len(text) % 4 == 0:
            text += "AB"  # one byte more, with bits left over
        else:
            text = text[:-1] + chr(ord(text[-1]) + 1)
    else:
        text += {"padding": "=", "newline": "\n", "standard alphabet": "+/+/"}[change]
    with pytest.raises(MalformedJson):
        parse_envelope(json.dumps({**document, member: text}).encode())


def test_too_large_is_said_before_anything_is_read() -> None:
    with pytest.raises(TooLarge):
        parse_envelope(b"\xff" * (MAX_ENVELOPE_BYTES + 1))
    with pytest.raises(TooLarge):
        verify_evidence(b"\xff" * (MAX_STATEMENT_BYTES + 1), directory_of(), now=NOW)


def test_a_newer_version_or_suite_is_named_as_such(envelope: bytes, italy: Party) -> None:
    payload = payload_of(envelope)
    with pytest.raises(VersionRefused):
        parse_envelope(jws({**payload, "version": 2, "news": 1}, italy.signer()))
    with pytest.raises(SuiteRefused):
        parse_envelope(jws({**payload, "suite": 3}, italy.signer()))
    for suite in (True, "1", 1.0, None, [1]):
        with pytest.raises((SchemaRefused, SuiteRefused)):
            parse_envelope(jws({**payload, "suite": suite}, italy.signer()))


def test_an_unknown_or_missing_field_is_refused(envelope: bytes, italy: Party) -> None:
    payload = payload_of(envelope)
    with pytest.raises(SchemaRefused) as refusal:
        parse_envelope(jws({**payload, "Mario Rossi": 1}, italy.signer()))
    assert "Mario" not in str(refusal.value)
    for name in payload.keys() - {"version"}:
        with pytest.raises(SchemaRefused):
            parse_envelope(jws({k: v for k, v in payload.items() if k != name}, italy.signer()))
