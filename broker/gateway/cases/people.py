"""Who is in the cases kept here: keyed digests of names and numbers, in memory alone.

The vault cannot be searched: every item has a key of its own, and its tables say nothing of a
person. So what identifies somebody is read once after the start, afterwards only what came since,
and kept as digests under a key that the process draws for itself and forgets. What fits is then
read in full and compared; a digest decides nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.likeness import letters, names_of, number_key, numbers_of
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_section
from broker.gateway.vault import Vault
from schemas.errors import NotFound

WHO: Final = ("identity_core", "nationality_documents")
"""Sections that say who somebody is."""
_PAGE: Final = 200
_OVERLAP: Final = 200
"""Positions looked at again: of two that are stored side by side, the lower may be seen later."""
_NAMES: Final = ("first_name", "middle_name", "second_name")
_APART: Final = re.compile(r"[\s\-'’.,]+")


class People:
    """The digests. Every method belongs to the gateway's event loop."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._key = secrets.token_bytes(32)
        self._lock = asyncio.Lock()
        self._upto = 0
        self._changed: set[UUID] = set()
        self._digests: dict[UUID, frozenset[bytes]] = {}
        self._messages: dict[bytes, set[UUID]] = {}

    async def alike(
        self, connection: AsyncConnection, sections: Mapping[str, Mapping[str, Any]]
    ) -> set[UUID]:
        """Received messages that have a whole name or a number in common with these sections."""
        return await self._any(connection, _whole(sections))

    async def called(self, connection: AsyncConnection, name: str) -> set[UUID]:
        """Received messages with each word of a name, in whatever order and script they stand."""
        wanted = [f"word {word}" for word in _words(name)]
        found = [await self._any(connection, [word]) for word in wanted]
        return set.intersection(*found) if found else set()

    async def numbered(self, connection: AsyncConnection, number: str) -> set[UUID]:
        """Received messages with this identity number."""
        key = number_key(number)
        return set() if key is None else await self._any(connection, [f"number {key}"])

    async def _any(self, connection: AsyncConnection, keys: Iterable[str]) -> set[UUID]:
        async with self._lock:
            await self._catch_up(connection)
            return {
                message
                for digest in self._of(keys)
                for message in self._messages.get(digest, set())
            }

    def forget(self, messages: Iterable[UUID]) -> None:
        """Something of these is kept here no more: what is left of them is looked at anew."""
        for message in messages:
            self._changed.add(message)
            for digest in self._digests.pop(message, ()):
                self._messages[digest].discard(message)
                if not self._messages[digest]:
                    del self._messages[digest]

    async def _catch_up(self, connection: AsyncConnection) -> None:
        changed, self._changed = self._changed, set()
        await self._take(connection, sorted(changed))
        after = max(0, self._upto - _OVERLAP)
        while True:
            page = (
                await connection.execute(
                    select(inbox.c.position, inbox.c.id)
                    .where(inbox.c.position > after)
                    .order_by(inbox.c.position)
                    .limit(_PAGE)
                )
            ).all()
            if not page:
                return
            after = page[-1].position
            await self._take(connection, [row.id for row in page if row.id not in self._digests])
            self._upto = max(self._upto, after)

    async def _take(self, connection: AsyncConnection, messages: Sequence[UUID]) -> None:
        if not messages:
            return
        rows = (
            await connection.execute(
                select(inbox_section).where(
                    inbox_section.c.message.in_(padded(list(messages))),
                    inbox_section.c.section.in_(WHO),
                    inbox_section.c.content.is_not(None),
                )
            )
        ).all()
        for message in messages:
            self._digests[message] = frozenset()  # of most there is nothing, and no second look
        of_message: dict[UUID, list[AnyRow]] = {}
        for row in rows:
            of_message.setdefault(row.message, []).append(row)
        for message, sections in (await self._read(connection, of_message)).items():
            digests = frozenset(self._of((*_whole(sections), *_parts(sections))))
            self._digests[message] = digests
            for digest in digests:
                self._messages.setdefault(digest, set()).add(message)

    async def _read(
        self, connection: AsyncConnection, of_message: Mapping[UUID, Sequence[AnyRow]]
    ) -> dict[UUID, dict[str, Any]]:
        try:
            plain = await self._vault.read_many(
                connection, [row.content for rows in of_message.values() for row in rows]
            )
        except NotFound:
            if len(of_message) < 2:
                return {}  # erased since we asked where it lies
            one_by_one = [await self._read(connection, {m: r}) for m, r in of_message.items()]
            return {message: found for each in one_by_one for message, found in each.items()}
        return {
            message: {row.section: json.loads(plain[row.content]) for row in rows}
            for message, rows in of_message.items()
        }

    def _of(self, keys: Iterable[str]) -> Iterator[bytes]:
        for key in keys:
            yield hashlib.blake2b(key.encode(), key=self._key, digest_size=12).digest()


def _whole(sections: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name in names_of(sections):
        yield f"name {name}"
    yield from numbers_of(sections)


def _parts(sections: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    person = sections.get("identity_core", {})
    for field in (f"{prefix}{name}" for prefix in ("", "original_") for name in _NAMES):
        for word in _words(person.get(field)):
            yield f"word {word}"
    for key in numbers_of(sections):
        yield f"number {key.partition(' ')[2]}"


def _words(name: object) -> list[str]:
    """The words of a name, comparable; what has no letters is none."""
    if not isinstance(name, str):
        return []
    return [word for part in _APART.split(name) if (word := letters(part))]
