"""The state machines: late is recorded, withdrawal always ends, and a case has one owner."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.clock import deadline
from schemas.consent import VALID_STATUSES, ConsentStatus
from schemas.errors import NotPermitted
from schemas.evidence import PRECEDENCE, Fact
from schemas.machine import By, Effect, Machine, next_state, step
from schemas.obligations import OBLIGATION, ObligationEvent, Owed
from schemas.states import (
    CONSENT,
    DELIVERY,
    DIALOGUE,
    INQUIRY,
    MACHINES,
    NOTICE,
    REFERRAL,
    RETURN,
    TRANSFER,
    add_signature,
    owner,
)

ALL = [*MACHINES.values(), OBLIGATION]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVERYTHING = frozenset[str]().union(
    *(needed for machine in MACHINES.values() for needed in machine.guards.values())
)


def acts(machine: Machine) -> list[tuple[str, By]]:
    return sorted({(event, by) for (_, event, by) in machine.edges})


def run(machine: Machine, *events: tuple[str, By]) -> str:
    state = machine.initial
    for event, by in events:
        state = step(machine, state, event, by, given=EVERYTHING).state
    return state


histories = st.sampled_from(ALL).flatmap(
    lambda machine: st.tuples(
        st.just(machine), st.lists(st.sampled_from(acts(machine)), max_size=40)
    )
)


@given(histories)
def test_no_history_however_disordered_leads_to_a_state_outside_the_table(
    case: tuple[Machine, list[tuple[str, By]]],
) -> None:
    machine, events = case
    state = machine.initial
    for event, by in events:
        outcome = step(machine, state, event, by)
        assert outcome.state in machine.states
        if outcome.effect is not Effect.MOVED:
            assert outcome.state == state
        state = outcome.state


@given(histories)
def test_a_duplicate_never_moves_anything_except_where_the_table_repeats(
    case: tuple[Machine, list[tuple[str, By]]],
) -> None:
    machine, events = case
    state = machine.initial
    for event, by in events:
        first = step(machine, state, event, by)
        second = step(machine, first.state, event, by)
        assert second.state == first.state
        if first.effect is Effect.MOVED:
            assert second.effect is not Effect.REFUSED
        state = first.state


@given(histories, st.booleans())
def test_an_ended_exchange_records_and_never_moves_but_for_its_last_word(
    case: tuple[Machine, list[tuple[str, By]]], heard: bool
) -> None:
    machine, events = case
    for state in machine.terminal:
        for event, by in events:
            outcome = step(machine, state, event, by, heard=heard)
            if outcome.effect is Effect.MOVED:
                assert outcome.state == machine.last_word
            else:
                assert outcome.state == state


@pytest.mark.parametrize(
    "machine", [REFERRAL, TRANSFER, RETURN, INQUIRY, DIALOGUE, NOTICE], ids=lambda m: m.name
)
def test_withdrawal_ends_every_exchange_that_has_not_ended_from_either_side(
    machine: Machine,
) -> None:
    for state in machine.states - machine.terminal:
        for by in By:
            outcome = step(machine, state, "withdraw", by)
            assert (outcome.state, outcome.effect) == ("withdrawn", Effect.MOVED)


@pytest.mark.parametrize("machine", ALL, ids=lambda m: m.name)
def test_every_state_can_be_reached_and_every_open_one_can_be_left(machine: Machine) -> None:
    reached = {machine.initial}
    while True:
        more = {target for (source, _, _), target in machine.edges.items() if source in reached}
        if more <= reached:
            break
        reached |= more
    assert reached == machine.states
    for state in machine.states - machine.terminal:
        assert any(source == state for (source, _, _) in machine.edges)


@pytest.mark.parametrize("machine", ALL, ids=lambda m: m.name)
def test_an_unknown_event_or_state_is_not_guessed_at(machine: Machine) -> None:
    for by in By:
        assert step(machine, machine.initial, "nonsense", by).effect is Effect.REFUSED
    with pytest.raises(ValueError, match="no such state"):
        step(machine, "nonsense", "withdraw", By.SENDER)


def test_a_table_with_an_edge_out_of_an_end_is_a_bug_that_shows_at_once() -> None:
    with pytest.raises(ValueError, match="terminal"):
        Machine("bad", "a", frozenset({"b"}), {("b", "go", By.SENDER): "a"})
    with pytest.raises(ValueError, match="paused"):
        Machine("bad", "a", frozenset({"b"}), {}, paused=frozenset({"c"}))


# --- referral ---------------------------------------------------------------------------------

REQUEST = ("request", By.SENDER)
ACCEPT = ("accept", By.RECIPIENT)
OUTCOME = ("outcome", By.RECIPIENT)
CANCEL = ("cancel_request", By.SENDER)


def test_the_closed_loop_of_a_referral() -> None:
    assert (
        run(
            REFERRAL,
            REQUEST,
            ("delivered", By.BROKER),
            ("received", By.RECIPIENT),
            ("clarify_request", By.RECIPIENT),
            ("clarify_reply", By.SENDER),
            ACCEPT,
            ("interim", By.RECIPIENT),
            OUTCOME,
        )
        == "completed"
    )


def test_a_late_receipt_does_not_move_a_referral_back() -> None:
    accepted = run(REFERRAL, REQUEST, ACCEPT)
    for late in (("delivered", By.BROKER), ("received", By.RECIPIENT)):
        assert step(REFERRAL, accepted, *late).effect is Effect.RECORDED


def test_an_outcome_that_crosses_a_cancellation_wins_on_both_sides() -> None:
    sender = run(REFERRAL, REQUEST, ACCEPT, CANCEL, OUTCOME)
    recipient = run(REFERRAL, REQUEST, ACCEPT, OUTCOME, CANCEL)
    assert sender == recipient == "completed"


def test_a_cancellation_takes_a_confirmation() -> None:
    assert run(REFERRAL, REQUEST, ACCEPT, CANCEL) == "cancel_requested"
    confirm = ("cancel_confirm", By.RECIPIENT)
    assert run(REFERRAL, REQUEST, ACCEPT, CANCEL, confirm) == "cancelled"
    assert step(REFERRAL, "accepted", *confirm).effect is Effect.REFUSED


def test_an_interim_note_does_not_undo_a_cancellation_request() -> None:
    outcome = step(REFERRAL, "cancel_requested", "interim", By.RECIPIENT)
    assert (outcome.state, outcome.effect) == ("cancel_requested", Effect.RECORDED)


def test_a_referral_may_be_declined_after_it_was_accepted() -> None:
    assert run(REFERRAL, REQUEST, ACCEPT, ("decline", By.RECIPIENT)) == "declined"


def test_nobody_answers_for_the_other() -> None:
    for event in ("accept", "decline", "outcome", "clarify_request", "received"):
        assert step(REFERRAL, "delivered", event, By.SENDER).effect is Effect.REFUSED
    assert step(REFERRAL, "accepted", "cancel_request", By.RECIPIENT).effect is Effect.REFUSED


def test_an_answer_to_what_was_never_asked_is_refused() -> None:
    assert step(REFERRAL, "draft", *ACCEPT).effect is Effect.REFUSED


def test_our_own_acts_must_move_something() -> None:
    assert next_state(REFERRAL, "delivered", "accept", By.RECIPIENT) == "accepted"
    with pytest.raises(NotPermitted):
        next_state(REFERRAL, "declined", "accept", By.RECIPIENT)


def test_only_an_open_question_stops_the_clock() -> None:
    assert REFERRAL.paused == {"clarifying"}
    due = deadline(NOW, 24 * HOUR, [(NOW + HOUR, NOW + 3 * HOUR)], NOW + 5 * HOUR)
    assert due == NOW + 26 * HOUR


def test_a_question_that_is_still_open_moves_the_deadline_along() -> None:
    assert deadline(NOW, HOUR, [(NOW, None)], NOW + 9 * HOUR) == NOW + 10 * HOUR


def test_asking_twice_at_once_buys_no_extra_time() -> None:
    pauses = [(NOW + HOUR, NOW + 4 * HOUR), (NOW + 2 * HOUR, NOW + 3 * HOUR)]
    assert deadline(NOW, 24 * HOUR, pauses, NOW + 9 * HOUR) == NOW + 27 * HOUR


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8),
    st.integers(0, 200),
)
def test_pauses_never_bring_a_deadline_forward_nor_count_more_than_the_time_that_passed(
    spans: list[tuple[int, int]], passed: int
) -> None:
    pauses = [(NOW + a * HOUR, NOW + max(a, b) * HOUR) for a, b in spans]
    due = deadline(NOW, 24 * HOUR, pauses, NOW + passed * HOUR)
    assert NOW + 24 * HOUR <= due <= NOW + 24 * HOUR + 100 * HOUR


# --- transfer: never empty, never double ---------------------------------------------------------

OFFER = ("offer", By.SENDER)
TAKE = ("accept", By.RECIPIENT)
FILE = ("casefile", By.SENDER)
FILE_OK = ("casefile_ack", By.RECIPIENT)
SENDER_SIGNS = ("complete", By.SENDER)
RECIPIENT_SIGNS = ("complete", By.RECIPIENT)


def test_a_case_changes_hands_when_both_have_signed_and_not_before() -> None:
    state, signed = run(TRANSFER, OFFER, TAKE, FILE, FILE_OK), frozenset[By]()
    assert owner(state, signed) is By.SENDER
    outcome, signed = add_signature(state, signed, By.SENDER)
    assert owner(outcome.state, signed) is By.SENDER
    outcome, signed = add_signature(outcome.state, signed, By.RECIPIENT)
    assert outcome.state == "completed"
    assert owner(outcome.state, signed) is By.RECIPIENT


def test_the_recipient_cannot_sign_first() -> None:
    outcome, signed = add_signature("file_acknowledged", frozenset(), By.RECIPIENT)
    assert outcome.effect is Effect.REFUSED
    assert signed == frozenset()


def test_a_signature_repeated_counts_once() -> None:
    outcome, signed = add_signature("completed", frozenset({By.SENDER, By.RECIPIENT}), By.SENDER)
    assert (outcome.state, outcome.effect) == ("completed", Effect.RECORDED)
    assert signed == {By.SENDER, By.RECIPIENT}


def test_an_incomplete_file_goes_back_to_be_sent_again() -> None:
    missing = ("casefile_missing", By.RECIPIENT)
    assert run(TRANSFER, OFFER, TAKE, FILE, missing, FILE, FILE_OK) == "file_acknowledged"


def test_having_signed_the_sender_cannot_revoke() -> None:
    state = run(TRANSFER, OFFER, TAKE, FILE, FILE_OK, SENDER_SIGNS)
    assert step(TRANSFER, state, "revoke", By.SENDER).effect is Effect.RECORDED
    with pytest.raises(NotPermitted):
        next_state(TRANSFER, state, "revoke", By.SENDER)


class Side:
    """One party's own copy of the thread: what it did and what has reached it."""

    def __init__(self, by: By) -> None:
        self.by = by
        self.state = TRANSFER.initial
        self.signed: frozenset[By] = frozenset()

    def take(self, event: str, by: By) -> Effect:
        if event == "complete":
            outcome, self.signed = add_signature(self.state, self.signed, by)
        else:
            outcome = step(
                TRANSFER, self.state, event, by, given=EVERYTHING, heard=by is not self.by
            )
        self.state = outcome.state
        return outcome.effect

    def may(self) -> list[str]:
        return sorted(TRANSFER.events(self.state, self.by))

    def believes(self) -> By:
        return owner(self.state, self.signed)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120))
def test_two_sides_over_a_bad_network_never_leave_a_person_without_an_owner(
    seed: int, length: int
) -> None:
    """Messages are lost, doubled and reordered; withdrawals and revocations cross everything."""
    dice = random.Random(seed)
    sides = {By.SENDER: Side(By.SENDER), By.RECIPIENT: Side(By.RECIPIENT)}
    sent: dict[By, list[str]] = {By.SENDER: [], By.RECIPIENT: []}
    signatures: set[By] = set()

    def check() -> None:
        somebody = [by for by, side in sides.items() if side.believes() is by]
        assert somebody, "nobody thinks the case is theirs"
        truth = By.RECIPIENT if len(signatures) == 2 else By.SENDER
        assert sides[truth].believes() is truth
        # Both believe it only while the countersignature travels to the sender.
        if len(somebody) == 2:
            assert signatures == {By.SENDER, By.RECIPIENT}

    for _ in range(length):
        by = dice.choice([By.SENDER, By.RECIPIENT])
        other = By.RECIPIENT if by is By.SENDER else By.SENDER
        if dice.random() < 0.5 and sides[by].may():
            choices = sides[by].may()
            gentle = [c for c in choices if c not in ("withdraw", "revoke", "decline")]
            # Mostly the story goes on, or no run would come as far as the signatures.
            if gentle and dice.random() < 0.97:
                choices = gentle
            elif not gentle and dice.random() < 0.9:
                continue
            event = dice.choice(choices)
            assert sides[by].take(event, by) is Effect.MOVED
            sent[by].append(event)
            if event == "complete":
                signatures.add(by)
        elif sent[other]:
            sides[by].take(dice.choice(sent[other][-3:]), other)
        check()

    # In the end everything arrives, in the order of each stream, as often as the network likes.
    for _ in range(2):
        for by, other in ((By.SENDER, By.RECIPIENT), (By.RECIPIENT, By.SENDER)):
            for event in sent[other]:
                sides[by].take(event, other)
                check()
    assert sides[By.SENDER].believes() is sides[By.RECIPIENT].believes()


# --- consent -------------------------------------------------------------------------------------


def test_only_given_and_renewed_lead_to_a_valid_status() -> None:
    valid = {target for (_, event, _), target in CONSENT.edges.items() if event != "narrow"}
    assert {ConsentStatus(state) for state in valid} & VALID_STATUSES == VALID_STATUSES
    for (_, event, _), target in CONSENT.edges.items():
        if ConsentStatus(target) in VALID_STATUSES:
            assert event in {"give", "renew", "narrow"}


def test_what_was_withdrawn_cannot_be_renewed_only_asked_for_anew() -> None:
    for ended in (ConsentStatus.WITHDRAWN, ConsentStatus.REVOKED, ConsentStatus.INVALIDATED):
        for event in ("give", "renew"):
            assert step(CONSENT, ended, event, By.SENDER).effect is not Effect.MOVED


def test_an_expired_consent_can_be_renewed() -> None:
    assert step(CONSENT, ConsentStatus.EXPIRED, "renew", By.SENDER).state == ConsentStatus.RENEWED


def test_either_side_and_the_country_can_withdraw() -> None:
    for by in By:
        assert step(CONSENT, ConsentStatus.GIVEN, "withdraw", by).state == ConsentStatus.WITHDRAWN


# --- delivery ------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(PRECEDENCE), max_size=12))
def test_facts_in_any_order_end_where_their_precedence_says(facts: list[Fact]) -> None:
    state = DELIVERY.initial
    for fact in facts:
        by = next(by for (_, event, by) in DELIVERY.edges if event == fact)
        state = step(DELIVERY, state, fact, by).state
    assert state == next((fact.value for fact in PRECEDENCE if fact in facts), DELIVERY.initial)


def test_a_receipt_that_arrives_at_the_deadline_wins_over_undelivered() -> None:
    assert step(DELIVERY, "undelivered", "delivered", By.RECIPIENT).state == "delivered"
    assert step(DELIVERY, "delivered", "undelivered", By.BROKER).effect is Effect.RECORDED


# --- obligations, all that the hub knows ------------------------------------------------------------


def test_an_obligation_ends_with_an_answer_even_after_its_deadline() -> None:
    assert (
        run(
            OBLIGATION,
            (ObligationEvent.ASK, By.SENDER),
            (ObligationEvent.DEADLINE, By.BROKER),
            (ObligationEvent.ANSWER, By.RECIPIENT),
        )
        == Owed.ANSWERED
    )


def test_an_open_question_cannot_be_overdue() -> None:
    outcome = step(OBLIGATION, Owed.PAUSED, ObligationEvent.DEADLINE, By.BROKER)
    assert outcome.effect is not Effect.MOVED


def test_a_question_after_the_deadline_does_not_excuse_it() -> None:
    outcome = step(OBLIGATION, Owed.OVERDUE, ObligationEvent.QUESTION, By.RECIPIENT)
    assert (outcome.state, outcome.effect) == (Owed.OVERDUE, Effect.RECORDED)


def test_a_withdrawal_ends_what_is_owed() -> None:
    for state in OBLIGATION.states - OBLIGATION.terminal - {Owed.NONE}:
        assert step(OBLIGATION, state, ObligationEvent.WITHDRAW, By.SENDER).state == Owed.WITHDRAWN
