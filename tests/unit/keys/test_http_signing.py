"""A request is whose key signed it, now, for this method, this address and this body."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import jwk
from keys.http_signing import Nonces, sign_request, verify_request
from schemas.directory import KeyStatus, TrustedDirectory
from schemas.errors import BrokerError, KeyRevoked, Unauthenticated
from tests.support.parties import NOW, Party, directory_of

REQUEST = {"method": "POST", "url": "https://hub.example:8443/mailbox/acknowledgements?lane=urgent"}
BODY = b'{"deliveries":[1,2]}'
MINUTE = timedelta(minutes=1)


def signed(party: Party, *, suite: int = 1, body: bytes = BODY, **changes: Any) -> dict[str, str]:
    return sign_request(
        **{**REQUEST, "headers": {}, "body": body, "now": NOW, **changes},
        signer=party.signer(suite),
    )


def verify(headers: dict[str, str], directory: TrustedDirectory, **changes: Any) -> str:
    request = {**REQUEST, "headers": headers, "body": BODY, "now": NOW, **changes}
    return verify_request(**request, directory=directory).id


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("body", [b"", BODY])
def test_a_signed_request_names_its_participant(
    suite: int, body: bytes, italy: Party, directory: TrustedDirectory
) -> None:
    headers = signed(italy, suite=suite, body=body)
    assert set(headers) == {"signature", "signature-input"} | (
        {"content-digest"} if body else set()
    )
    assert verify(headers, directory, body=body) == "it.nrm"
    other_case = {name.title(): value for name, value in headers.items()}
    assert verify({"Accept": "*/*", **other_case}, directory, body=body) == "it.nrm"


def test_the_signature_base_is_that_of_rfc_9421(italy: Party) -> None:
    headers = signed(italy)
    parameters = headers["signature-input"].removeprefix("sig1=")
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    base = (
        f'"@method": POST\n"@target-uri": {REQUEST["url"]}\n'
        f'"content-digest": sha-256=:{digest}:\n"@signature-params": {parameters}'
    )
    signature = base64.b64decode(headers["signature"].removeprefix("sig1=:").removesuffix(":"))
    key = jwk.public_key(italy.signing_key().jwk)
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signature, base.encode())
    for wanted in ('tag="referral-broker"', 'alg="ed25519"', f'keyid="{italy.signing_key().kid}"'):
        assert wanted in parameters


def test_the_library_alone_verifies_it_too(italy: Party) -> None:
    now = NOW.now(NOW.tzinfo)
    key = jwk.public_key(italy.signing_key().jwk)
    assert isinstance(key, Ed25519PublicKey)
    resolver = MappingKeyResolver(public_keys={italy.signing_key().kid: key}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=resolver)

    class Message:
        method, url, headers = REQUEST["method"], REQUEST["url"], signed(italy, now=now)

    assert verifier.verify(Message(), expect_tag="referral-broker", body=BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DELETE"},
        {"url": "https://hub.example:8443/mailbox/acknowledgements?lane=routine"},
        {"url": "https://other.example:8443/mailbox/acknowledgements?lane=urgent"},
        {"url": "http://hub.example:8443/mailbox/acknowledgements?lane=urgent"},
        {"body": b'{"deliveries":[1,3]}'},
        {"body": b""},
        {"now": NOW + 10 * MINUTE + timedelta(seconds=1)},
        {"now": NOW - 10 * MINUTE - timedelta(seconds=1)},
    ],
    ids=["method", "query", "host", "scheme", "body", "no body", "too old", "from the future"],
)
def test_another_request_than_the_signed_one_is_nobodys(
    change: dict[str, Any], italy: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(Unauthenticated):
        verify(signed(italy), directory, **change)


def test_a_clock_that_is_ten_minutes_off_is_bearable(
    italy: Party, directory: TrustedDirectory
) -> None:
    for moment in (NOW + 10 * MINUTE, NOW - 10 * MINUTE):
        assert verify(signed(italy), directory, now=moment) == "it.nrm"


def test_a_stranger_is_nobody(stranger: Party, directory: TrustedDirectory) -> None:
    with pytest.raises(Unauthenticated):
        verify(signed(stranger), directory)


def test_a_revoked_key_is_named_as_such(italy: Party) -> None:
    with pytest.raises(KeyRevoked):
        verify(signed(italy), directory_of(italy.with_status(KeyStatus.COMPROMISED)))


def test_a_sealing_key_asks_for_nothing(italy: Party, directory: TrustedDirectory) -> None:
    kid = italy.signing_key().kid
    headers = signed(italy)
    forged = headers["signature-input"].replace(kid, italy.sealing_key().kid)
    with pytest.raises(Unauthenticated):
        verify({**headers, "signature-input": forged}, directory)


def without(parameter: str, text: str) -> str:
    return ";".join(p for p in text.split(";") if not p.startswith(parameter + "="))


FORGED: dict[str, Any] = {
    "nothing": lambda h: {},
    "no signature": lambda h: {k: v for k, v in h.items() if k != "signature"},
    "no digest": lambda h: {k: v for k, v in h.items() if k != "content-digest"},
    "another digest": lambda h: {**h, "content-digest": "sha-256=:AAAA:"},
    "empty": lambda h: {**h, "signature": "", "signature-input": ""},
    "another label": lambda h: {k: v.replace("sig1=", "sig2=") for k, v in h.items()},
    "another tag": lambda h: {
        **h,
        "signature-input": h["signature-input"].replace("referral-broker", "other"),
    },
    "another algorithm": lambda h: {
        **h,
        "signature-input": h["signature-input"].replace("ed25519", "hmac-sha256"),
    },
    "no created": lambda h: {**h, "signature-input": without("created", h["signature-input"])},
    "no nonce": lambda h: {**h, "signature-input": without("nonce", h["signature-input"])},
    "a huge created": lambda h: {
        **h,
        "signature-input": h["signature-input"].replace("created=", "created=99"),
    },
    "an expiry": lambda h: {**h, "signature-input": h["signature-input"] + ";expires=1"},
    "fewer components": lambda h: {
        **h,
        "signature-input": h["signature-input"].replace('"@target-uri" ', ""),
    },
    "a repeated header": lambda h: {**h, "Signature": h["signature"]},
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_forged_signature_is_nobodys(
    forge: Any, italy: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(Unauthenticated):
        verify(forge(signed(italy)), directory)


def test_a_signature_over_more_or_less_than_the_profile_is_nobodys(
    italy: Party, directory: TrustedDirectory
) -> None:
    """Even with the right key: what covers no body would fit any."""
    headers = signed(italy, body=b"")
    with pytest.raises(Unauthenticated):
        verify(headers, directory, body=BODY)
    with_digest = signed(italy)
    with pytest.raises(Unauthenticated):
        verify(with_digest, directory, body=b"")


def test_a_nonce_counts_once(italy: Party, directory: TrustedDirectory) -> None:
    nonces = Nonces()
    headers = signed(italy)
    assert verify(headers, directory, nonces=nonces)
    with pytest.raises(Unauthenticated):
        verify(headers, directory, nonces=nonces)
    assert verify(signed(italy), directory, nonces=nonces)


def test_the_memory_of_nonces_is_bounded_and_forgets() -> None:
    nonces = Nonces(capacity=3)
    for number in range(5):
        assert nonces.remember("k", str(number), NOW)
    assert nonces.remember("k", "0", NOW)
    assert not nonces.remember("k", "4", NOW)
    assert nonces.remember("other", "4", NOW)
    assert nonces.remember("k", "4", NOW + 21 * MINUTE)


@pytest.fixture(scope="module")
def one_request(italy: Party) -> dict[str, str]:
    """Signed once: what Hypothesis draws must not depend on a nonce of the moment."""
    return signed(italy)


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(["signature", "signature-input", "content-digest"]), data=st.data())
def test_no_header_raises_anything_but_ours(
    name: str, data: st.DataObject, one_request: dict[str, str], directory: TrustedDirectory
) -> None:
    headers = dict(one_request)
    text = headers[name]
    cut = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(cut, len(text)))
    headers[name] = text[:cut] + data.draw(st.text(max_size=12)) + text[end:]
    if headers[name].strip() == text:
        return
    with pytest.raises(BrokerError):
        verify(headers, directory)
