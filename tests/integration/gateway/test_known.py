"""What is stored about persons is found under every name of their cases, alike on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Boolean, Date, Integer, LargeBinary, Table, Uuid, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database, UtcDateTime
from broker.gateway.home import MIGRATIONS
from broker.gateway.rights.restriction import freeze, require_usable, thaw
from broker.gateway.store.grants import load_grants, take_back
from broker.gateway.store.known import Met, Names, Told, known
from broker.gateway.store.tables import (
    exclusion,
    grant,
    grant_scope,
    inbox,
    inbox_section,
    safeguard,
    thread,
)
from broker.gateway.store.tables import vault as vault_tables
from broker.migrating import upgrade
from schemas.catalogue import message_type
from schemas.errors import UseRestricted

NOW = datetime(2026, 3, 1, tzinfo=UTC)
_FILLED: tuple[tuple[type[Any], Any], ...] = (
    (Uuid, UUID(int=0)),
    (UtcDateTime, NOW),
    (Date, date(2026, 3, 1)),
    (Boolean, False),
    (Integer, 0),
    (LargeBinary, b""),
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(upgrade, database_url, MIGRATIONS)
    opened = Database(database_url)
    yield opened
    await opened.close()


async def put(connection: AsyncConnection, table: Table, **values: object) -> None:
    """Insert a row; what must be there and is not named is nothing in particular."""
    for column in table.columns:
        needed = not column.nullable and column.server_default is None and not column.identity
        if needed and column.name not in values and column.autoincrement is not True:
            filled = [value for kind, value in _FILLED if isinstance(column.type, kind)]
            values[column.name] = filled[0] if filled else "x"
    await connection.execute(insert(table).values(**values))


async def test_all_names_of_a_case_lead_to_what_is_known_of_it(database: Database) -> None:
    ours, theirs, other = uuid4(), uuid4(), uuid4()
    came, again, stranger = uuid4(), uuid4(), uuid4()
    business = {came: uuid4(), again: uuid4(), stranger: uuid4()}
    async with database.begin() as connection:
        await put(connection, thread, id=ours, role="sender", case_ref="OUR-1")
        await put(connection, thread, id=theirs, role="recipient", case_ref="THEIR-1")
        places = ((came, ours, "REF-1"), (again, theirs, None), (stranger, other, "REF-9"))
        for position, (message, where, reference) in enumerate(places, 1):
            await put(
                connection,
                inbox,
                position=position,
                id=message,
                business_id=business[message],
                thread=where,
                sender="al.nrm",
                case_ref="THEIR-1" if message != stranger else "THEIR-9",
                reference=reference,
                state="filed",
            )
            for section in ("identity_core", "contact_location"):
                content = f"{section} of {position}"
                await put(
                    connection, inbox_section, message=message, section=section, content=content
                )
        for about in ("OUR-1", "REF-1", "REF-9", "erased"):
            if about != "erased":
                await put(connection, vault_tables.item, ref=f"safe {about}")
            await put(connection, safeguard, about=about, item=f"safe {about}")
        await put(connection, exclusion, about="REF-1", participant="xk.nrm")
        await put(connection, exclusion, about="REF-9", participant="mk.nrm")

    async with database.read() as connection:
        found = await known(connection, Names(threads=[ours]))
        by_case = await known(connection, Names(partner_cases=[("al.nrm", "THEIR-1")]))
        by_reference = await known(connection, Names(case_refs=["REF-1", "erased"]))
        nothing = await known(connection, Names())

    met = [Met("al.nrm", "THEIR-1", business[came], ours, "REF-1", None)]
    told = [Told("al.nrm", "THEIR-1", "identity_core", f"identity_core of {n}") for n in (1, 2)]
    assert (found.ours, found.met, found.told) == ({ours: "OUR-1"}, met, told)
    assert found.written == {"OUR-1": "safe OUR-1", "REF-1": "safe REF-1"}
    assert found.excluded == [("REF-1", "xk.nrm")]
    assert (by_case.met, by_case.told, by_case.written) == ([], told, {})
    assert (by_reference.met, by_reference.told) == (met, told)
    assert by_reference.written == {"REF-1": "safe REF-1"}
    assert (nothing.met, nothing.told, nothing.written, nothing.excluded) == ([], [], {}, [])


async def test_a_grant_that_was_taken_back_meanwhile_is_seen_once_it_is_locked(
    database: Database,
) -> None:
    given = uuid4()
    async with database.begin() as connection:
        await put(connection, grant, id=given, state="live", secret=None, record=None)
        for scope in ("one", "two"):
            await put(connection, grant_scope, grant=given, scope=scope, removed_at=None)

    async def look() -> frozenset[str]:
        async with database.begin() as connection:
            return (await load_grants(connection, [given], lock=True))[given].removed

    async with database.begin() as connection:
        await take_back(connection, given, ["one"], now=NOW)
        looking = asyncio.create_task(look())
        # On PostgreSQL it waits for the row, on SQLite for us: either way until we have committed.
        done, _ = await asyncio.wait([looking], timeout=0.2)
        assert not done

    assert await looking == {"one"}


async def test_what_is_frozen_is_one_referral_or_the_whole_case_of_one_participant(
    database: Database,
) -> None:
    contested, other = uuid4(), uuid4()
    async with database.begin() as connection:
        for case_ref, about in (("A-1", contested), ("A-2", None), ("A-3", None)):
            await freeze(
                connection, message=uuid4(), by="al.nrm", case_ref=case_ref, about=about, now=NOW
            )
        await thaw(connection, by="al.nrm", case_ref="A-3", about=None, now=NOW)

    async def is_frozen(by: str, case_ref: str, business_id: UUID) -> bool:
        async with database.read() as connection:
            try:
                await require_usable(
                    connection,
                    message_type("referral.request"),
                    by=by,
                    case_ref=case_ref,
                    business_id=business_id,
                )
            except UseRestricted:
                return True
            return False

    assert await is_frozen("al.nrm", "A-1", contested)
    assert not await is_frozen("al.nrm", "A-1", other)
    assert await is_frozen("al.nrm", "A-2", other)
    assert not await is_frozen("it.nrm", "A-2", other)
    assert not await is_frozen("al.nrm", "A-3", other)
