"""Oversight: statistics as a message; the log and the evidence are carried on their own ways."""

from __future__ import annotations

from functools import partial

from schemas.bodies import oversight as bodies
from schemas.envelope import Kind
from schemas.families.base import NOTHING, CarriedElsewhere, Chapter, Direction, MessageType

TYPES: tuple[MessageType, ...] = (
    MessageType(
        "stats.aggregate",
        Kind.NOTICE,
        bodies.Aggregate,
        Direction.FORWARD,
        "tell",
        chapter=Chapter.OVERSIGHT,
        machine="notice",
        opens=True,
    ),
    MessageType(
        # Ours: evidence is read by the hub, so it cannot name a field.
        "filing.report",
        Kind.NOTICE,
        bodies.FilingReport,
        Direction.FORWARD,
        "tell",
        chapter=Chapter.OVERSIGHT,
        machine="notice",
        opens=True,
        preconditions=NOTHING,
    ),
)

_elsewhere = partial(CarriedElsewhere, chapter=Chapter.OVERSIGHT)

ELSEWHERE: tuple[CarriedElsewhere, ...] = (
    _elsewhere(
        name="audit.checkpoint",
        carrier="log",
        says="the signed head of the log, co-signed by the countries",
        done_by="broker/audit/log/sequencer.py",
    ),
    _elsewhere(
        name="audit.proof.request",
        carrier="log",
        says="asks for the proof of one leaf",
        done_by="broker/audit/proofs/proof.py",
    ),
    _elsewhere(
        name="audit.proof.reply",
        carrier="log",
        says="an inclusion proof, without content",
        done_by="broker/audit/proofs/proof.py",
    ),
    _elsewhere(
        name="delivery.receipt",
        carrier="signed evidence",
        says="delivered, filed, read: the recipient's gateway says so",
        done_by="broker/gateway/receive/receipts.py",
    ),
    _elsewhere(
        name="delivery.failure",
        carrier="signed evidence",
        says="refused, stopped, expired, undelivered or failed, with a code",
        done_by="broker/hub/evidence.py",
    ),
    _elsewhere(
        name="deadline.warning",
        carrier="alarm",
        says="an answer is soon due",
        done_by="broker/gateway/deadlines/answers.py",
    ),
    _elsewhere(
        name="deadline.breached",
        carrier="signed evidence and alarm",
        says="an answer is overdue",
        done_by="broker/gateway/deadlines/testimony.py",
    ),
)
