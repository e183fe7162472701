"""The register that the gateway lends to the desk: cases that are filed here, read from the vault.

An adapter blocks and is called from threads; the database and the vault belong to the event loop.
So each question is asked there, and waited for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import CaseRecord, JsonSection
from broker.database import Database
from broker.gateway.cases.people import WHO, People
from broker.gateway.rights.restriction import usable
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_section
from broker.gateway.vault import Vault
from schemas.errors import CaseSystemUnavailable, NotFound

LONGEST: Final = timedelta(seconds=30)
_Found = TypeVar("_Found")


class CaseRegister:
    """Implements `adapters.base.Register` on one gateway's tables."""

    def __init__(
        self, database: Database, vault: Vault, people: People, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._database = database
        self._vault = vault
        self._people = people
        self._loop = loop

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        return self._ask(self._read(reference))

    def alike(self, case: CaseRecord) -> Mapping[str, Mapping[str, JsonSection]]:
        """See the port. What is kept and not used is nobody's likeness (GDPR Art 18)."""
        return self._ask(self._alike(case.sections))

    def _ask(self, question: Coroutine[Any, Any, _Found]) -> _Found:
        asked = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return asked.result(LONGEST.total_seconds())
        except TimeoutError:
            asked.cancel()
            raise CaseSystemUnavailable("the register did not answer in time") from None

    async def _read(self, reference: str) -> CaseRecord | None:
        async with self._database.read() as connection:
            versions = await _filed(connection, [reference])
            if not versions:
                return None
            sections = await self._sections(connection, versions)
        first = versions[0]
        return CaseRecord(
            case_ref=first.case_ref,
            sections=sections[reference],
            business_id=first.business_id,
            sender=first.sender,
        )

    async def _alike(
        self, sections: Mapping[str, JsonSection]
    ) -> dict[str, dict[str, JsonSection]]:
        async with self._database.read() as connection:
            messages = await self._people.alike(connection, sections)
            if not messages:
                return {}
            rows = await connection.execute(
                select(inbox.c.reference).where(
                    inbox.c.id.in_(padded(sorted(messages))),
                    inbox.c.state == "filed",
                    inbox.c.reference.is_not(None),
                )
            )
            references = sorted({row.reference for row in rows})
            if not references:
                return {}
            versions = await usable(connection, await _filed(connection, references))
            return await self._sections(connection, versions, only=WHO)

    async def _sections(
        self,
        connection: AsyncConnection,
        versions: Sequence[AnyRow],
        *,
        only: Sequence[str] = (),
    ) -> dict[str, dict[str, JsonSection]]:
        """By reference, each section as the newest version that has it says."""
        query = select(inbox_section).where(
            inbox_section.c.message.in_(padded([row.id for row in versions])),
            inbox_section.c.content.is_not(None),
        )
        if only:
            query = query.where(inbox_section.c.section.in_(only))
        rows = (await connection.execute(query)).all()
        try:
            plain = await self._vault.read_many(connection, [row.content for row in rows])
        except NotFound:
            raise CaseSystemUnavailable("something of it is just being erased") from None
        of_message: dict[UUID, dict[str, JsonSection]] = {}
        for row in rows:
            of_message.setdefault(row.message, {})[row.section] = json.loads(plain[row.content])
        found: dict[str, dict[str, JsonSection]] = {}
        for version in versions:
            before = found.get(version.reference, {}) if version.in_part else {}
            found[version.reference] = {**before, **of_message.get(version.id, {})}
        return found


async def _filed(connection: AsyncConnection, references: Sequence[str]) -> list[AnyRow]:
    """The versions of these cases, oldest first: they have one reference."""
    rows = await connection.execute(
        select(inbox)
        .where(inbox.c.reference.in_(padded(list(references))), inbox.c.state == "filed")
        .order_by(inbox.c.position)
    )
    return [*rows]
