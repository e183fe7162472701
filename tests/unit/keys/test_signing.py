"""Only who holds a participant's current key speaks for it, in one form, with one algorithm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from keys.jwk import ED25519
from keys.jws import (
    MAX_STATEMENT_BYTES,
    LocalSigner,
    check_signature,
    parse_jws,
    sign_jws,
    signature_object,
)
from keys.sealing import seal_envelope
from keys.signing import (
    countersign,
    parse_envelope,
    sign_agreement,
    verify_agreement,
    verify_envelope,
    verify_evidence,
    verify_grant,
    verify_suspension,
)
from schemas.agreement import AGREEMENT_TYP, SUSPENSION_TYP, Agreement, Suspension, TransferBasis
from schemas.base import b64u, unb64u
from schemas.consent import GRANT_TYP, GrantStatement, Purpose
from schemas.directory import KeyStatus, KeyUse, TrustedDirectory
from schemas.envelope import ENVELOPE_TYP, MAX_ENVELOPE_BYTES, Lane
from schemas.errors import (
    BadSignature,
    BrokerError,
    Conflict,
    FromTheFuture,
    KeyRevoked,
    KeyUnknown,
    MalformedJson,
    SchemaRefused,
    SuiteRefused,
    TooLarge,
    VersionRefused,
)
from schemas.evidence import EVIDENCE_TYP, Evidence, Fact, FactStatement
from tests.support.jose import header_of, jws, payload_of
from tests.support.parties import NOW, Party, directory_of, make_draft

LIMIT = 10_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def envelope(italy: Party, albania: Party) -> bytes:
    return seal(italy, albania, 1)


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


# --- The form -------------------------------------------------------------------------------

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
    for moment in (key.not_before - second, key.not_after):
        with pytest.raises(KeyRevoked):
            verify(envelope, directory, moment)


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


# --- Statements -------------------------------------------------------------------------------


def evidence(by: str = "it.nrm") -> Evidence:
    fact = FactStatement(fact=Fact.DELIVERED, envelope=UUID(int=1), digest="A" * 43, at=NOW)
    return Evidence(id=UUID(int=2), by=by, to="al.nrm", issued_at=NOW, facts=(fact,))


def grant() -> GrantStatement:
    return GrantStatement.model_validate(
        {
            "grant": UUID(int=3),
            "from": "it.nrm",
            "to": "al.nrm",
            "scopes": ("A" * 22,),
            "valid_from": date(2026, 11, 1),
            "until": date(2027, 1, 1),
            "record_digest": "A" * 43,
            "derived_from": None,
            "issued_at": NOW,
        }
    )


def suspension() -> Suspension:
    return Suspension(agreement=UUID(int=4), by="it.nrm", action="suspend", issued_at=NOW)


STATEMENTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "evidence": (evidence, EVIDENCE_TYP, verify_evidence),
    "grant": (grant, GRANT_TYP, verify_grant),
    "suspension": (suspension, SUSPENSION_TYP, verify_suspension),
}


@pytest.mark.parametrize(("make", "typ", "check"), STATEMENTS.values(), ids=STATEMENTS.keys())
def test_a_statement_is_only_its_authors(
    make: Callable[[], Any],
    typ: str,
    check: Callable[..., Any],
    italy: Party,
    albania: Party,
    stranger: Party,
    directory: TrustedDirectory,
) -> None:
    payload = make().to_json()
    found = check(sign_jws(payload, typ=typ, signer=italy.signer()), directory, now=NOW)
    assert getattr(found, "content", found) == make()
    with pytest.raises(BadSignature):
        check(sign_jws(payload, typ=typ, signer=albania.signer()), directory, now=NOW)
    with pytest.raises(KeyUnknown):
        check(sign_jws(payload, typ=typ, signer=stranger.signer()), directory, now=NOW)
    with pytest.raises(BadSignature):
        check(sign_jws(payload, typ="other+jws", signer=italy.signer()), directory, now=NOW)
    with pytest.raises(KeyRevoked):
        check(
            sign_jws(payload, typ=typ, signer=italy.signer()),
            directory_of(italy.with_status(KeyStatus.COMPROMISED)),
            now=NOW,
        )
    twice = (
        payload[:-1] + b',"version":1}' if typ != SUSPENSION_TYP else payload[:-1] + b',"by":"x"}'
    )
    with pytest.raises(MalformedJson):
        check(sign_jws(twice, typ=typ, signer=italy.signer()), directory, now=NOW)


def agreement(**changes: Any) -> Agreement:
    values = {
        "id": UUID(int=5),
        "title": "Invented agreement",
        "parties": ("it.nrm", "al.nrm"),
        "valid_from": date(2026, 1, 1),
        "valid_until": date(2027, 1, 1),
        "lanes": (Lane.ROUTINE,),
        "types": ("referral.*",),
        "sections": ("identity_core",),
        "purposes": (Purpose.PROTECTION,),
        "transfer": (TransferBasis(sender="it.nrm", basis="none-needed"),),
        "signed_on": NOW,
    }
    return Agreement(**{**values, **changes})


@pytest.mark.parametrize("suites", [(1, 1), (1, 2)])
def test_an_agreement_stands_when_both_have_signed(
    suites: tuple[int, int], italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    half = sign_agreement(agreement(), italy.signer(suites[0]))
    with pytest.raises(BadSignature):
        verify_agreement(half, directory, now=NOW)
    whole = countersign(half, albania.signer(suites[1]))
    found = verify_agreement(whole, directory, now=NOW)
    assert found.content == agreement()
    assert found.raw == whole


def test_an_agreement_and_a_grant_outlive_the_keys_that_signed_them(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    whole = countersign(sign_agreement(agreement(), italy.signer()), albania.signer())
    given = sign_jws(grant().to_json(), typ=GRANT_TYP, signer=italy.signer())
    years_later = NOW + timedelta(days=1000)
    retired = directory_of(italy.with_status(KeyStatus.RETIRED), albania)
    for known in (directory, retired):
        assert verify_agreement(whole, known, now=years_later)
        assert verify_grant(given, known, now=years_later)
    stolen = directory_of(italy.with_status(KeyStatus.COMPROMISED), albania)
    with pytest.raises(KeyRevoked):
        verify_agreement(whole, stolen, now=years_later)
    with pytest.raises(KeyRevoked):
        verify_grant(given, stolen, now=years_later)


def test_a_statement_is_not_older_than_its_key_nor_from_the_future(
    italy: Party, directory: TrustedDirectory
) -> None:
    def given(days: int) -> bytes:
        statement = grant().model_copy(update={"issued_at": NOW + timedelta(days=days)})
        return sign_jws(statement.to_json(), typ=GRANT_TYP, signer=italy.signer())

    with pytest.raises(FromTheFuture):
        verify_grant(given(1), directory, now=NOW)
    for days in (-2, 365):
        with pytest.raises(KeyRevoked):
            verify_grant(given(days), directory, now=NOW + timedelta(days=1000))


def test_an_agreement_is_not_signed_twice_by_one_nor_by_a_third(
    italy: Party, albania: Party, stranger: Party, directory: TrustedDirectory
) -> None:
    half = sign_agreement(agreement(), italy.signer())
    with pytest.raises(Conflict):
        countersign(half, italy.signer())
    with pytest.raises(BadSignature):
        verify_agreement(countersign(half, italy.signer(2)), directory, now=NOW)
    both = countersign(half, albania.signer())
    with pytest.raises(Conflict):
        countersign(both, stranger.signer())
    third = countersign(half, stranger.signer())
    with pytest.raises(KeyUnknown):
        verify_agreement(third, directory, now=NOW)
    with pytest.raises(BadSignature):
        verify_agreement(third, directory_of(italy, albania, stranger), now=NOW)


def test_what_one_party_signed_the_other_cannot_change(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    mine = json.loads(sign_agreement(agreement(), italy.signer()))
    theirs = json.loads(
        countersign(
            sign_agreement(agreement(lanes=(Lane.URGENT,)), italy.signer(2)), albania.signer()
        )
    )
    forged = {
        "payload": theirs["payload"],
        "signatures": [mine["signatures"][0], theirs["signatures"][1]],
    }
    with pytest.raises(BadSignature):
        verify_agreement(json.dumps(forged).encode(), directory, now=NOW)


def test_a_member_twice_in_an_agreement_is_refused(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    twice = agreement().to_json()[:-1] + b',"title":"Another title"}'

    class Twice:
        parties = ("it.nrm", "al.nrm")

        def to_json(self) -> bytes:
            return twice

    half = sign_agreement(Twice(), italy.signer())  # type: ignore[arg-type]
    document = json.loads(half)
    body = document["payload"].encode()
    second = json.loads(
        b"[" + signature_object(body, typ=AGREEMENT_TYP, signer=albania.signer()) + b"]"
    )
    whole = {**document, "signatures": [*document["signatures"], *second]}
    for check in (
        lambda: countersign(half, albania.signer()),
        lambda: verify_agreement(json.dumps(whole).encode(), directory, now=NOW),
    ):
        with pytest.raises(MalformedJson):
            check()


def test_an_agreement_with_oneself_is_refused(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    alone = countersign(
        sign_agreement(agreement(parties=("it.nrm", "it.nrm")), italy.signer()), albania.signer()
    )
    with pytest.raises(SchemaRefused):
        verify_agreement(alone, directory, now=NOW)


@pytest.mark.parametrize(
    "document",
    [
        {"payload": "e30", "signatures": []},
        {"payload": "e30", "signatures": [{}, {}, {}]},
        {"payload": "e30", "signatures": {}},
        {"payload": 1, "signatures": [{}]},
        {"payload": "e30", "signatures": ["x"]},
        {"payload": "e30", "signatures": [{"protected": "e30", "signature": "", "header": {}}]},
        {"payload": "e30", "signatures": [{"protected": 1, "signature": "AA"}]},
    ],
    ids=str,
)
def test_other_forms_of_an_agreement_are_refused(
    document: dict[str, Any], directory: TrustedDirectory
) -> None:
    with pytest.raises((SchemaRefused, BadSignature)):
        verify_agreement(json.dumps(document).encode(), directory, now=NOW)


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
