"""A seal opens under the header that it was made for, and under no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK
from pydantic import BaseModel

from keys.binding import digest_of_header
from keys.sealing import pad, seal_envelope, seal_part
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import open_part, unseal_envelope
from schemas.base import KeyId, b64u, unb64u
from schemas.directory import Compartment, KeyStatus, TrustedDirectory
from schemas.envelope import BUCKETS, Envelope, Jwe, VerifiedEnvelope
from schemas.errors import (
    BrokerError,
    CannotOpen,
    SchemaRefused,
    SuiteRefused,
    Suspect,
)
from tests.support.jose import payload_of
from tests.support.parties import NOW, Party, directory_of, make_draft, make_party
from tests.support.sealed import CONTENT, Only, open_, seal

# --- Every field of the header is bound ---------------------------------------------------------

SCOPE = "BBBBBBBBBBBBBBBBBBBBBB"
FORGED: dict[str, Any] = {
    "id": "01938f5e-0000-7000-8000-0000000000ff",
    "replaces": None,
    "from": "xx.other",
    "to": "xx.third",
    "lane": "urgent",
    "stream.incarnation": "BBBBBBBBBBBBBBBBBBBBBA",
    "stream.number": 42,
    "thread": "01938f5e-0000-7000-8000-0000000000ff",
    "in_reply_to": None,
    "kind": "safety",
    "issued_at": "2026-11-22T12:00:01Z",
    "expires_at": "2027-01-22T12:00:00Z",
    "answer_by": None,
    "pauses_clock": False,
    "agreement": None,
    "consent.grant": "01938f5e-0000-7000-8000-0000000000ff",
    "consent.scopes": [SCOPE],
    "consent.until": "2027-11-22",
    "attachments.scope": SCOPE,
    "attachments.digest": "B" * 43,
    "attachments.bucket": 131072,
}
"""Another permitted value for each field. `suite` and `version` have tests of their own below."""


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every field of the clear header, down to the last one."""
    for name, info in model.model_fields.items():
        path = prefix + (info.alias or name)
        inner = next((m for m in models_in(info.annotation)), None)
        if inner is None:
            yield path
        else:
            yield from fields(inner, path + ".")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif isinstance(annotation, UnionType) or get_args(annotation):
        for argument in get_args(annotation):
            yield from models_in(argument)


def test_no_field_of_the_header_is_left_out() -> None:
    clear = {path for path in fields(Envelope) if not path.startswith("parts.")}
    assert clear == FORGED.keys() | {"suite", "version"}


def forge(payload: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    forged: dict[str, Any] = json.loads(json.dumps(payload))
    name, _, inner = path.partition(".")
    if not inner:
        forged[name] = value
    elif name == "attachments":
        forged[name][0][inner] = value
    else:
        forged[name][inner] = value
    assert forged != payload, "the forged value must differ"
    return forged


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("path", FORGED)
def test_under_any_other_header_nothing_opens(
    path: str, suite: int, italy: Party, albania: Party, stranger: Party
) -> None:
    payload = payload_of(seal(italy, albania, suite))
    forged = forge(payload, path, FORGED[path])
    # The signature was stripped, and whoever `from` now is signed anew: it verifies.
    signer = stranger if path == "from" else italy
    assert open_(payload, italy, albania)
    with pytest.raises(CannotOpen):
        open_(forged, signer, albania)


@pytest.mark.parametrize("path", ["replaces", "in_reply_to", "answer_by", "agreement", "consent"])
def test_a_field_cannot_be_emptied(path: str, italy: Party, albania: Party) -> None:
    payload = payload_of(seal(italy, albania))
    with pytest.raises(CannotOpen):
        open_({**payload, path: None}, italy, albania)


def test_an_attachment_or_a_scope_cannot_be_added_or_taken_away(
    italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania))
    attachment = payload["attachments"][0]
    for attachments in ([], [attachment, {**attachment, "digest": "C" * 43}]):
        with pytest.raises(CannotOpen):
            open_({**payload, "attachments": attachments}, italy, albania)
    for scopes in ([], [*payload["consent"]["scopes"], SCOPE]):
        with pytest.raises(CannotOpen):
            open_(forge(payload, "consent.scopes", scopes), italy, albania)


def test_the_suite_cannot_be_changed(italy: Party, albania: Party) -> None:
    for suite, other in ((1, 2), (2, 1)):
        payload = payload_of(seal(italy, albania, suite))
        with pytest.raises(SuiteRefused):
            open_({**payload, "suite": other}, italy, albania)


def test_a_thief_who_signs_anothers_seal_with_an_own_key_opens_nothing(
    italy: Party, albania: Party, stranger: Party
) -> None:
    payload = payload_of(seal(italy, albania))
    with pytest.raises(CannotOpen):
        open_({**payload, "from": "xx.other"}, stranger, albania)


# --- Parts ---------------------------------------------------------------------------------------


def test_parts_cannot_be_dropped_reordered_swapped_or_mixed(italy: Party, albania: Party) -> None:
    payload, other = payload_of(seal(italy, albania)), payload_of(seal(italy, albania))
    first, second = payload["parts"]
    for parts in (
        [first],
        [second],
        [second, first],
        [{**first, "jwe": second["jwe"]}, second],
        [{**first, "jwe": other["parts"][0]["jwe"], "to_key": second["to_key"]}],
        [first, {**second, "to_key": "A" * 43}],
    ):
        with pytest.raises(Suspect):
            open_({**payload, "parts": parts}, italy, albania)


def test_a_part_of_another_message_does_not_open(italy: Party, albania: Party) -> None:
    payload = payload_of(seal(italy, albania))
    other_draft = make_draft()
    other = payload_of(
        seal_envelope(
            # the same header, but for one id
            other_draft.__class__(
                **{
                    name: getattr(other_draft, name)
                    for name in other_draft.__dataclass_fields__
                    if name != "thread"
                },
                thread=other_draft.id,
            ),
            CONTENT,
            recipient=albania.entry,
            signer=italy.signer(),
            now=NOW,
        ).raw
    )
    parts = [payload["parts"][0], other["parts"][1]]
    with pytest.raises(CannotOpen):
        open_({**payload, "parts": parts}, italy, albania)


class Wrong:
    """A keyring that answers with another key."""

    def __init__(self, key: object) -> None:
        self._key = key

    def private(self, kid: KeyId) -> object | None:
        return self._key


@pytest.mark.parametrize("suite", [1, 2])
def test_whoever_holds_one_compartments_key_opens_that_part_only(
    suite: int, italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania, suite))
    health = albania.sealing_key(suite, Compartment.HEALTH).kid
    assert open_(payload, italy, Only(albania, health)) == {health: CONTENT[Compartment.HEALTH]}


@pytest.mark.parametrize("suite", [1, 2])
def test_the_key_of_another_compartment_suite_or_participant_opens_nothing(
    suite: int, italy: Party, albania: Party, stranger: Party
) -> None:
    payload = payload_of(seal(italy, albania, suite))
    for party, key in (
        (albania, albania.sealing_key(suite, Compartment.HEALTH)),
        (albania, albania.sealing_key(3 - suite)),
        (stranger, stranger.sealing_key(suite)),
        (albania, albania.signing_key(suite)),
    ):
        with pytest.raises(CannotOpen):
            open_(payload, italy, Wrong(party.private(key.kid)))
    with pytest.raises(CannotOpen):
        open_(payload, italy, Wrong("not a key"))


# --- Padding -----------------------------------------------------------------------------------


def sealed_with(plaintext: bytes, italy: Party, albania: Party) -> dict[str, Any]:
    """An envelope of a sender whose tools pad otherwise."""
    payload = payload_of(seal(italy, albania))
    header = {name: value for name, value in payload.items() if name != "parts"}
    key = albania.sealing_key()
    aad = b64u(digest_of_header(header, [key.kid]))
    return {
        **payload,
        "parts": [{"to_key": key.kid, "jwe": seal_part(plaintext, key, aad=aad)}],
    }


def test_padding_is_taken_off_and_must_be_what_the_protocol_says(
    italy: Party, albania: Party
) -> None:
    good = sealed_with(pad(b'{"a": " "}', BUCKETS[0]), italy, albania)
    assert list(open_(good, italy, albania).values()) == [b'{"a": " "}']
    for plaintext in (
        b"{}",
        b"{}".ljust(BUCKETS[0] - 1),
        b"{}".ljust(BUCKETS[0], b"\0"),
        b" {}".ljust(BUCKETS[0]),
        b"[]".ljust(BUCKETS[0]),
        b" " * BUCKETS[0],
        b"",
    ):
        with pytest.raises(CannotOpen):
            open_(sealed_with(plaintext, italy, albania), italy, albania)


def test_only_an_object_is_sealed() -> None:
    for content in (b"", b"[]", b" {}", b"{} ", b"x"):
        with pytest.raises(SchemaRefused):
            pad(content, BUCKETS[0])


@settings(max_examples=60, deadline=None)
@given(
    casework=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=5,
    ),
    spaces=st.integers(0, 5000),
    suite=st.sampled_from([1, 2]),
)
def test_what_is_sealed_is_what_is_opened(
    casework: dict[str, str], spaces: int, suite: int, italy: Party, albania: Party
) -> None:
    content = json.dumps({**casework, "filler": " " * spaces}, ensure_ascii=False).encode()
    sealed = seal_envelope(
        make_draft(suite),
        {Compartment.CASEWORK: content},
        recipient=albania.entry,
        signer=italy.signer(suite),
        now=NOW,
    )
    verified = verify_envelope(parse_envelope(sealed.raw), directory_of(italy, albania), now=NOW)
    assert unseal_envelope(verified, albania, albania.entry) == {
        albania.sealing_key(suite).kid: content,
        albania.sealing_key(suite, Compartment.HEALTH).kid: b"{}",
    }


# --- The recipient's own entry -----------------------------------------------------------------


def verified(italy: Party, albania: Party, directory: TrustedDirectory) -> VerifiedEnvelope:
    return verify_envelope(parse_envelope(seal(italy, albania)), directory, now=NOW)


def test_the_entry_must_be_the_addressees(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(CannotOpen):
        unseal_envelope(verified(italy, albania, directory), albania, italy.entry)


def test_a_key_that_the_entry_gives_another_use_or_suite_is_refused(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    envelope = verified(italy, albania, directory)
    kid = albania.sealing_key().kid
    for change in ({"suite": 2}, {"use": "sign"}):
        with pytest.raises(SuiteRefused):
            unseal_envelope(envelope, albania, albania.with_key(kid, **change).entry)


def test_a_rotated_key_still_opens_what_was_under_way(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    envelope = verified(italy, albania, directory)
    kid = albania.sealing_key().kid
    for status in (KeyStatus.RETIRED, KeyStatus.COMPROMISED):
        entry = albania.with_key(kid, status=status).entry
        assert kid in unseal_envelope(envelope, albania, entry)


def test_nothing_is_sealed_to_a_key_that_is_not_current(italy: Party, albania: Party) -> None:
    for status in (KeyStatus.RETIRED, KeyStatus.COMPROMISED, KeyStatus.PENDING):
        party = albania
        for compartment in CONTENT:
            party = party.with_key(albania.sealing_key(1, compartment).kid, status=status)
        with pytest.raises(SuiteRefused):
            seal(italy, party)
    for moment in (NOW.replace(year=2025), NOW.replace(year=2028)):
        with pytest.raises(SuiteRefused):
            seal_envelope(
                make_draft(), {}, recipient=albania.entry, signer=italy.signer(), now=moment
            )


def test_a_participant_that_seals_nothing_cannot_be_written_to(italy: Party) -> None:
    with pytest.raises(SuiteRefused):
        seal_envelope(
            make_draft(),
            {},
            recipient=make_party("al.nrm", ()).entry,
            signer=italy.signer(),
            now=NOW,
        )


def test_another_way_to_write_the_same_time_or_id_is_bound_as_written(
    italy: Party, albania: Party
) -> None:
    payload = payload_of(seal(italy, albania))
    header = {name: value for name, value in payload.items() if name != "parts"}
    header["issued_at"] = "2026-11-22T12:00:00.000000Z"
    header["id"] = str(header["id"]).upper()
    key = albania.sealing_key()
    part = seal_part(pad(b"{}", 4096), key, aad=b64u(digest_of_header(header, [key.kid])))
    forged = {**header, "parts": [{"to_key": key.kid, "jwe": part}]}
    assert list(open_(forged, italy, albania).values()) == [b"{}"]


# --- A second implementation of suite 2 ----------------------------------------------------------


def test_jwcrypto_opens_what_we_seal_and_we_what_it_seals(albania: Party) -> None:
    key = albania.sealing_key(2)
    private = next(k.jwk for k in albania.keys.keys if k.kid == key.kid)
    aad = bytes(range(32))
    sealed = seal_part(b'{"a":1}'.ljust(4096), key, aad=b64u(aad))
    theirs = JWE()
    theirs.deserialize(json.dumps({**sealed, "aad": b64u(aad)}), JWK(**private))
    assert theirs.payload == b'{"a":1}'.ljust(4096)

    header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": key.kid}
    made = JWE(b'{"b":2}', json.dumps(header), aad=aad)
    made.add_recipient(JWK(**key.jwk))
    document = json.loads(made.serialize())
    # jwcrypto puts `epk` into the unprotected header; that form is not ours, its content is.
    protected = json.loads(unb64u(document["protected"]))
    epk = protected.get("epk") or document["header"]["epk"]
    jwe = Jwe.model_validate({name: document[name] for name in Jwe.model_fields})
    full = {**protected, "epk": {k: epk[k] for k in ("kty", "crv", "x", "y")}}
    assert open_part(jwe, full, albania.private(key.kid), aad=b64u(aad)) == b'{"b":2}'


@settings(max_examples=100, deadline=None)
@given(
    wrapped=st.binary(max_size=100),
    fresh=st.binary(max_size=1200),
    rest=st.binary(max_size=16),
)
def test_no_bytes_make_the_opener_raise_anything_but_ours(
    wrapped: bytes, fresh: bytes, rest: bytes, albania: Party
) -> None:
    jwe = Jwe(
        protected=b64u(rest),
        encrypted_key=b64u(wrapped),
        iv=b64u(rest),
        ciphertext=b64u(fresh),
        tag=b64u(rest),
    )
    tricks: tuple[tuple[int, dict[str, object]], ...] = (
        (1, {"alg": "HPKE-9-KE", "ek": b64u(fresh)}),
        (2, {"alg": "ECDH-ES+A256KW", "epk": {"kty": "EC", "x": b64u(fresh)}}),
    )
    for suite, header in tricks:
        private = albania.private(albania.sealing_key(suite).kid)
        with pytest.raises(BrokerError):
            open_part(jwe, header, private, aad="")
