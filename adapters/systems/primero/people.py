"""Who in Primero may be the person of a case.

Primero searches by what stands in the URL, and URLs are written down by servers and proxies on the
way. So nobody is searched for: all records that the gateway's user can see are gone through once,
afterwards those that changed, and what is compared are keyed digests of names and numbers, in
memory alone. Those that fit are read and compared in full; a worker decides.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.base import MOST_CANDIDATES, Candidate, CaseRecord, Match
from adapters.likeness import likeness, names_of, numbers_of
from adapters.systems.primero import words
from adapters.systems.primero.api import Primero, Record
from adapters.systems.sweep import moment_of
from schemas.errors import CaseSystemUnavailable

_ROWS: Final = tuple(
    row for row in words.ROWS if row.section in ("identity_core", "nationality_documents")
)
_FIELDS: Final = ("id", "record_state", "last_updated_at", words.SAME_AS)
_ASKED: Final = ",".join((*_FIELDS, *(row.name for row in _ROWS)))
_LOOKED_AT: Final = 50
"""Records read in full for one case: a common name may fit many, and a worker is shown twenty."""


class People:
    """The digests of who is there. Threads may share it."""

    def __init__(self, primero: Primero) -> None:
        self._primero = primero
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._since: datetime | None = None
        self._digests: dict[str, frozenset[bytes]] = {}
        self._records: dict[bytes, set[str]] = {}
        self._links: dict[str, set[str]] = {}

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """The records whose person may be this one, the likeliest first."""
        with self._lock:
            self._catch_up()
            ids: set[str] = set()
            for digest in self._of(case.sections):
                ids |= self._records.get(digest, set())
        found: dict[str, tuple[Candidate, Record]] = {}
        for id_ in sorted(ids)[:_LOOKED_AT]:
            record = self._primero.case(id_)
            if record is None or record.get("record_state") is False:
                continue
            alike = likeness(case.sections, sections_of(record))
            if alike is not None:
                found[id_] = Candidate(id_, alike.match, alike.fields), record
        shown = {record.get("case_id_display") for _, record in found.values()}
        # A record that is linked to another of them is looked at with it.
        left = [one for one, record in found.values() if record.get(words.SAME_AS) not in shown]
        left.sort(key=lambda one: (one.match is not Match.NUMBER, one.reference))
        return tuple(left[:MOST_CANDIDATES])

    def linked_to(self, number: str) -> list[str]:
        """Ids of the records that we linked to the one of this number."""
        with self._lock:
            self._catch_up()
            return sorted(self._links.get(number, ()))

    def _catch_up(self) -> None:
        query = {"fields": _ASKED}
        if self._since is not None:
            # Whole days, and one more: as in `decisions.poll`.
            begin = (self._since - timedelta(days=1)).date().isoformat()
            query["last_updated_at"] = f"{begin}..9999-12-31"
        latest = self._since
        for record in self._primero.cases(**query):
            self._take(record)
            try:
                moment = moment_of(record.get("last_updated_at"))
            except ValueError:
                raise CaseSystemUnavailable("a record without the moment of its change") from None
            latest = moment if latest is None else max(latest, moment)
        self._since = latest

    def _take(self, record: Record) -> None:
        id_ = str(record.get("id"))
        for digest in self._digests.pop(id_, ()):
            self._records[digest].discard(id_)
            if not self._records[digest]:
                del self._records[digest]
        for ids in self._links.values():
            ids.discard(id_)
        if record.get("record_state") is False:
            return
        digests = frozenset(self._of(sections_of(record)))
        if digests:
            self._digests[id_] = digests
            for digest in digests:
                self._records.setdefault(digest, set()).add(id_)
        if isinstance(number := record.get(words.SAME_AS), str) and number:
            self._links.setdefault(number, set()).add(id_)

    def _of(self, sections: Mapping[str, Mapping[str, Any]]) -> Iterable[bytes]:
        keys = (*(f"name {name}" for name in names_of(sections)), *numbers_of(sections))
        for key in keys:
            yield hashlib.blake2b(key.encode(), key=self._key, digest_size=12).digest()


def sections_of(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What Primero's own fields say of who it is."""
    sections: dict[str, dict[str, Any]] = {}
    for row in _ROWS:
        value = row.here(record.get(row.name))
        if value is not None:
            sections.setdefault(row.section, {})[row.field] = value
    return sections
