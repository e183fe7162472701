"""The shortest way to each word of the catalogue, found in the declarations alone.

A way is what two honest parties say, each after the other has heard it, from the opening of a
thread to the word that is looked for. It is read from the rows of the catalogue and the edges of
the machines, without the code of the gateways: so it can tell what their threads should be in.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any

from schemas.bodies.common import Body
from schemas.catalogue import catalogue, conversation
from schemas.envelope import Kind
from schemas.families.base import Corridor, MessageType
from schemas.machine import By
from schemas.states import MACHINES, THREADED
from tests.support.examples import BODIES

VARIANTS: Mapping[str, list[dict[str, Any]]] = {
    "referral.outcome": [{"result": "unable", "reason": "no_provider"}],
    "referral.interim": [{"progress": "on_hold", "reason": "person_unwell"}],
    "referral.decline": [{"reason": "declined_by_person"}],
    "return.decision": [{"decision": "return"}, {"decision": "undecided"}],
    "departure.confirm": [{"leg": "in_transit"}],
    "arrival.handover.confirm": [{"stage": "arrived"}],
    "transfer.casefile.ack": [{"outcome": "missing", "missing": ["case_admin"]}],
    "monitoring.report": [{"last": True}],
}
"""What else a body can say, where that is another event."""


def bodies(row: MessageType) -> list[Body]:
    """A body of this type, and those that are other events; the plain one first."""
    plain = BODIES[row.name]
    wanted = [plain, *({**plain, **more} for more in VARIANTS.get(row.name, ()))]
    return [row.body.model_validate_json(json.dumps(body)) for body in wanted]


class Place(StrEnum):
    """Where a party is, seen from the person's way."""

    DESTINATION = "destination"
    ORIGIN = "origin"

    @property
    def other(self) -> Place:
        return Place.ORIGIN if self is Place.DESTINATION else Place.DESTINATION


_FROM: Mapping[Corridor, Place] = {
    Corridor.TO_ORIGIN: Place.DESTINATION,
    Corridor.TO_ORIGIN_OR_TRANSIT: Place.DESTINATION,
    Corridor.TO_DESTINATION: Place.ORIGIN,
}
"""From where a type is said, if not from either country."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A thread as the tables have it once both have heard all that was said."""

    opener: str
    opened_at: Place
    machine: str
    state: str
    spoke: frozenset[By] = frozenset()
    """Who said something in it."""

    def place(self, by: By) -> Place:
        return self.opened_at if by is By.SENDER else self.opened_at.other


@dataclass(frozen=True, slots=True)
class Word:
    """One message, and the exchange after it."""

    row: MessageType
    body: Body
    by: By
    after: Exchange

    @property
    def place(self) -> Place:
        """Where it is said."""
        return self.after.place(self.by)


Way = tuple[Word, ...]


def next_words(at: Exchange) -> Iterator[Word]:
    """All that may be said now, by either party, as the tables have it."""
    machine = MACHINES[at.machine]
    for name in conversation(at.opener, at.machine):
        row = catalogue[name]
        for body in bodies(row):
            event = row.event_in(at.machine, body)
            if event is None or machine.guards.get(event, frozenset()) - body.attests():
                continue
            for by in (By.SENDER, By.RECIPIENT):
                target = machine.edges.get((at.state, event, by))
                said_here = _FROM.get(row.corridor, at.place(by)) is at.place(by)
                # An answer, and what could open a thread of its own, is said in reply.
                alone = at.spoke and not at.spoke - {by}
                replies = not (alone and (row.opens or row.kind is Kind.ANSWER))
                if target is not None and row.direction.allows(by) and said_here and replies:
                    yield Word(row, body, by, replace(at, state=target, spoke=at.spoke | {by}))


def _openings() -> Iterator[Word]:
    for row in catalogue.values():
        if row.machine in THREADED and row.opens:
            for place in Place:
                fresh = Exchange(row.name, place, row.machine, MACHINES[row.machine].initial)
                for word in next_words(fresh):
                    if word.row is row and word.by is By.SENDER:
                        yield Word(row, word.body, By.SENDER, _arrived(word.after))


def _arrived(at: Exchange) -> Exchange:
    """After the hub's word that the opening message is there."""
    machine = MACHINES[at.machine]
    state = machine.edges.get((at.state, "delivered", By.BROKER), at.state)
    return replace(at, state=state)


@cache
def ways() -> Mapping[tuple[str, str], Way]:
    """The shortest way to each type, in each machine's threads in which it may be said.

    Where a body can be several events, the last word is the plain one. An answer follows at once
    on what it answers, if that way is as short.
    """
    found: dict[tuple[str, str], Way] = {}
    seen: set[Exchange] = set()
    queue: deque[Way] = deque((word,) for word in _openings())
    while queue:
        way = queue.popleft()
        last = way[-1]
        if last.body == bodies(last.row)[0]:
            found.setdefault((last.row.name, last.after.machine), way)
        if last.after not in seen:
            seen.add(last.after)
            # Each party waits until the other has spoken, or said what it said itself.
            queue.extend((*way, word) for word in next_words(last.after))
    return found


AT_ONCE: Mapping[str, str] = {"erase.notice": "erase.ack"}
"""What the recipient's gateway answers by itself, once it is done."""

_API = "tests/integration/gateway/test_api.py"
_SAFEGUARDS = "tests/integration/gateway/test_safeguards.py"
_WITHDRAWAL = "tests/integration/gateway/test_withdrawal.py"
EVERY_TYPE = "tests/integration/gateway/test_every_type.py"
SENT = "test_it_is_sent_and_arrives_as_it_was_said"
BY_GATEWAY: Mapping[str, tuple[str, str, str]] = {
    "consent.record": (
        "a worker records a consent",
        _API,
        "test_a_worker_consents_sends_looks_and_opens",
    ),
    "consent.renew": (
        "a worker records that it was given again",
        _SAFEGUARDS,
        "test_a_consent_that_she_renews_leaves_out_what_she_took_back",
    ),
    "consent.update": (
        "a worker records that a part was taken back",
        _WITHDRAWAL,
        "test_narrowing_destroys_exactly_the_section_that_was_taken_back",
    ),
    "consent.withdraw": (
        "a worker records that it was taken back",
        _WITHDRAWAL,
        "test_the_copy_that_was_passed_on_is_erased_too_and_the_first_sender_is_told",
    ),
    "consent.revoke_by_other": (
        "a worker records that an authority took it back",
        _WITHDRAWAL,
        "test_after_filing_vault_and_case_system_are_erased_and_attested",
    ),
    "consent.majority": (
        "she is of age",
        _SAFEGUARDS,
        "test_a_guardians_word_ends_on_the_day_she_comes_of_age",
    ),
    "consent.withdraw.ack": (
        "the copies are erased",
        _WITHDRAWAL,
        "test_the_copy_that_was_passed_on_is_erased_too_and_the_first_sender_is_told",
    ),
    "erase.ack": (
        "the copies are erased",
        EVERY_TYPE,
        f"{SENT}[erase.notice]",
    ),
}
"""Types that no worker sends, as the gateway makes them: when, and the test that tries it."""


def tried_by(name: str) -> str:
    """The test that sends this type, as pytest names it."""
    if name in BY_GATEWAY:
        _, path, test = BY_GATEWAY[name]
        return f"{path}::{test}"
    return f"{EVERY_TYPE}::{SENT}[{name}]"
