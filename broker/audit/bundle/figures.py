"""What a period's evidence adds up to. Pure; from the bundle's own files, so anybody can recount.

Counts messages and not statements: several facts about one envelope are one message that got so
far. Who, to whom and when is all there is; nothing here is about a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from broker.audit.proofs.offline import list_of, object_of, text_of


@dataclass(frozen=True)
class Sent:
    """The clear part of an envelope, as the hub knows it."""

    sender: str
    recipient: str
    kind: str
    has_grant: bool

    @property
    def route(self) -> tuple[str, str]:
        return self.sender, self.recipient


@dataclass
class Delays:
    """How long something took, each time."""

    times: list[timedelta] = field(default_factory=list)

    @property
    def typical(self) -> timedelta | None:
        if not self.times:
            return None
        return timedelta(seconds=median(time.total_seconds() for time in self.times))

    @property
    def longest(self) -> timedelta | None:
        return max(self.times, default=None)


@dataclass
class Row:
    """The messages of one route, or of all."""

    sent: int = 0
    delivered: int = 0
    filed: int = 0
    opened: int = 0
    overdue: int = 0
    undelivered: int = 0
    stopped: int = 0
    refused: int = 0
    failed: int = 0
    waiting: int = 0
    """Submitted, and nothing stated in the period by which that has ended well or badly."""
    without_grant: int = 0
    to_delivery: Delays = field(default_factory=Delays)


@dataclass
class Withdrawals:
    """Withdrawals that one recipient was sent."""

    sent: int = 0
    delivered: int = 0
    to_delivery: Delays = field(default_factory=Delays)
    erasures_attested: int = 0


@dataclass
class Figures:
    """All of a report's numbers."""

    total: Row = field(default_factory=Row)
    routes: dict[tuple[str, str], Row] = field(default_factory=dict)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many messages were refused, stopped or failed, by (fact, code)."""
    withdrawals: dict[str, Withdrawals] = field(default_factory=dict)
    evidence: int = 0


_COLUMNS = {
    "submitted": "sent",
    "delivered": "delivered",
    "filed": "filed",
    "read": "opened",
    "overdue": "overdue",
    "undelivered": "undelivered",
    "stopped": "stopped",
    "expired": "stopped",
    "refused": "refused",
    "failed": "failed",
}
ENDS = frozenset({"delivered", "filed", "read", "stopped", "expired", "refused", "failed"})
NEEDS_NO_GRANT = frozenset({"withdrawal", "safety", "rights"})


def count(evidence: Iterable[Mapping[str, object]], envelopes: Mapping[str, Sent]) -> Figures:
    """Add up evidence payloads.

    Args:
        envelopes: By envelope id; what is not there counts in the total alone.

    Raises:
        Failed: A payload is not evidence.
    """
    found = Figures()
    facts: dict[str, dict[str, tuple[str, str]]] = {}
    for payload in evidence:
        found.evidence += 1
        for item in list_of(payload.get("facts"), "facts"):
            fact = object_of(item, "fact")
            name = text_of(fact.get("fact"), "fact")
            code = fact.get("code")
            known = facts.setdefault(text_of(fact.get("envelope"), "envelope"), {})
            known.setdefault(name, (text_of(fact.get("at"), "at"), str(code or "")))
    for envelope, known in facts.items():
        sent = envelopes.get(envelope)
        rows = [found.total]
        if sent is not None:
            rows.append(found.routes.setdefault(sent.route, Row()))
        took = _between(known, "submitted", "delivered")
        for row in rows:
            for name in {_COLUMNS[fact] for fact in known if fact in _COLUMNS}:
                setattr(row, name, getattr(row, name) + 1)
            if "submitted" in known and not ENDS & known.keys():
                row.waiting += 1
            if took is not None:
                row.to_delivery.times.append(took)
            if sent is not None and not sent.has_grant and sent.kind not in NEEDS_NO_GRANT:
                row.without_grant += 1
        for name in ("refused", "stopped", "failed"):
            if name in known:
                found.codes[name, known[name][1] or "no code"] += 1
        if sent is not None:
            _withdrawal(found, sent, known, took)
    return found


def _withdrawal(
    found: Figures, sent: Sent, known: Mapping[str, tuple[str, str]], took: timedelta | None
) -> None:
    if sent.kind != "withdrawal" and "erased" not in known:
        return
    row = found.withdrawals.setdefault(sent.recipient, Withdrawals())
    if "erased" in known:
        row.erasures_attested += 1
    if sent.kind == "withdrawal":
        row.sent += 1
        row.delivered += "delivered" in known
        if took is not None:
            row.to_delivery.times.append(took)


def _between(known: Mapping[str, tuple[str, str]], one: str, other: str) -> timedelta | None:
    if one not in known or other not in known:
        return None
    start, end = (datetime.fromisoformat(known[name][0]) for name in (one, other))
    return max(end - start, timedelta())
