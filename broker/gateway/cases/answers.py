"""Which message a decision in a case system is, and which decision a message is. Pure.

A worker accepted a referral in her own case system: the partner must hear it, as she would have
said it here. A partner's answer must reach the case that was referred, in the words of that
system. What has no clear counterpart is for a person; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from adapters.base import News, Step
from schemas.bodies.common import DeclineReason, Service
from schemas.bodies.referral import Progress, Result

ROLE: Final = "case worker"
"""Who decided, as far as a case system tells: a role, not a name."""
_IDS: Final = UUID("5a1f3a2e-0c56-5d1c-9d5e-7c1d8f0c6b11")
"""Namespace of the business ids of answers (RFC 9562, version 5): the same decision, found again
after a crash, leads to the same message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said to the partner."""

    type: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ForAPerson:
    """Why no machine may say it."""

    code: str


def answer_of(news: News) -> Answer | ForAPerson:
    """The message that says to the partner what was decided here about its referral."""
    if not set(news.services) <= set(Service):
        return ForAPerson("unknown-service")
    services = {"services": list(news.services)} if news.services else {}
    match news.step:
        case Step.RECEIVED:
            return Answer("referral.received", {"worker_role": ROLE})
        case Step.ACCEPTED:
            return Answer("referral.accept", {"worker_role": ROLE, **services})
        case Step.DECLINED:
            return _declined(news.reason)
        case Step.IN_PROGRESS:
            return Answer("referral.interim", {"progress": Progress.ONGOING.value})
        case Step.COMPLETED:
            return Answer("referral.outcome", {"result": Result.SERVICE_GIVEN.value, **services})
        case _:
            # What failed needs a reason of another list; a cancellation is the sender's to ask
            # for; new content travels only under a consent that a worker looks at.
            return ForAPerson(f"step-{news.step.value.replace('_', '-')}")


def _declined(reason: str | None) -> Answer | ForAPerson:
    # `other` needs words, and words about a person are a worker's to choose.
    if reason not in set(DeclineReason) or reason == DeclineReason.OTHER:
        return ForAPerson("unknown-reason")
    return Answer("referral.decline", {"reason": reason})


def business_id_of(news_id: str, type_name: str) -> UUID:
    """The business id of the answer to one piece of news."""
    return uuid5(_IDS, f"{type_name} {news_id}")


_STEPS: Final[Mapping[str, Step]] = {
    "referral.received": Step.RECEIVED,
    "referral.accept": Step.ACCEPTED,
    "referral.decline": Step.DECLINED,
    "referral.redirect": Step.DECLINED,
    "referral.interim": Step.IN_PROGRESS,
    "referral.scheduled": Step.IN_PROGRESS,
    "referral.cancel.confirm": Step.CANCELLED,
    "transfer.accept": Step.ACCEPTED,
    "transfer.decline": Step.DECLINED,
    "transfer.complete": Step.COMPLETED,
}
_RESULTS: Final[Mapping[str, Step]] = {
    Result.CONTACT_LOST.value: Step.FAILED,
    Result.UNABLE.value: Step.FAILED,
}
TOLD: Final = (*_STEPS, "referral.outcome", "referral.not_possible")
"""Types whose messages a case system is told of."""


def step_of(type_name: str, body: Mapping[str, Any]) -> Step:
    """What a partner's message means for the case that was referred."""
    if type_name == "referral.outcome":
        return _RESULTS.get(str(body.get("result")), Step.COMPLETED)
    if type_name == "referral.not_possible":
        return Step.FAILED
    return _STEPS[type_name]


def reason_of(body: Mapping[str, Any]) -> str | None:
    """The reason's code, if the message has one."""
    for name in ("reason", "result"):
        if isinstance(value := body.get(name), str):
            return value
    return None


def services_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The services it names; none means the whole referral."""
    return tuple(map(str, body.get("services", ())))
