"""How far a system was asked for changes: a cursor that neither skips nor goes round in circles.

A system is swept in order of (moment of the last change, id). Items with one moment are told apart
by their id, so that a page may end between them. A finished sweep begins the next one somewhat
earlier than the last change it saw: what was committed late with an earlier moment, or was not in
the search index yet, is still seen. What comes twice has the same id, and its reader knows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from schemas.errors import SchemaRefused

Item = TypeVar("Item")
Key = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Where the present sweep began, and the last item that it has told of."""

    begin: datetime | None = None
    after: Key | None = None

    @property
    def since(self) -> datetime | None:
        """Nothing before this moment matters any more."""
        return self.after[0] if self.after else self.begin

    def page(
        self, items: Iterable[Item], key: Callable[[Item], Key], *, most: int
    ) -> tuple[list[Item], bool]:
        """What comes next, in order, and whether there is more.

        Args:
            items: All that changed since `since`, in any order.
        """
        new = sorted((item for item in items if self._is_new(key(item))), key=key)
        return new[:most], len(new) > most

    def _is_new(self, key: Key) -> bool:
        if self.after is not None:
            return key > self.after
        return self.begin is None or key[0] >= self.begin

    def then(self, last: Key | None, *, more: bool, look_back: timedelta) -> Sweep:
        """The cursor after a page that ended with `last`."""
        if more and last is not None:
            return Sweep(self.begin, last)
        latest = last or self.after
        if latest is None:
            return self
        begin = latest[0] - look_back
        return Sweep(begin if self.begin is None else max(begin, self.begin), None)

    def text(self) -> str | None:
        """For the gateway to keep; None: from the beginning."""
        if self.begin is None and self.after is None:
            return None
        return json.dumps(
            {
                "begin": self.begin and self.begin.isoformat(),
                "after": self.after and [self.after[0].isoformat(), self.after[1]],
            }
        )


def sweep_of(cursor: str | None) -> Sweep:
    """The inverse of `Sweep.text`.

    Raises:
        SchemaRefused: It is not a cursor that was given here.
    """
    if cursor is None:
        return Sweep()
    try:
        given = json.loads(cursor)
        begin, after = given["begin"], given["after"]
        return Sweep(
            begin and moment_of(begin), (moment_of(after[0]), str(after[1])) if after else None
        )
    except (ValueError, KeyError, TypeError, IndexError):
        raise SchemaRefused("not a cursor of this adapter") from None


def moment_of(text: object) -> datetime:
    """A moment with its zone; one without is taken as UTC.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(text, str):
        raise ValueError("not a moment")
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
