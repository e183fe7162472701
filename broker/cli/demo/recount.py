"""Counting what arrived, where it was sent and where it lies; the hub is not asked.

Three sources: the outboxes and inboxes of the gateways, their quarantines, and the files in the
folders of their case systems. A message is lost if its sender put it out and neither its
recipient has it nor a signed reason says why not, or if it came and never reached the case system. A thing is duplicated if a recipient has it
more than once, as a message or as a file.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.cli.local import LocalApi

BUSINESS_ID = "x_business_id"
"""Our column in the files: which referral a row was filed for."""
ENDED_WITHOUT_DELIVERY = frozenset({"refused", "stopped", "expired"})
"""States of the sender's outbox that carry a signed reason."""
ACCEPTED = frozenset(
    {"submitted", "relayed", "delivered", "filed", "read", "stopped", "undelivered", "expired"}
)
NOT_YET_FILED = frozenset({"delivered", "filing"})
"""States of an inbox in which the case system still has to get it; `kept` needs no filing."""
DELIVERED = frozenset({"delivered", "filed", "read", "failed"})


@dataclass(frozen=True, slots=True)
class Party:
    """One gateway as the count sees it."""

    participant: str
    outbox: tuple[Mapping[str, Any], ...]
    inbox: tuple[Mapping[str, Any], ...]
    quarantine: tuple[Mapping[str, Any], ...]
    files: Counter[str]
    """How many rows in the case system's folder stand for each business id."""


@dataclass(slots=True)
class Recount:
    """The totals, and by id what is wrong."""

    sent: int = 0
    accepted_by_hub: int = 0
    delivered: int = 0
    filed: int = 0
    read: int = 0
    quarantined: int = 0
    stopped: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)


def read_party(participant: str, api: LocalApi, folder: Path) -> Party:
    """Ask one gateway for its messages and look into its case system's folder."""
    return Party(
        participant,
        outbox=_all(api, "outbox"),
        inbox=_all(api, "inbox"),
        quarantine=tuple(api.items("/v1/quarantine", "quarantine")),
        files=business_ids_in(folder),
    )


def _all(api: LocalApi, box: str) -> tuple[Mapping[str, Any], ...]:
    pages = api.pages("/v1/messages", "messages", box=box)
    return tuple(row for page in pages for row in page)


def business_ids_in(folder: Path) -> Counter[str]:
    """How many rows of the case system's files stand for each business id, whatever the files' names.

    Read with the standard library, so that the count does not share code with what it counts.
    """
    found: Counter[str] = Counter()
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            found.update(row[BUSINESS_ID] for row in csv.DictReader(file))
    return found


def recount(parties: Mapping[str, Party]) -> Recount:
    """Compare what was put out with what came in and what lies in the folders."""
    found = Recount()
    sent_things: set[str] = set()
    for party in parties.values():
        for message in party.outbox:
            _follow(message, parties[message["partner"]], found)
            sent_things.add(message["business_id"])
    for party in parties.values():
        copies = Counter(message["id"] for message in party.inbox)
        found.duplicated += [key for key, count in copies.items() if count > 1]
        found.duplicated += [key for key, count in party.files.items() if count > 1]
        # A file that nobody sent is not a lost message; still the books do not balance.
        found.duplicated += [key for key in party.files if key not in sent_things]
    return found


def _follow(message: Mapping[str, Any], recipient: Party, found: Recount) -> None:
    state = message["state"]
    found.sent += 1
    found.accepted_by_hub += state in ACCEPTED
    arrived = next((one for one in recipient.inbox if one["id"] == message["id"]), None)
    if arrived is None:
        held = any(one.get("id") == message["id"] for one in recipient.quarantine)
        found.quarantined += held
        found.stopped += state == "stopped"
        if not held and state not in ENDED_WITHOUT_DELIVERY:
            found.lost.append(message["id"])
        return
    found.delivered += state in DELIVERED
    if arrived.get("state") in NOT_YET_FILED:
        found.lost.append(message["id"])
    # The recipient's word that it was filed is worth what its folder shows.
    if arrived.get("filed_at") is not None:
        found.filed += 1
        gone = arrived.get("erased_at") is not None
        if not gone and not recipient.files[message["business_id"]]:
            found.lost.append(message["id"])
    found.read += arrived.get("opened_at") is not None
