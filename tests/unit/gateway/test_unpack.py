"""From bytes to a message: what the header says is held against what is inside."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from broker.gateway.receive.unpack import Unpacked, unpack, verify
from keys.binding import blind_scope, stream_context
from keys.sealing import EnvelopeDraft, seal_envelope
from keys.streams import new_stream_key, open_stream, seal_stream
from keys.unsealing import Keyring
from schemas.base import b64u
from schemas.consent import Purpose
from schemas.directory import Compartment
from schemas.envelope import ConsentTag, Kind, Lane
from schemas.errors import (
    BadSignature,
    BrokerError,
    CannotOpen,
    RecipientUnknown,
    SchemaRefused,
    ScopeMismatch,
    SuiteRefused,
    UnknownType,
)
from tests.support.jose import jws, payload_of
from tests.support.parties import GRANT_KEY, NOW, Party, directory_of, make_draft, make_party

ITALY, ALBANIA = make_party("it.nrm"), make_party("al.nrm")
DIRECTORY = directory_of(ITALY, ALBANIA)
GRANT = UUID("01938f5e-0000-4000-8000-000000000006")
SCOPE = blind_scope(GRANT_KEY, Purpose.PROTECTION, "case_admin")


def casework(**changes: Any) -> dict[str, Any]:
    part: dict[str, Any] = {
        "type": "referral.request",
        "business_id": "01938f5e-0000-7000-8000-00000000000a",
        "case_ref": "CASE-1",
        "body": {"services": ["safe_house"]},
        "grant_key": b64u(GRANT_KEY),
        "scopes": [
            {
                "scope": SCOPE,
                "section": "case_admin",
                "purpose": "protection",
                "processing_basis": "eu-gdpr:A9-2-a",
                "transfer_basis": "eu-gdpr:A46-2-a",
            }
        ],
        "sections": {"case_admin": {"status": "Active"}},
    }
    return {**part, **changes}


def header(**changes: Any) -> EnvelopeDraft:
    tag = ConsentTag(grant=GRANT, scopes=(SCOPE,), until=NOW.date())
    return replace(
        make_draft(),
        **{
            "attachments": (),
            "consent": tag,
            "pauses_clock": False,
            "answer_by": NOW + timedelta(days=14),
            **changes,
        },
    )


def received(
    content: dict[str, Any], draft: EnvelopeDraft | None = None, **others: dict[str, Any]
) -> Unpacked:
    parts = {Compartment.CASEWORK: json.dumps(content).encode()}
    parts |= {Compartment(name): json.dumps(part).encode() for name, part in others.items()}
    sealed = seal_envelope(
        draft or header(), parts, recipient=ALBANIA.entry, signer=ITALY.signer(), now=NOW
    )
    verified = verify(sealed.raw, DIRECTORY, ourselves="al.nrm", now=NOW)
    keyring: Keyring = ALBANIA
    return unpack(verified, keyring, ALBANIA.entry)


def test_a_message_that_is_what_its_header_says_comes_out() -> None:
    opened = received(casework())

    assert opened.message.sections == {"case_admin": {"status": "Active"}}
    assert "Active" not in repr(opened)


def test_what_is_addressed_to_somebody_else_is_not_opened() -> None:
    sealed = seal_envelope(
        header(),
        {Compartment.CASEWORK: json.dumps(casework()).encode()},
        recipient=ALBANIA.entry,
        signer=ITALY.signer(),
        now=NOW,
    )

    with pytest.raises(RecipientUnknown):
        verify(sealed.raw, DIRECTORY, ourselves="it.nrm", now=NOW)


def _mislabelled() -> dict[str, Any]:
    """The header's scope stands for case_admin; inside it is said to be another section's."""
    content = casework(sections={"identity_core": {"first_name": "Invented"}})
    content["scopes"][0]["section"] = "identity_core"
    return content


def _other_purpose() -> dict[str, Any]:
    content = casework()
    content["scopes"][0]["purpose"] = "justice"
    return content


MISMATCHES: dict[str, tuple[dict[str, Any], EnvelopeDraft]] = {
    "a section under another section's scope": (_mislabelled(), header()),
    "another purpose than was granted": (_other_purpose(), header()),
    "no grant key to check with": (casework(grant_key=None), header()),
    "another grant's key": (casework(grant_key=b64u(b"x" * 32)), header()),
    "a scope in the header that nothing inside has": (
        casework(scopes=[], sections={"case_admin": {}}),
        header(),
    ),
    "a kind that is not the type's": (casework(), header(kind=Kind.NOTICE)),
    "a referral that calls itself a right": (
        casework(),
        header(kind=Kind.RIGHTS, lane=Lane.URGENT, answer_by=None),
    ),
    "an erasure that brings a section along": (
        casework(
            type="erase.notice",
            body={"ground": "unlawful"},
            sections={"case_admin": {"status": "Active"}},
        ),
        header(kind=Kind.RIGHTS, lane=Lane.URGENT, answer_by=NOW + timedelta(days=31)),
    ),
    "an erasure with something that nobody knows": (
        casework(type="erase.notice", body={"ground": "unlawful"}, sections={"gossip": {}}),
        header(kind=Kind.RIGHTS, lane=Lane.URGENT, answer_by=None),
    ),
    "a clock that the type does not stop": (casework(), header(pauses_clock=True)),
    "a lane that is too slow for the type": (
        casework(type="consent.withdraw"),
        header(kind=Kind.WITHDRAWAL),
    ),
    "a lane that is too fast for the type": (casework(), header(lane=Lane.URGENT)),
    "an emergency on the slow lane": (
        casework(body={"services": ["safe_house"], "urgency": "emergency"}),
        header(answer_by=NOW + timedelta(hours=24)),
    ),
    "an answer sooner than the urgency asks for": (
        casework(),
        header(answer_by=NOW + timedelta(hours=1)),
    ),
    "no answer awaited where the type asks for one": (casework(), header(answer_by=None)),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_a_header_that_is_not_the_truth_is_suspect(what: str) -> None:
    content, draft = MISMATCHES[what]

    with pytest.raises(ScopeMismatch):
        received(content, draft)


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]], type[BrokerError]]] = {
    "a type that nobody knows": (casework(type="referral.nonsense"), {}, UnknownType),
    "a field that nobody knows": (casework(nonsense=1), {}, SchemaRefused),
    "a section that nobody knows": (casework(sections={"gossip": {}}), {}, SchemaRefused),
    "a health section for everyone's eyes": (
        casework(sections={"health_general": {}}),
        {},
        SchemaRefused,
    ),
    "a section in a compartment where it does not belong": (
        casework(),
        {"health": {"sections": {"risk_security": {}}}},
        SchemaRefused,
    ),
    "a body that is not the type's": (casework(body={}), {}, SchemaRefused),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_each_broken_form_is_refused(what: str) -> None:
    content, others, error = REFUSALS[what]

    with pytest.raises(error):
        received(content, None, **others)


# --- What was true in one message, put into another ------------------------------------------

THIRD = make_party("xx.third")
EVERYBODY = directory_of(ITALY, ALBANIA, THIRD)
OTHER_ID = UUID("01938f5e-0000-7000-8000-0000000000ff")


def sealed_payload(**changes: Any) -> dict[str, Any]:
    parts = {Compartment.CASEWORK: json.dumps(casework()).encode()}
    sealed = seal_envelope(
        header(**changes), parts, recipient=ALBANIA.entry, signer=ITALY.signer(), now=NOW
    )
    return payload_of(sealed.raw)


ONE, OTHER = sealed_payload(), sealed_payload(id=OTHER_ID, thread=OTHER_ID)
MOVED: dict[str, tuple[dict[str, Any], Party, str, type[BrokerError]]] = {
    "a part of another message": (
        {**ONE, "parts": [OTHER["parts"][0], *ONE["parts"][1:]]}, ITALY, "al.nrm", CannotOpen
    ),
    "all parts of another message": ({**ONE, "parts": OTHER["parts"]}, ITALY, "al.nrm", CannotOpen),
    "the parts in another order": (
        {**ONE, "parts": ONE["parts"][::-1]}, ITALY, "al.nrm", CannotOpen
    ),
    "a part left out": ({**ONE, "parts": ONE["parts"][:1]}, ITALY, "al.nrm", CannotOpen),
    "one part's seal under the other's name": (
        {**ONE, "parts": [
            {"to_key": part["to_key"], "jwe": ONE["parts"][1 - place]["jwe"]}
            for place, part in enumerate(ONE["parts"])
        ]}, ITALY, "al.nrm", CannotOpen,
    ),
    "the header taken off and signed by another": (
        {**ONE, "from": "xx.third"}, THIRD, "al.nrm", CannotOpen
    ),
    "signed by another in the sender's name": (ONE, THIRD, "al.nrm", BadSignature),
    "readdressed": ({**ONE, "to": "xx.third"}, ITALY, "xx.third", SuiteRefused),
    "handed to somebody else as it is": (ONE, ITALY, "xx.third", RecipientUnknown),
    "its scope exchanged for another's": (
        {**ONE, "consent": {**ONE["consent"], "scopes": ["B" * 21 + "A"]}},
        ITALY, "al.nrm", CannotOpen,
    ),
    "under another grant": (
        {**ONE, "consent": {**ONE["consent"], "grant": str(OTHER_ID)}}, ITALY, "al.nrm", CannotOpen
    ),
    "a file of another message hung on": (
        {**ONE, "attachments": [{"scope": SCOPE, "digest": "A" * 43, "bucket": 65536}]},
        ITALY, "al.nrm", CannotOpen,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MOVED)
def test_what_was_true_of_one_message_is_not_believed_of_another(what: str) -> None:
    payload, signer, ourselves, error = MOVED[what]
    reader = {"al.nrm": ALBANIA, "xx.third": THIRD}[ourselves]
    with pytest.raises(error):
        unpack(
            verify(jws(payload, signer.signer()), EVERYBODY, ourselves=ourselves, now=NOW),
            reader,
            reader.entry,
        )


def test_a_file_opens_in_its_own_thread_and_scope_only() -> None:
    key, here = new_stream_key(), UUID(ONE["thread"])
    sealed = seal_stream([b"a file"], key=key, context=stream_context(here, SCOPE))
    data = b"".join(sealed)
    for thread, scope in ((OTHER_ID, SCOPE), (here, None), (here, "B" * 21 + "A")):
        context = stream_context(thread, scope)
        with pytest.raises(CannotOpen):
            list(open_stream([data], key=key, context=context, size=6, digest=sealed.digest))
    right = open_stream(
        [data], key=key, context=stream_context(here, SCOPE), size=6, digest=sealed.digest
    )
    assert b"".join(right) == b"a file"


def test_the_parties_have_keys_of_their_own() -> None:
    assert isinstance(ALBANIA, Party)
    assert ALBANIA.entry.keys != ITALY.entry.keys
