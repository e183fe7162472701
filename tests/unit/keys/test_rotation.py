"""Keys are replaced before they end and destroyed after it; nobody is ever without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.lifecycle import KeySet, Validity, new_key, new_keys
from keys.rotation import STANDARD, days_left, due, outlived, rotated, slot_of, state_of, warnings
from keys.sealing import seal_envelope
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import unseal_envelope
from schemas.directory import Compartment, KeyStatus, KeyUse, PublishedKey
from schemas.errors import CannotOpen
from tests.support.parties import NOW, Party, directory_of, make_draft

DAY = timedelta(days=1)
SEAL_ENDS = NOW + 90 * DAY


def fresh() -> tuple[PublishedKey, ...]:
    """Two compartments, one suite, as on the day of enrolment."""
    _, published = new_keys(
        compartments=(Compartment.CASEWORK, Compartment.HEALTH), suites=(1,), now=NOW
    )
    return published


def turn(keys: tuple[PublishedKey, ...], now: datetime) -> tuple[PublishedKey, ...]:
    """One run of `referral keys rotate`, published the same day."""
    todo = due(keys, now)
    made = [new_key(*slot, start=now + STANDARD.lead).published() for slot in todo.make]
    return rotated(keys, todo, made)


def test_nothing_is_due_while_nothing_ends_soon() -> None:
    assert not due(fresh(), NOW)
    assert not due(fresh(), SEAL_ENDS - STANDARD.lead - STANDARD.overlap - DAY)


def test_a_successor_is_pending_then_overlaps_then_the_old_one_ends_and_dies() -> None:
    start = SEAL_ENDS - STANDARD.lead - STANDARD.overlap
    keys = turn(fresh(), start)
    seals = [key for key in keys if key.compartment is Compartment.CASEWORK]
    old, new = seals
    at = {
        start: (KeyStatus.ACTIVE, KeyStatus.PENDING),
        start + STANDARD.lead: (KeyStatus.ACTIVE, KeyStatus.ACTIVE),
        SEAL_ENDS - DAY: (KeyStatus.ACTIVE, KeyStatus.ACTIVE),
        SEAL_ENDS: (KeyStatus.RETIRED, KeyStatus.ACTIVE),
    }
    assert {when: (state_of(old, when), state_of(new, when)) for when in at} == at
    later = SEAL_ENDS + STANDARD.grace
    assert due(keys, SEAL_ENDS).retire
    assert not due(keys, SEAL_ENDS).destroy
    assert old.kid in due(keys, later).destroy
    dead = {key.kid: key.status for key in turn(keys, later)}
    assert dead[old.kid] is KeyStatus.DESTROYED
    assert due(turn(keys, later), SEAL_ENDS + STANDARD.forget).drop


def test_running_it_twice_makes_nothing_twice() -> None:
    start = SEAL_ENDS - STANDARD.lead - STANDARD.overlap
    once = turn(fresh(), start)
    assert turn(once, start) == once
    assert turn(once, start + DAY) == once


def test_senders_go_over_to_the_successor_by_themselves(italy: Party) -> None:
    start = SEAL_ENDS - STANDARD.lead - STANDARD.overlap
    keys = turn(fresh(), start)
    entry = italy.entry.model_copy(update={"keys": keys})
    old = entry.sealing_keys(start, 1)
    new = entry.sealing_keys(start + STANDARD.lead, 1)
    assert set(old) == set(new)
    assert not {key.kid for key in old.values()} & {key.kid for key in new.values()}


@settings(max_examples=15, deadline=None)
@given(pauses=st.lists(st.integers(1, 20), min_size=20, max_size=40))
def test_whoever_rotates_at_least_every_three_weeks_is_never_without_a_key(
    pauses: list[int],
) -> None:
    keys, now = fresh(), NOW
    slots = {slot_of(key) for key in keys}
    for pause in pauses:
        for day in range(pause):
            moment = now + day * DAY
            current = {slot_of(key) for key in keys if key.is_current(moment)}
            assert current == slots
        now += pause * DAY
        keys = turn(keys, now)
        assert len(keys) <= 32
        assert len({key.kid for key in keys}) == len(keys)


def test_warnings_come_at_their_steps_and_end_with_a_successor() -> None:
    _, keys = new_keys(compartments=(), suites=(1,), now=NOW, validity=Validity(sign=365 * DAY))
    ends = keys[0].not_after
    steps = {
        left: [days for _, days in warnings(keys, ends - left * DAY)] for left in (61, 60, 30, 7)
    }
    assert steps == {61: [], 60: [60], 30: [30], 7: [7]}
    assert days_left(keys, ends - 7 * DAY) == 7.0
    successor = new_key(KeyUse.SIGN, 1, None, start=ends - 30 * DAY).published()
    assert warnings((*keys, successor), ends - 7 * DAY) == ()
    assert days_left((), NOW) == 0.0


def test_sixty_days_are_no_news_for_a_key_of_ninety() -> None:
    seals = [key for key in fresh() if key.use is KeyUse.SEAL]
    assert warnings(seals, SEAL_ENDS - 59 * DAY) == ()
    assert {days for _, days in warnings(seals, SEAL_ENDS - 30 * DAY)} == {30}


def test_what_was_sealed_to_a_destroyed_key_never_opens_again(italy: Party, albania: Party) -> None:
    sealed = seal_envelope(
        make_draft(1),
        {Compartment.CASEWORK: b'{"invented":1}'},
        recipient=albania.entry,
        signer=italy.signer(1),
        now=NOW,
    )
    verified = verify_envelope(parse_envelope(sealed.raw), directory_of(italy, albania), now=NOW)
    assert unseal_envelope(verified, albania, albania.entry)
    left = KeySet(tuple(key for key in albania.keys.keys if key.use is not KeyUse.SEAL))
    with pytest.raises(CannotOpen):
        unseal_envelope(verified, replace(albania, keys=left), albania.entry)


def test_a_destroyed_signing_key_verifies_what_lasts_and_nothing_new(italy: Party) -> None:
    gone = italy.with_status(KeyStatus.DESTROYED).signing_key()
    assert not gone.may_verify(NOW)
    assert not gone.is_current(NOW)


def test_a_private_key_dies_a_day_after_the_end_that_the_directory_shows() -> None:
    private, published = new_keys(compartments=(Compartment.CASEWORK,), suites=(1,), now=NOW)
    seal = next(key for key in private.keys if key.use is KeyUse.SEAL)
    end = seal.not_after + STANDARD.grace
    assert outlived(private.keys, published, end - timedelta(seconds=1)) == ()
    assert outlived(private.keys, published, end) == (seal.kid,)
    # Its country may have said another day; what was never published has its own alone.
    later = tuple(key.model_copy(update={"not_after": end}) for key in published)
    assert outlived(private.keys, later, end) == ()
    assert outlived(private.keys, (), end) == (seal.kid,)
