"""Only who holds a participant's current key speaks for it, in one form, with one algorithm."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from broker.cli.commands.trust.ceremony import LIMIT
from keys.jwk import ED25519
from keys.jws import (
    LocalSigner,
    check_signature,
    parse_jws,
    sign_jws,
)
from keys.sealing import seal_envelope
from keys.signing import (
    parse_envelope,
    verify_envelope,
    verify_evidence,
    verify_grant,
    verify_suspension,
)
from schemas.agreement import SUSPENSION_TYP
from schemas.base import b64u, unb64u
from schemas.consent import GRANT_TYP
from schemas.directory import KeyStatus, KeyUse, TrustedDirectory
from schemas.envelope import ENVELOPE_TYP
from schemas.errors import (
    BadSignature,
    BrokerError,
    KeyNotYetValid,
    KeyRevoked,
    KeyUnknown,
    SuiteRefused,
)
from schemas.evidence import EVIDENCE_TYP
from tests.support.jose import header_of, jws, payload_of
from tests.support.parties import NOW, Party, directory_of, make_draft

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def seal(italy: Party, albania: Party, suite: int) -> bytes:
    return seal_envelope(
        make_draft(suite), {}, recipient=albania.entry, signer=italy.signer(suite), now=NOW
    ).raw


# --- Other implementations agree ------------------------------------------------------------


@pytest.mark.parametrize("suite", [1, 2])
def test_jwcrypto_verifies_what_we_sign_and_we_what_it_signs(suite: int, italy: Party) -> None:
    signer = italy.signer(suite)
    raw = sign_jws(b'{"a":1}', typ="test+jws", signer=signer)
    other = JWS()
    other.allowed_algs = [signer.alg]
    other.deserialize(raw.decode(), JWK(**italy.signing_key(suite).jwk))
    assert other.payload == b'{"a":1}'

    private = next(k for k in italy.keys.keys if k.kid == signer.kid)
    made = JWS(b'{"b":2}')
    made.allowed_algs = [signer.alg]
    protected = json.dumps({"alg": signer.alg, "kid": signer.kid, "typ": "test+jws"})
    made.add_signature(JWK(**private.jwk), protected=protected)
    parsed = parse_jws(made.serialize().encode(), typ="test+jws", limit=LIMIT)
    check_signature(italy.signing_key(suite), parsed.signing_input, parsed.signature)
    assert parsed.payload == b'{"b":2}'


@pytest.mark.parametrize("suite", [1, 2])
def test_joserfc_verifies_what_we_sign(suite: int, italy: Party) -> None:
    signer = italy.signer(suite)
    raw = json.loads(sign_jws(b'{"a":1}', typ="test+jws", signer=signer))
    kind = OKPKey if suite == 1 else ECKey
    found = joserfc_jws.deserialize_json(
        raw, kind.import_key({**italy.signing_key(suite).jwk}), algorithms=[signer.alg]
    )
    assert found.payload == b'{"a":1}'


# --- Who --------------------------------------------------------------------------------------


def verify(raw: bytes, directory: TrustedDirectory, now: Any = NOW) -> Any:
    return verify_envelope(parse_envelope(raw), directory, now=now)


@pytest.mark.parametrize("suite", [1, 2])
def test_the_senders_signature_verifies(
    suite: int, italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    raw = seal(italy, albania, suite)
    found = verify(raw, directory)
    assert found.raw == raw
    assert found.signed_by == italy.signing_key(suite).kid
    assert found.directory_version == directory.version


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("suite", [1, 2])
def test_one_changed_bit_of_payload_or_signature_is_noticed(
    suite: int, data: st.DataObject, italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    document = json.loads(seal(italy, albania, suite))
    member = data.draw(st.sampled_from(["payload", "signature", "protected"]))
    content = bytearray(unb64u(document[member]))
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    content[position // 8] ^= 1 << position % 8
    document[member] = b64u(bytes(content))
    with pytest.raises(BrokerError) as refusal:
        verify(json.dumps(document).encode(), directory)
    if member == "signature":
        assert isinstance(refusal.value, BadSignature)


def test_an_unknown_key_is_refused_as_such(
    envelope: bytes, stranger: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(KeyUnknown):
        verify(jws(payload_of(envelope), stranger.signer()), directory)


def test_nobody_speaks_for_another(
    envelope: bytes, albania: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(BadSignature):
        verify(jws(payload_of(envelope), albania.signer()), directory)


def test_a_claimed_key_must_have_signed(
    envelope: bytes, albania: Party, directory: TrustedDirectory
) -> None:
    forged = jws(payload_of(envelope), albania.signer(), protected=header_of(envelope))
    with pytest.raises(BadSignature):
        verify(forged, directory)


def test_a_sealing_key_cannot_sign(
    envelope: bytes, italy: Party, directory: TrustedDirectory
) -> None:
    sealing_key = next(k for k in italy.keys.keys if k.alg == "ECDH-ES+A256KW")
    loaded = italy.private(sealing_key.kid)
    signer = LocalSigner(sealing_key.kid, "ES256", 2, loaded)  # type: ignore[arg-type]
    with pytest.raises(BadSignature):
        verify(jws({**payload_of(envelope), "suite": 2}, signer), directory)


def test_a_log_key_signs_no_envelope(envelope: bytes, italy: Party, albania: Party) -> None:
    log = italy.with_key(italy.signing_key().kid, use=KeyUse.LOG)
    with pytest.raises(BadSignature):
        verify(envelope, directory_of(log, albania))


def test_the_directory_and_not_the_message_chooses_the_algorithm(
    envelope: bytes, italy: Party, directory: TrustedDirectory
) -> None:
    signer = italy.signer(2)
    header = {"alg": ED25519, "kid": signer.kid, "typ": ENVELOPE_TYP}
    with pytest.raises(BadSignature):
        verify(jws(payload_of(envelope), signer, protected=header), directory)


def test_a_key_of_another_suite_than_the_envelopes_is_refused(
    envelope: bytes, italy: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(SuiteRefused):
        verify(jws(payload_of(envelope), italy.signer(2)), directory)


@pytest.mark.parametrize("status", [KeyStatus.PENDING, KeyStatus.COMPROMISED])
def test_a_key_that_is_not_in_force_verifies_nothing(
    status: KeyStatus, envelope: bytes, italy: Party, albania: Party
) -> None:
    with pytest.raises(KeyRevoked):
        verify(envelope, directory_of(italy.with_status(status), albania))


def test_a_retired_key_verifies_what_was_under_way(
    envelope: bytes, italy: Party, albania: Party
) -> None:
    directory = directory_of(italy.with_status(KeyStatus.RETIRED), albania)
    assert verify(envelope, directory)
    with pytest.raises(KeyRevoked):
        verify(envelope, directory, NOW + timedelta(days=365))


def test_a_key_verifies_from_its_first_moment_to_its_last(
    envelope: bytes, italy: Party, directory: TrustedDirectory
) -> None:
    key = italy.signing_key()
    second = timedelta(seconds=1)
    assert verify(envelope, directory, key.not_before)
    assert verify(envelope, directory, key.not_after - second)
    with pytest.raises(KeyNotYetValid):
        verify(envelope, directory, key.not_before - second)
    with pytest.raises(KeyRevoked):
        verify(envelope, directory, key.not_after)


def test_a_revoked_key_is_revoked_also_by_a_clock_by_which_it_has_not_begun(
    envelope: bytes, italy: Party, albania: Party
) -> None:
    revoked = directory_of(italy.with_status(KeyStatus.COMPROMISED), albania)
    with pytest.raises(KeyRevoked):
        verify(envelope, revoked, italy.signing_key().not_before - timedelta(hours=1))


def test_parts_to_keys_of_others_other_uses_or_other_suites_are_refused(
    envelope: bytes, italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    payload = payload_of(envelope)
    part = payload["parts"][0]
    for kid in (
        italy.sealing_key().kid,
        albania.signing_key().kid,
        albania.sealing_key(2).kid,
    ):
        forged = {**payload, "parts": [{**part, "to_key": kid}]}
        with pytest.raises(SuiteRefused):
            verify(jws(forged, italy.signer()), directory)
    with pytest.raises(SuiteRefused):
        verify(jws({**payload, "parts": [part, part]}, italy.signer()), directory)


def test_a_part_to_a_key_that_was_rotated_out_is_the_recipients_business(
    envelope: bytes, italy: Party, directory: TrustedDirectory
) -> None:
    payload = payload_of(envelope)
    payload["parts"] = [{**payload["parts"][0], "to_key": "A" * 43}]
    assert verify(jws(payload, italy.signer()), directory)


@pytest.mark.parametrize(
    "pair", [(0, 1), (1, 0), (0, 0), (2**256 - 1, 1), (P256_ORDER, 1)], ids=str
)
def test_an_ecdsa_signature_outside_its_range_is_suspect(
    pair: tuple[int, int], italy: Party
) -> None:
    signature = pair[0].to_bytes(32, "big") + pair[1].to_bytes(32, "big")
    with pytest.raises(BadSignature):
        check_signature(italy.signing_key(2), b"data", signature)


def test_a_signature_of_another_length_is_suspect(italy: Party) -> None:
    for suite in (1, 2):
        signature = italy.signer(suite).sign(b"data")
        check_signature(italy.signing_key(suite), b"data", signature)
        for wrong in (signature[:-1], signature + b"\0", b""):
            with pytest.raises(BadSignature):
                check_signature(italy.signing_key(suite), b"data", wrong)


def test_a_key_published_under_a_foreign_algorithm_verifies_nothing(italy: Party) -> None:
    key = italy.signing_key().model_copy(update={"alg": "ES256"})
    with pytest.raises(BadSignature):
        check_signature(key, b"data", italy.signer().sign(b"data"))


def test_a_signer_shows_no_key(italy: Party) -> None:
    assert repr(italy.signer()) == f"<LocalSigner {italy.signer().kid}>"


# --- Nothing else happens ----------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_bytes_raise_anything_but_ours(
    data: st.DataObject, envelope: bytes, directory: TrustedDirectory
) -> None:
    raw = bytearray(envelope)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                raw[position] = data.draw(st.integers(0, 255))
            case 1:
                del raw[position : position + data.draw(st.integers(1, 50))]
            case _:
                raw[position:position] = data.draw(st.binary(max_size=20))
    if bytes(raw) == envelope:
        return
    try:
        sealed = parse_envelope(bytes(raw))
        verify_envelope(sealed, directory, now=NOW)
    except BrokerError:
        return
    # Only the JSON around the three members may differ: what was signed is untouched.
    assert sealed.signing_input == parse_envelope(envelope).signing_input


@settings(max_examples=100, deadline=None)
@given(payload=st.binary(max_size=200))
def test_no_payload_raises_anything_but_ours(payload: bytes, italy: Party) -> None:
    directory = directory_of(italy)
    for typ, check in (
        (EVIDENCE_TYP, verify_evidence),
        (GRANT_TYP, verify_grant),
        (SUSPENSION_TYP, verify_suspension),
    ):
        with pytest.raises(BrokerError):
            check(sign_jws(payload, typ=typ, signer=italy.signer()), directory, now=NOW)
    with pytest.raises(BrokerError):
        parse_envelope(sign_jws(payload, typ=ENVELOPE_TYP, signer=italy.signer()))


def test_a_draft_of_another_sender_than_the_signer_verifies_nowhere(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    sealed = seal_envelope(
        replace(make_draft(), from_="al.nrm"),
        {},
        recipient=albania.entry,
        signer=italy.signer(),
        now=NOW,
    )
    with pytest.raises(BadSignature):
        verify_envelope(sealed, directory, now=NOW)
