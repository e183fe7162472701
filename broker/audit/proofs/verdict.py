"""What the offline verifier answers: checks, what follows from them, and whose keys it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `detail` says why it failed, or what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Seen:
    """Somebody's signed statement that the log's head was this one at that time."""

    name: str
    key_id: str
    at: datetime | None
    """None for the log's plain signature, which has no date."""
    is_witness: bool


@dataclass(frozen=True)
class FactFound:
    """A fact that the evidence states."""

    fact: str
    envelope: str
    digest: str
    at: str


@dataclass
class Verdict:
    """What was proven. Only if `proven` does the rest stand; otherwise `checks` says what broke."""

    checks: list[Check] = field(default_factory=list)
    origin: str = ""
    log_size: int = 0
    index: int | None = None
    """Where the leaf stands; None for a whole log."""
    event: str = ""
    recorded_at: str = ""
    """The time in the leaf, by the log's own clock."""
    stated_by: str = ""
    """The participant that the evidence names as its author."""
    signed_by: str = ""
    """The key id (RFC 7638) that signed the evidence."""
    key_from: str = ""
    """`directory`, or `proof file`: then nobody but the file says whose key this is."""
    directory_version: int = 0
    facts: list[FactFound] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    """For a whole log: how many leaves of each event."""
    first_at: str = ""
    last_at: str = ""

    @property
    def proven(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def no_later_than(self) -> datetime | None:
        """The earliest date that anybody signed over a head which holds it."""
        return min((seen.at for seen in self.seen if seen.at), default=None)

    @property
    def up_to(self) -> datetime | None:
        """The newest date that anybody signed: nothing is proven of what came after."""
        return max((seen.at for seen in self.seen if seen.at), default=None)

    def lines(self) -> list[str]:
        """The verdict in plain words."""
        said = [
            f"{'ok  ' if check.passed else 'FAIL'} {check.name}"
            + (f": {check.detail}" if check.detail else "")
            for check in self.checks
        ]
        if not self.proven:
            return [*said, "NOT PROVEN."]
        for fact in self.facts:
            said.append(f"{self.stated_by} states: {fact.fact} {fact.envelope} at {fact.at}")
        if self.key_from == "proof file":
            said.append("whose key signed the evidence is the proof file's word alone")
        if self.index is not None:
            said.append(f"entry {self.index} of {self.log_size} in the log {self.origin}")
        else:
            said.append(f"all {self.log_size} entries of the log {self.origin}")
        for seen in self.seen:
            who = "witness" if seen.is_witness else "log"
            dated = f" on {when(seen.at)}" if seen.at else ""
            said.append(f"head signed by {who} {seen.name} (key {seen.key_id}){dated}")
        until = f"up to {when(self.up_to)}" if self.up_to else "at a time that nobody signed"
        return [*said, f"PROVEN, {until}."]

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "proven": self.proven,
            "checks": [vars(check) for check in self.checks],
            "origin": self.origin,
            "log_size": self.log_size,
            "index": self.index,
            "event": self.event,
            "recorded_at": self.recorded_at,
            "stated_by": self.stated_by,
            "signed_by": self.signed_by,
            "key_from": self.key_from,
            "directory_version": self.directory_version,
            "facts": [vars(fact) for fact in self.facts],
            "head_signed_by": [
                {
                    "name": seen.name,
                    "key_id": seen.key_id,
                    "at": when(seen.at),
                    "witness": seen.is_witness,
                }
                for seen in self.seen
            ],
            "no_later_than": when(self.no_later_than),
            "up_to": when(self.up_to),
            "events": self.events,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


def when(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
