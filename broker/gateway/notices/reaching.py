"""By which way, and when, a person may be told something: her own rules, kept and not only shown.

Handing over and reading out happen face to face and are always open. Any other way is one that she
called safe, never one that she excluded, and only in her hours. Who called no way safe is told face
to face. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any

from broker.gateway.safeguards.words import Safeguards
from schemas.errors import PolicyRefused, SchemaRefused

FACE_TO_FACE = ("handed_over", "read_out", "by_other_office", "not_wanted")
SAFE_CONTACT = "safe_contact"
NO_WAY = "none"
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """From when until when; over midnight if it ends before it begins."""

    first: time
    last: time

    @classmethod
    def of(cls, text: str) -> Hours | None:
        """From `09:00-17:00`; None for words that only a person understands."""
        found = _HOURS.fullmatch(text.strip())
        if found is None:
            return None
        first_hour, first_minute, last_hour, last_minute = map(int, found.groups())
        return cls(time(first_hour, first_minute), time(last_hour, last_minute))

    def hold(self, moment: time) -> bool:
        """True if she may be reached at this time of the day."""
        if self.first <= self.last:
            return self.first <= moment <= self.last
        return moment >= self.first or moment <= self.last


@dataclass(frozen=True, slots=True)
class Reaching:
    """What she said of being reached."""

    safe: str | None = None
    """The one way that she called safe (code list `contact_method`)."""
    never: frozenset[str] = frozenset()
    hours: tuple[Hours, ...] = ()
    in_words: bool = False
    """She said when in words: a worker reads them and keeps to them."""

    @classmethod
    def of(cls, written: Iterable[Safeguards], told: Mapping[str, Any]) -> Reaching:
        """Of what workers wrote down, and of the section's `safe_contact` as it came."""
        ours = list(written)
        safe = next((item.contact_by for item in ours if item.contact_by is not None), None)
        times = told.get("times")
        said = [item.contact_hours for item in ours if item.contact_hours is not None]
        hours = [Hours.of(text) for text in (*said, *(() if times is None else (times,)))]
        return cls(
            safe=safe or told.get("method"),
            never=frozenset(way for item in ours for way in item.contact_never_by),
            hours=tuple(one for one in hours if one is not None),
            in_words=None in hours,
        )

    def ways(self, moment: time) -> tuple[str, ...]:
        """How she may be told at this time of the day, her own way first."""
        open_now = (
            self.safe not in (None, NO_WAY, *self.never)
            and all(hours.hold(moment) for hours in self.hours)
        )  # fmt: skip
        return (SAFE_CONTACT, *FACE_TO_FACE) if open_now else FACE_TO_FACE

    def check(self, how: str, by: str | None, *, moment: time, times_read: bool) -> None:
        """May she be told so, now?

        Raises:
            SchemaRefused: By which way is not said, or is said of a way that needs none.
            PolicyRefused: She excluded that, or did not call it safe: it is handed over.
        """
        if (how == SAFE_CONTACT) != (by is not None):
            raise SchemaRefused(where=("by",))
        if how not in self.ways(moment) or (by is not None and by != self.safe):
            raise PolicyRefused(where=("how",))
        if how == SAFE_CONTACT and self.in_words and not times_read:
            raise PolicyRefused(where=("times_read",))
