"""Random conversations between two gateways: every type, over a network that loses, doubles,
reorders, and a hub that refuses.

Each side is its own copy of a thread and nothing else: what it may say, it says; what reaches it, it
takes. Whatever happens, no message of an honest side is refused, no state is invented, an end is an
end, and a case has one owner.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.gateway import threads
from broker.gateway.network.unsaid import without
from schemas.bodies.common import Body
from schemas.catalogue import catalogue, message_type
from schemas.errors import NotPermitted
from schemas.families.base import MessageType
from schemas.machine import By, Effect
from schemas.states import MACHINES, THREADED
from schemas.states.unsaid import Stands
from tests.support.exchanges import bodies

THREAD = UUID("0194f3a0-0000-7000-8000-000000000001")
ENDING = {"withdraw", "revoke", "decline", "refuse", "cancel_request", "decide_stay", "recall"}


@dataclass(frozen=True)
class Said:
    """One message."""

    number: int
    by: By
    row: MessageType
    body: Body


WORDS = [
    (row, body) for row in catalogue.values() if row.machine in THREADED for body in bodies(row)
]


@dataclass
class Kept:
    """One row of a thread's history."""

    position: int
    message: int
    by: str
    event: str
    before: str
    late: bool
    unsaid: bool = False


@dataclass
class Side:
    """One gateway's copy of the thread."""

    by: By
    thread: threads.ThreadState | None = None
    seen: set[int] = field(default_factory=set)
    history: list[Kept] = field(default_factory=list)

    def new(self, row: MessageType) -> threads.ThreadState:
        ours = self.by is By.SENDER
        return threads.new_thread(
            row,
            thread_id=THREAD,
            partner="al.nrm" if ours else "it.nrm",
            role=threads.SENDER if ours else threads.RECIPIENT,
            case_ref="IT-1",
            business_id=THREAD,
        )

    def may_say(self) -> Iterator[tuple[MessageType, Body, threads.Step]]:
        if self.thread is not None:
            for row, body in WORDS:
                try:
                    yield row, body, threads.take_step(self.thread, row, body, ours=True)
                except NotPermitted:
                    continue

    def hear(self, said: Said) -> threads.Step | None:
        """None if it is not taken yet: seen before, or of a thread that is not open here."""
        if said.number in self.seen or (self.thread is None and said.number > 0):
            return None
        self.seen.add(said.number)
        before = self.thread or self.new(said.row)
        step = threads.take_step(
            before, said.row, said.body, ours=False, message=UUID(int=said.number)
        )
        if self.thread is None:
            step = replace(step, thread=threads.broker_event(step.thread, "delivered"))
        self.keep(said, step)
        self.move(step.thread)
        return step

    def keep(self, said: Said, step: threads.Step) -> None:
        place, late = len(self.history), step.effect is Effect.RECORDED
        self.history.append(Kept(place, said.number, said.by, step.event, step.before, late))

    def unsay(self, number: int) -> None:
        """The hub refused a message of ours for good."""
        assert self.thread is not None
        [row] = [row for row in self.history if row.message == number]
        history: Any = self.history
        self.thread, stands = without(self.thread, history, row.position, self.by)
        row.unsaid = True
        numbers: Mapping[Any, Stands] = stands
        for other in self.history:
            if other.message in numbers:
                did = numbers[other.message]
                other.before, other.late = did.before, not did.moved

    def move(self, after: threads.ThreadState) -> None:
        before = self.thread
        machine = MACHINES[after.machine]
        assert after.state in machine.states
        if before is not None and before.state in machine.terminal:
            assert after.state in (before.state, machine.last_word), "an end is an end"
            assert before.signed <= after.signed
        self.thread = after


class Conversation:
    """Two sides and the network between them."""

    def __init__(self, opener: tuple[MessageType, Body], dice: random.Random) -> None:
        self.dice = dice
        self.numbers = count()
        self.sides = {by: Side(by) for by in (By.SENDER, By.RECIPIENT)}
        self.said: list[Said] = []
        self.arrived: set[int] = set()
        """What was taken by the other side: the hub cannot refuse it any more."""
        self.signed: set[By] = set()
        sender = self.sides[By.SENDER]
        step = threads.take_step(sender.new(opener[0]), *opener, ours=True)
        self.say(By.SENDER, *opener, step)

    def say(self, by: By, row: MessageType, body: Body, step: threads.Step) -> None:
        assert step.effect is Effect.MOVED
        said = Said(next(self.numbers), by, row, body)
        self.sides[by].keep(said, step)
        self.sides[by].move(step.thread)
        self.said.append(said)
        if row.event_in(step.thread.machine, body) == "complete":
            self.signed.add(by)

    def speak(self, by: By) -> None:
        choices = list(self.sides[by].may_say())
        if not choices:
            return
        gentle = [
            item
            for item in choices
            if item[0].event_in(item[2].thread.machine, item[1]) not in ENDING
        ]
        # Mostly the story goes on, or no run would come far.
        if gentle and self.dice.random() < 0.95:
            choices = gentle
        now = self.sides[by].thread
        onward = [item for item in choices if now and item[2].thread.state != now.state]
        self.say(by, *self.dice.choice(onward if onward and self.dice.random() < 0.7 else choices))

    def network(self, by: By) -> None:
        """Hands something of the other side over: anything, in any order, or nothing at all."""
        waiting = [said for said in self.said if said.by is not by]
        if waiting:
            self.hand_over(self.dice.choice(waiting[-4:]))

    def hand_over(self, said: Said) -> None:
        hearer = self.sides[By.RECIPIENT if said.by is By.SENDER else By.SENDER]
        hearer.hear(said)
        if said.number in hearer.seen:
            self.arrived.add(said.number)

    def refusal(self, by: By) -> None:
        """The hub refuses something that has not arrived, whatever was said since."""
        under_way = [said for said in self.said if said.by is by and said.number > 0]
        under_way = [said for said in under_way if said.number not in self.arrived]
        if under_way:
            self.refuse(self.dice.choice(under_way[-3:]))

    def refuse(self, said: Said) -> None:
        self.said.remove(said)
        self.sides[said.by].unsay(said.number)
        thread = self.sides[said.by].thread
        assert thread is not None
        assert thread.state in MACHINES[thread.machine].states
        if said.row.event_in(thread.machine, said.body) == "complete":
            self.signed.discard(said.by)

    def clock(self, by: By) -> None:
        """The broker's word: a receipt, a date that passed, a withdrawal under the grant."""
        side = self.sides[by]
        if side.thread is not None:
            event = self.dice.choice(["delivered", "overdue", "arrival_overdue", "window_closed"])
            if self.dice.random() < 0.02:
                event = self.dice.choice(["withdraw", "expire"])
            side.move(threads.broker_event(side.thread, event))

    def owners(self) -> set[By]:
        """Who believes that the case is theirs."""
        return {
            by
            for by, side in self.sides.items()
            if side.thread is not None and side.thread.owner("us") == "us"
        }

    def check(self) -> None:
        thread = self.sides[By.SENDER].thread
        if thread is None or thread.machine != "transfer":
            return
        owners = self.owners()
        truth = By.RECIPIENT if len(self.signed) == 2 else By.SENDER
        assert truth in owners, "nobody thinks the case is theirs"
        # Both believe it only while the countersignature travels to the sender.
        assert owners == {truth} or self.signed == {By.SENDER, By.RECIPIENT}

    def run(self, length: int) -> None:
        for _ in range(length):
            by = self.dice.choice([By.SENDER, By.RECIPIENT])
            acts = [self.speak, self.network, self.clock, self.refusal]
            self.dice.choices(acts, [10, 12, 2, 1])[0](by)
            self.check()

    def deliver_all(self) -> None:
        for said in self.said:
            self.hand_over(said)
            self.check()


OPENERS = [(row, body) for row, body in WORDS if row.opens]


@pytest.mark.parametrize("machine", sorted(THREADED))
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 80))
def test_whatever_is_lost_doubled_reordered_or_refused_two_honest_sides_go_on(
    machine: str, seed: int, length: int
) -> None:
    dice = random.Random(seed)
    talk = Conversation(dice.choice([item for item in OPENERS if item[0].machine == machine]), dice)
    talk.run(length)
    talk.deliver_all()
    ends = {by: side.thread for by, side in talk.sides.items()}
    sender, recipient = ends[By.SENDER], ends[By.RECIPIENT]
    assert sender is not None
    assert recipient is not None
    if machine == "transfer":
        assert len(talk.owners()) == 1


@pytest.mark.parametrize("machine", sorted(THREADED))
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30))
def test_what_is_refused_for_good_leaves_both_sides_as_if_it_was_not_said(
    machine: str, seed: int, length: int
) -> None:
    dice = random.Random(seed)
    talk = Conversation(dice.choice([item for item in OPENERS if item[0].machine == machine]), dice)
    sender, recipient = talk.sides[By.SENDER], talk.sides[By.RECIPIENT]
    talk.deliver_all()
    assert sender.thread is not None
    sender.move(threads.broker_event(sender.thread, "delivered"))
    for _ in range(length):
        by = dice.choice([By.SENDER, By.RECIPIENT])
        for _ in range(dice.choice([1, 1, 2, 3])):
            talk.speak(by)
        for said in [said for said in talk.said if said.number not in talk.arrived]:
            # Any of what is under way, in whatever order the hub comes to them.
            if dice.random() < 0.4:
                talk.refuse(said)
        talk.deliver_all()
        assert recipient.thread is not None
        assert sender.thread.state == recipient.thread.state
        assert sender.thread.signed == recipient.thread.signed


@pytest.mark.parametrize("name", sorted(THREADED))
def test_the_words_of_the_catalogue_and_the_clock_reach_every_state(name: str) -> None:
    machine = MACHINES[name]
    reached = {Side(By.SENDER).new(row) for row, _ in OPENERS if row.machine == name}
    queue = list(reached)
    while queue:
        at = queue.pop()
        found = [threads.broker_event(at, event) for event in machine.events(at.state, By.BROKER)]
        for by in (By.SENDER, By.RECIPIENT):
            role = threads.SENDER if by is By.SENDER else threads.RECIPIENT
            mine = Side(by, replace(at, role=role)).may_say()
            found += [replace(step.thread, role=threads.SENDER) for _, _, step in mine]
        queue += set(found) - reached
        reached |= set(found)
    # Known before anything is sent, and nobody is told of it.
    local = {"consent_pending"}
    # An alert that proves to be an error is resolved; nobody withdraws from danger.
    local |= {"withdrawn"} if name == "safety" else set()
    assert machine.states - {thread.state for thread in reached} <= local


def test_what_is_not_of_this_thread_or_of_this_party_is_refused() -> None:
    sender = Side(By.SENDER)
    request = message_type("referral.request")
    thread = threads.take_step(sender.new(request), request, bodies(request)[0], ours=True).thread
    for name in ("safety.ack", "transfer.accept"):
        row = message_type(name)
        with pytest.raises(NotPermitted, match="not a message of this exchange"):
            threads.take_step(thread, row, bodies(row)[0], ours=False)
    decline = message_type("referral.decline")
    with pytest.raises(NotPermitted, match="not of this party"):
        threads.take_step(thread, decline, bodies(decline)[0], ours=True)


def test_an_answer_to_one_question_is_no_answer_to_another() -> None:
    asked = message_type("info.request")
    thread = threads.take_step(
        Side(By.SENDER).new(asked), asked, bodies(asked)[0], ours=True
    ).thread
    for name, fits in (("info.refuse", True), ("info.conditions", True), ("capacity.reply", False)):
        row = message_type(name)
        if fits:
            threads.take_step(thread, row, bodies(row)[0], ours=False)
        else:
            with pytest.raises(NotPermitted, match="not a message of this exchange"):
                threads.take_step(thread, row, bodies(row)[0], ours=False)
