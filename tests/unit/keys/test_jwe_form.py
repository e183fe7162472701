"""The JWE of a part has one form: a header that plays tricks, a malformed key or a changed bit opens nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import jwk, sealing
from keys.binding import digest_of_header
from keys.sealing import pad, seal_part
from schemas.base import b64u, unb64u
from schemas.errors import (
    CannotOpen,
    SuiteRefused,
)
from tests.support.jose import payload_of
from tests.support.parties import Party
from tests.support.sealed import Only, open_, seal

EPK = {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}


def with_header(payload: dict[str, Any], change: Any) -> dict[str, Any]:
    forged: dict[str, Any] = json.loads(json.dumps(payload))
    jwe = forged["parts"][0]["jwe"]
    header = change(json.loads(unb64u(jwe["protected"])))
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    jwe["protected"] = b64u(data)
    return forged


CANNOT_OPEN: dict[str, Any] = {
    "crit": lambda h: {**h, "crit": ["b64"]},
    "zip": lambda h: {**h, "zip": "DEF"},
    "jwk": lambda h: {**h, "jwk": EPK},
    "jku": lambda h: {**h, "jku": "https://evil.example"},
    "x5u": lambda h: {**h, "x5u": "https://evil.example"},
    "x5c": lambda h: {**h, "x5c": ["AAAA"]},
    "apu": lambda h: {**h, "apu": "AAAA"},
    "another kid": lambda h: {**h, "kid": "A" * 43},
    "no kid": lambda h: {k: v for k, v in h.items() if k != "kid"},
    "a duplicate member": lambda h: json.dumps(h).encode()[:-1] + b',"kid":"A"}',
    "not JSON": lambda h: b"{",
    "an array": lambda h: b"[]",
}


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("change", CANNOT_OPEN.values(), ids=CANNOT_OPEN.keys())
def test_a_part_whose_header_plays_tricks_does_not_open(
    change: Any, suite: int, italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania, suite))
    with pytest.raises(CannotOpen):
        open_(with_header(payload, change), italy, albania)


@pytest.mark.parametrize(
    ("suite", "change"),
    [
        (1, {"alg": "ECDH-ES+A256KW"}),
        (1, {"alg": "HPKE-4-KE"}),
        (1, {"alg": "dir"}),
        (1, {"enc": "A128GCM"}),
        (2, {"alg": "HPKE-9-KE"}),
        (2, {"alg": "ECDH-ES"}),
        (2, {"enc": "A256CBC-HS512"}),
    ],
)
def test_a_part_that_is_not_wrapped_as_its_suite_says_is_refused(
    suite: int, change: dict[str, str], italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania, suite))
    forged = with_header(payload, lambda h: {**h, **change})
    with pytest.raises(SuiteRefused):
        open_(forged, italy, albania)


def test_one_part_of_the_other_suite_makes_the_whole_refused_even_if_not_ours(
    italy: Party, albania: Party
) -> None:
    payload, other = payload_of(seal(italy, albania)), payload_of(seal(italy, albania, 2))
    payload["parts"] = [payload["parts"][0], other["parts"][1]]
    with pytest.raises(SuiteRefused):
        open_(payload, italy, Only(albania, albania.sealing_key().kid))


BAD_EK: dict[str, Any] = {
    "short": "AAAA",
    "long": b64u(bytes(1121)),
    "zeros": b64u(bytes(1120)),
    "not base64url": "!!!!",
    "not text": 5,
    "an object": {},
}


@pytest.mark.parametrize("ek", BAD_EK.values(), ids=BAD_EK.keys())
def test_a_malformed_encapsulation_does_not_open(ek: Any, italy: Party, albania: Party) -> None:
    payload = payload_of(seal(italy, albania))
    with pytest.raises(CannotOpen):
        open_(with_header(payload, lambda h: {**h, "ek": ek}), italy, albania)


BAD_EPK: dict[str, Any] = {
    "not on the curve": EPK,
    "at infinity": {**EPK, "x": b64u(bytes(32)), "y": b64u(bytes(32))},
    "another curve": {**EPK, "crv": "P-384"},
    "another kind": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
    "short": {**EPK, "x": "AAAA"},
    "with a private member": {**EPK, "d": "AAAA"},
    "members not text": {**EPK, "x": 1},
    "not an object": "AAAA",
    "of another key": jwk.public_half(jwk.generate("ES256")),
}


@pytest.mark.parametrize("epk", BAD_EPK.values(), ids=BAD_EPK.keys())
def test_an_ephemeral_key_off_the_curve_does_not_open(
    epk: Any, italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania, 2))
    with pytest.raises(CannotOpen):
        open_(with_header(payload, lambda h: {**h, "epk": epk}), italy, albania)


@pytest.mark.parametrize("suite", [1, 2])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_changed_bit_of_a_part_is_noticed(
    suite: int, data: st.DataObject, italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania, suite))
    jwe = payload["parts"][data.draw(st.integers(0, 1))]["jwe"]
    member = data.draw(st.sampled_from(sorted(jwe)))
    content = bytearray(unb64u(jwe[member]))
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    content[position // 8] ^= 1 << position % 8
    jwe[member] = b64u(bytes(content))
    with pytest.raises((CannotOpen, SuiteRefused)):
        open_(payload, italy, albania)


@pytest.mark.parametrize("member", ["protected", "encrypted_key", "iv", "ciphertext", "tag"])
@pytest.mark.parametrize("value", ["", "AAAA", "A", "AB"])
def test_a_member_of_another_length_or_form_does_not_open(
    member: str, value: str, italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania))
    payload["parts"][0]["jwe"][member] = value
    with pytest.raises(CannotOpen):
        open_(payload, italy, albania)


def test_ciphertext_and_tag_are_divided_in_one_place(italy: Party, albania: Party) -> None:
    payload = payload_of(seal(italy, albania))
    jwe = payload["parts"][0]["jwe"]
    whole = unb64u(jwe["ciphertext"]) + unb64u(jwe["tag"])
    for place in (-17, -15):
        jwe["ciphertext"], jwe["tag"] = b64u(whole[:place]), b64u(whole[place:])
        with pytest.raises(CannotOpen):
            open_(payload, italy, albania)


def test_a_nonce_has_96_bits(italy: Party, albania: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "IV_BYTES", 16)
    payload = payload_of(seal(italy, albania))
    with pytest.raises(CannotOpen):
        open_(payload, italy, albania)


def test_a_part_names_the_key_that_the_envelope_names(italy: Party, albania: Party) -> None:
    payload = payload_of(seal(italy, albania))
    header = {name: value for name, value in payload.items() if name != "parts"}
    key = albania.sealing_key()
    misnamed = key.model_copy(update={"kid": "A" * 43})
    part = seal_part(pad(b"{}", 4096), misnamed, aad=b64u(digest_of_header(header, [key.kid])))
    with pytest.raises(CannotOpen):
        open_({**header, "parts": [{"to_key": key.kid, "jwe": part}]}, italy, albania)
