"""What is bound stays bound: each label, each field, each length."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from keys import binding
from keys.sealing import seal_envelope
from schemas.base import b64u
from schemas.consent import ConsentRecord, ConsentStatus, Purpose, ScopeGrant
from schemas.directory import Compartment
from tests.support.parties import NOW, Party, make_draft

KEY = b"k" * 32

ASCII = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=10)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HEADERS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ASCII, inner, max_size=5),
    max_leaves=15,
)


@given(st.dictionaries(ASCII, HEADERS, max_size=6))
def test_a_header_is_written_as_rfc_8785_says(header: dict[str, object]) -> None:
    expected = rfc8785.dumps({**header, "to_keys": ["a" * 43]})  # type: ignore[dict-item]
    digest = hashlib.sha256(b"referral-broker/1 header\n" + expected).digest()
    assert binding.digest_of_header(header, ["a" * 43]) == digest


def test_both_ways_to_a_header_digest_agree(italy: Party, albania: Party) -> None:
    content = seal_envelope(
        make_draft(), {}, recipient=albania.entry, signer=italy.signer(), now=NOW
    ).content
    header = content.to_dict()
    parts = header.pop("parts")
    assert binding.header_digest(content) == binding.digest_of_header(
        header, [part["to_key"] for part in parts]
    )


def test_a_scope_is_the_hmac_that_the_protocol_says() -> None:
    data = b"referral-broker/1 scope\n\x00\x0aprotection\x00\x0didentity_core"
    expected = b64u(hmac.new(KEY, data, hashlib.sha256).digest()[:16])
    assert binding.blind_scope(KEY, Purpose.PROTECTION, "identity_core") == expected
    assert binding.blind_scope(KEY, "protection", "identity_core") == expected


@given(st.tuples(ANY_TEXT, ANY_TEXT), st.tuples(ANY_TEXT, ANY_TEXT))
def test_no_two_scopes_run_together(one: tuple[str, str], other: tuple[str, str]) -> None:
    same = binding.blind_scope(KEY, *one) == binding.blind_scope(KEY, *other)
    assert same == (one == other)


def test_the_same_scope_under_two_grants_cannot_be_linked() -> None:
    assert binding.blind_scope(KEY, "a", "b") != binding.blind_scope(
        binding.new_grant_key(), "a", "b"
    )


def record(**changes: object) -> ConsentRecord:
    values = {
        "schema_version": "https://w3id.org/dpv/schema/dpv-27560#record",
        "record_id": UUID(int=1),
        "pii_principal_id": "IT-DEMO-0001",
        "privacy_notice": "notice 1",
        "language": "sqi",
        "how": "read-out",
        "interpreter": True,
        "scopes": (ScopeGrant(purpose=Purpose.PROTECTION, section="identity_core"),),
        "controller": "it.nrm",
        "recipient": "al.nrm",
        "jurisdiction": "IT",
        "withdrawal_method": "at any office",
        "retention_until": date(2027, 1, 1),
        "status": ConsentStatus.GIVEN,
        "given_at": NOW,
        "valid_until": date(2027, 1, 1),
        "presumed_child": False,
        "guardian": None,
        "derived_from": None,
    }
    return ConsentRecord(**{**values, **changes})  # type: ignore[arg-type]


def test_a_record_digest_is_keyed_and_depends_on_every_word() -> None:
    digest = binding.record_digest(KEY, record())
    expected = hmac.new(
        KEY, b"referral-broker/1 record\n" + rfc8785.dumps(record().to_dict()), hashlib.sha256
    )
    assert digest == b64u(expected.digest())
    assert digest == binding.record_digest(KEY, record())
    assert digest != binding.record_digest(KEY, record(privacy_notice="notice 2"))
    assert digest != binding.record_digest(b"l" * 32, record())


def test_a_commitment_says_nothing_without_its_salt() -> None:
    subject = binding.subject_of(b"signed")
    salt = binding.new_salt()
    assert (
        binding.commitment(salt, subject)
        == hashlib.sha256(b"referral-broker/1 leaf\n" + salt + subject).digest()
    )
    assert binding.commitment(salt, subject) != binding.commitment(binding.new_salt(), subject)


def test_the_labels_are_all_different_and_end_in_a_newline() -> None:
    labels = [value for name, value in vars(binding).items() if name.endswith("_LABEL")]
    assert len(set(labels)) == len(labels) == 6
    assert all(label.startswith(b"referral-broker/1 ") for label in labels)
    assert all(label.endswith(b"\n") for label in labels)


@pytest.mark.parametrize("offset", [0, 1, 10**6])
def test_an_id_is_a_uuid_of_version_7_that_sorts_by_time(offset: int) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(milliseconds=offset)
    one, later = binding.uuid7(now), binding.uuid7(now + timedelta(milliseconds=1))
    assert one.version == 7
    assert one.variant == "specified in RFC 4122"
    assert str(one) < str(later)
    assert one.int >> 80 == int(now.timestamp() * 1000)
    assert binding.uuid7(now) != one


def test_a_stream_context_names_thread_and_scope() -> None:
    thread = uuid4()
    contexts = {
        binding.stream_context(thread, "A" * 22),
        binding.stream_context(thread, None),
        binding.stream_context(uuid4(), "A" * 22),
    }
    assert len(contexts) == 3


def test_an_incarnation_is_new_each_time() -> None:
    assert len(binding.new_incarnation()) == 22
    assert binding.new_incarnation() != binding.new_incarnation()


def test_the_parts_of_a_sealed_envelope_are_in_compartment_order(
    italy: Party, albania: Party
) -> None:
    content = seal_envelope(
        make_draft(), {}, recipient=albania.entry, signer=italy.signer(), now=NOW
    ).content
    assert [part.to_key for part in content.parts] == [
        albania.sealing_key(1, compartment).kid
        for compartment in (Compartment.CASEWORK, Compartment.HEALTH)
    ]
