"""Who holds an agreement is told by what they signed; whoever passes it on can add nothing."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.jws import sign_jws
from keys.statements.suspension import Word, held, later, word_of
from schemas.agreement import SUSPENSION_TYP, Suspension
from schemas.directory import Function, KeyStatus, TrustedDirectory
from schemas.errors import BadSignature, BrokerError, Forbidden, FromTheFuture, KeyUnknown
from tests.support.parties import NOW, Party, directory_of

PARTIES = ("it.nrm", "al.nrm")
ID = UUID(int=5)


def statement(
    party: Party, action: str = "suspend", *, by: str | None = None, at: datetime = NOW
) -> bytes:
    content = Suspension.model_validate(
        {"agreement": ID, "by": by or party.entry.id, "action": action, "issued_at": at}
    )
    return sign_jws(content.to_json(), typ=SUSPENSION_TYP, signer=party.signer())


def test_a_party_holds_and_lets_go(italy: Party, directory: TrustedDirectory) -> None:
    assert word_of(statement(italy), PARTIES, directory, now=NOW).holds
    assert not word_of(statement(italy, "resume"), PARTIES, directory, now=NOW).holds


def test_what_a_party_said_stands_after_its_key_has_ended(
    italy: Party, directory: TrustedDirectory
) -> None:
    long_after = NOW + timedelta(days=3000)
    assert word_of(statement(italy), PARTIES, directory, now=long_after).holds
    assert not word_of(statement(italy, "resume"), PARTIES, directory, now=long_after).holds


@pytest.mark.parametrize("action", ["suspend", "resume"])
def test_a_compromised_key_can_hold_and_never_let_go(
    italy: Party, albania: Party, action: str
) -> None:
    directory = directory_of(italy.with_status(KeyStatus.COMPROMISED), albania)
    assert word_of(statement(italy, action), PARTIES, directory, now=NOW).holds


@pytest.mark.parametrize("at", [NOW - timedelta(days=4000), NOW + timedelta(days=4000)])
def test_a_key_lets_go_only_in_its_own_time(
    italy: Party, directory: TrustedDirectory, at: datetime
) -> None:
    now = NOW + timedelta(days=5000)
    assert word_of(statement(italy, "resume", at=at), PARTIES, directory, now=now).holds


def test_nobody_speaks_for_another(
    italy: Party, albania: Party, stranger: Party, directory: TrustedDirectory
) -> None:
    with pytest.raises(BadSignature):
        word_of(statement(albania, by="it.nrm"), PARTIES, directory, now=NOW)
    with pytest.raises(KeyUnknown):
        word_of(statement(stranger), PARTIES, directory, now=NOW)
    with pytest.raises(Forbidden):
        word_of(statement(stranger), PARTIES, directory_of(italy, albania, stranger), now=NOW)


def test_the_authority_of_a_partys_country_may_hold_too(
    italy: Party, directory: TrustedDirectory
) -> None:
    assert italy.entry.function is Function.NRM
    assert word_of(statement(italy), ("it.shelter", "al.nrm"), directory, now=NOW).holds


def test_nothing_is_dated_so_late_that_nobody_could_take_it_back(
    italy: Party, directory: TrustedDirectory
) -> None:
    skew = timedelta(minutes=10)
    assert word_of(statement(italy, at=NOW + skew), PARTIES, directory, now=NOW).holds
    late = statement(italy, at=NOW + skew + timedelta(seconds=1))
    with pytest.raises(FromTheFuture):
        word_of(late, PARTIES, directory, now=NOW)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_lets_go(
    italy: Party, directory: TrustedDirectory, position: int, bit: int
) -> None:
    raw = bytearray(statement(italy))
    raw[position % len(raw)] ^= 1 << bit
    with suppress(BrokerError):
        assert word_of(bytes(raw), PARTIES, directory, now=NOW).holds


said = st.lists(
    st.tuples(st.sampled_from(PARTIES), st.booleans(), st.integers(0, 5)), max_size=8
).map(lambda all_: [Word(ID, by, holds, NOW + timedelta(days=day)) for by, holds, day in all_])


def standing(heard: list[Word]) -> dict[tuple[UUID, str], Word]:
    known: dict[tuple[UUID, str], Word] = {}
    for word in heard:
        key = (word.agreement, word.by)
        known[key] = later(known.get(key), word)
    return known


@given(said, st.integers())
def test_neither_order_nor_repetition_of_words_changes_anything(
    heard: list[Word], seed: int
) -> None:
    shuffled = [*heard, *heard]
    Random(seed).shuffle(shuffled)
    assert standing(shuffled) == standing(heard)


@given(said, said)
def test_a_part_of_what_was_heard_told_again_lets_nothing_go(
    first: list[Word], rest: list[Word]
) -> None:
    assert held(standing([*first, *rest, *first]), ID) == held(standing([*first, *rest]), ID)
