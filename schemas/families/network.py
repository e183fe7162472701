"""The network: who is there, what can they take. No person is spoken of."""

from __future__ import annotations

from functools import partial

from schemas.bodies import network as bodies
from schemas.envelope import Kind
from schemas.families.base import CarriedElsewhere, Chapter, Direction, MessageType
from schemas.families.deadline import BY_URGENCY

_row = partial(MessageType, chapter=Chapter.NETWORK)

TYPES: tuple[MessageType, ...] = (
    _row(
        "directory.announce",
        Kind.NOTICE,
        bodies.Announce,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
    ),
    _row(
        "capacity.query",
        Kind.NOTICE,
        bodies.CapacityQuery,
        Direction.FORWARD,
        "ask",
        machine="inquiry",
        opens=True,
        replies=("capacity.reply",),
        deadline=BY_URGENCY,
    ),
    _row(
        "capacity.reply",
        Kind.ANSWER,
        bodies.CapacityReply,
        Direction.BACK,
        "answer",
        machine="inquiry",
    ),
)

_elsewhere = partial(CarriedElsewhere, chapter=Chapter.NETWORK)

ELSEWHERE: tuple[CarriedElsewhere, ...] = (
    _elsewhere(
        name="directory.revoke",
        carrier="trust directory",
        says="a key or a participant is withdrawn; delivery stops at once",
        done_by="keys/lifecycle.py",
    ),
    _elsewhere(
        name="agreement.publish",
        carrier="signed agreement",
        says="two parties may exchange: types, sections, purposes, transfer bases, dates",
        done_by="broker/hub/registry.py",
    ),
    _elsewhere(
        name="agreement.suspend",
        carrier="signed suspension",
        says="one party, or its country, stops an agreement at once",
        done_by="broker/hub/registry.py",
    ),
    _elsewhere(
        name="codelist.update",
        carrier="signed release",
        says="a new edition of a code list is a new file of a release",
        done_by="schemas/codes/__init__.py",
    ),
)
