"""A country's codes are signed by its own focal point, and by nobody else."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from keys.statements.code_sets import sign_code_set, verify_code_set
from schemas.codes.sets import CodeSetNote
from schemas.directory import Function, KeyStatus
from schemas.errors import BadSignature, Forbidden, KeyRevoked, KeyUnknown, MalformedJson
from tests.support.parties import NOW, directory_of, make_party

IT, AL = make_party("it.nrm"), make_party("al.nrm")


def a_note(**changes: Any) -> CodeSetNote:
    values = {"country": "IT", "version": 1, "digest": "d" * 43, "by": "it.nrm", "signed_at": NOW}
    return CodeSetNote.model_validate({**values, **changes})


def test_a_note_of_the_focal_point_is_its_countrys_word() -> None:
    raw = sign_code_set(a_note(), IT.signer())
    assert verify_code_set(raw, directory_of(IT, AL), now=NOW) == a_note()


def test_another_country_a_shelter_and_a_stranger_cannot_sign_it() -> None:
    shelter = IT.entry.model_copy(update={"function": Function.SHELTER})
    directory = directory_of(IT, AL)
    foreign = sign_code_set(a_note(by="al.nrm"), AL.signer())
    with pytest.raises(Forbidden):
        verify_code_set(foreign, directory, now=NOW)
    with pytest.raises(BadSignature):
        verify_code_set(sign_code_set(a_note(), AL.signer()), directory, now=NOW)
    with pytest.raises(KeyUnknown):
        verify_code_set(foreign, directory_of(IT), now=NOW)
    own = sign_code_set(a_note(), IT.signer())
    entries = directory_of(IT)
    entries.by_kid[IT.signing_key().kid] = (shelter, IT.signing_key())
    with pytest.raises(Forbidden):
        verify_code_set(own, entries, now=NOW)


def test_a_revoked_or_old_key_and_a_changed_byte_are_refused() -> None:
    raw = sign_code_set(a_note(), IT.signer())
    with pytest.raises(KeyRevoked):
        verify_code_set(raw, directory_of(IT.with_status(KeyStatus.COMPROMISED)), now=NOW)
    with pytest.raises(KeyRevoked):
        verify_code_set(raw, directory_of(IT), now=NOW + timedelta(days=9000))
    other = sign_code_set(a_note(version=2), IT.signer())
    mixed = json.dumps({**json.loads(raw), "payload": json.loads(other)["payload"]}).encode()
    with pytest.raises(BadSignature):
        verify_code_set(mixed, directory_of(IT), now=NOW)
    with pytest.raises(MalformedJson):
        verify_code_set(b"{", directory_of(IT), now=NOW)
