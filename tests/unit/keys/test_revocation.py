"""Who may say that a key is in other hands, and that nothing else counts as saying it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.client import KnownRevocations
from keys.jws import sign_jws
from keys.statements.revocation import sign_revocation, verify_revocation
from schemas.directory import Function, KeyStatus, TrustedDirectory
from schemas.errors import (
    BadSignature,
    Forbidden,
    FromTheFuture,
    KeyRevoked,
    KeyUnknown,
    Refused,
)
from schemas.revocation import Revocation
from tests.support.parties import NOW, Party, directory_of, make_party

ITALY, ALBANIA = make_party("it.nrm"), make_party("al.nrm")
NGO = make_party("it.ngo")
NGO_ENTRY = NGO.entry.model_copy(update={"function": Function.SHELTER})
WORLD: TrustedDirectory = directory_of(ITALY, ALBANIA, NGO)
WORLD.participants["it.ngo"] = NGO_ENTRY
WORLD.by_kid.update({key.kid: (NGO_ENTRY, key) for key in NGO_ENTRY.keys})


def statement(by: Party, of: Party, /, **changes: object) -> Revocation:
    content = Revocation(
        id=UUID("01938f5e-0000-4000-8000-000000000009"),
        participant=of.entry.id,
        keys=(of.signing_key().kid,),
        since=NOW - timedelta(days=1),
        by=by.entry.id,
        issued_at=NOW,
    )
    return content.model_copy(update=changes)


def signed(by: Party, of: Party, /, **changes: object) -> bytes:
    return sign_revocation(statement(by, of, **changes), by.signer())


def verify(raw: bytes, directory: TrustedDirectory = WORLD, *, in_force: bool = True) -> None:
    verify_revocation(raw, directory, now=NOW, in_force=in_force)


@pytest.mark.parametrize(("by", "of"), [(ITALY, ITALY), (NGO, NGO), (ITALY, NGO)])
def test_the_participant_and_its_countrys_authority_may_say_it(by: Party, of: Party) -> None:
    verify(signed(by, of))


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (lambda: signed(NGO, ITALY), Forbidden),
        (lambda: signed(ALBANIA, ITALY), Forbidden),
        (lambda: signed(make_party("it.nrm"), ITALY), KeyUnknown),
        (lambda: signed(ITALY, ITALY, keys=(ALBANIA.signing_key().kid,)), KeyUnknown),
        (lambda: signed(ITALY, ITALY, keys=("A" * 43,)), KeyUnknown),
        (lambda: signed(ITALY, ITALY, by="al.nrm"), BadSignature),
        (lambda: signed(ITALY, ITALY, issued_at=NOW + timedelta(minutes=11)), FromTheFuture),
        (lambda: sign_jws(statement(ITALY, ITALY).to_json(), typ="referral-grant+jws",
                          signer=ITALY.signer()), BadSignature),
        (lambda: signed(ITALY, ITALY)[:-20] + b'A"}', Refused),
    ],
    ids=["not an authority", "another country", "a stranger", "another's key", "nobody's key",
         "in another's name", "from the future", "another object", "cut off"],
)  # fmt: skip
def test_nobody_else_says_it(raw: Callable[[], bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        verify(raw())


def test_ten_minutes_of_skew_are_bearable() -> None:
    verify(signed(ITALY, ITALY, issued_at=NOW + timedelta(minutes=9)))


def test_what_lies_over_a_directory_is_compromised_and_dated() -> None:
    kid = ITALY.signing_key().kid
    since = NOW - timedelta(days=1)
    over = WORLD.revoking({kid: since})
    found = over.key(kid)
    assert found is not None
    assert found[1].status is KeyStatus.COMPROMISED
    assert over.participants["it.nrm"].keys == found[0].keys
    assert over.compromised_since == {kid: since}
    assert WORLD.revoking({"A" * 43: since}) is WORLD
    assert WORLD.key(kid) == (ITALY.entry, ITALY.signing_key())


def test_a_revoked_key_says_nothing_new_and_what_it_said_stays_said() -> None:
    raw = signed(ITALY, ITALY)
    over = WORLD.revoking({ITALY.signing_key().kid: NOW})
    with pytest.raises(KeyRevoked):
        verify(raw, over)
    verify(raw, over, in_force=False)


def test_the_feed_is_kept_as_it_was_signed_and_read_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("feed")
    known = KnownRevocations(folder)
    known.add([(1, signed(ITALY, NGO)), (2, signed(ALBANIA, ITALY))])
    with (folder / "revocations.jsonl").open("ab") as file:
        file.write(b'\n{"position": 3, "revoca')
    again = KnownRevocations(folder)
    assert again.position == 2
    applied = again.applied(WORLD, NOW)
    # What a stranger said is kept, and counts for nothing.
    assert set(applied.compromised_since) == {NGO.signing_key().kid}


@settings(deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_suspect(data: st.DataObject) -> None:
    raw = bytearray(signed(ITALY, NGO))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((Refused, BadSignature)):
        verify(bytes(raw))
