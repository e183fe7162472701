"""A high-water mark is its sender's own word, and says exactly which numbers there must be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.gateway.network.marks import _ranges_without
from keys.statements.high_water import sign_high_water, verify_high_water
from schemas.directory import KeyStatus
from schemas.envelope import Lane
from schemas.errors import BadSignature, BrokerError, FromTheFuture, KeyRevoked, SchemaRefused
from schemas.high_water import HighWater
from tests.support.parties import NOW, directory_of, make_party

ITALY, ALBANIA = make_party("it.nrm"), make_party("al.nrm")
DIRECTORY = directory_of(ITALY, ALBANIA)


def a_mark(**changes: object) -> HighWater:
    values: dict[str, object] = {
        "by": "it.nrm",
        "to": "al.nrm",
        "lane": Lane.URGENT,
        "incarnation": "A" * 22,
        "upto": 9,
        "over": ((1, 2), (5, 5)),
        "issued_at": NOW,
    }
    return HighWater.model_validate(values | changes)


@given(st.sets(st.integers(1, 60)), st.integers(0, 70), st.integers(0, 70))
def test_what_is_expected_is_what_was_sent_and_is_not_void(
    expected: set[int], more: int, after: int
) -> None:
    upto = max(expected, default=0) + more
    over, reached = _ranges_without(sorted(expected), upto)
    mark = a_mark(upto=reached, over=over)
    assert mark.expects(after=after) == [n for n in sorted(expected) if n > after]


@pytest.mark.parametrize("over", [((2, 1),), ((3, 4), (1, 2)), ((1, 2), (2, 3)), ((9, 10),)])
def test_ranges_out_of_order_are_refused(over: object) -> None:
    raw = sign_high_water(a_mark().model_copy(update={"over": over}), ITALY.signer())
    with pytest.raises(SchemaRefused):
        verify_high_water(raw, DIRECTORY, now=NOW)


def test_the_senders_own_word_is_taken() -> None:
    raw = sign_high_water(a_mark(), ITALY.signer())
    assert verify_high_water(raw, DIRECTORY, now=NOW) == a_mark()


def test_nobody_else_speaks_for_a_sender() -> None:
    with pytest.raises(BadSignature):
        verify_high_water(sign_high_water(a_mark(), ALBANIA.signer()), DIRECTORY, now=NOW)


def test_a_mark_of_tomorrow_and_one_by_a_stolen_key_are_refused() -> None:
    late = a_mark(issued_at=NOW + timedelta(minutes=11))
    with pytest.raises(FromTheFuture):
        verify_high_water(sign_high_water(late, ITALY.signer()), DIRECTORY, now=NOW)
    raw = sign_high_water(a_mark(), ITALY.signer())
    stolen = ITALY.entry.model_copy(
        update={
            "keys": tuple(
                key.model_copy(update={"status": KeyStatus.COMPROMISED}) for key in ITALY.entry.keys
            )
        }
    )
    with pytest.raises(KeyRevoked):
        verify_high_water(raw, directory_of(replace(ITALY, entry=stolen)), now=NOW)


def test_with_any_bit_flipped_it_is_refused() -> None:
    raw = sign_high_water(a_mark(), ITALY.signer())
    for place in range(0, len(raw), 3):
        changed = bytearray(raw)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(BrokerError):
            verify_high_water(bytes(changed), DIRECTORY, now=NOW)
