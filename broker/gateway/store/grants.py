"""Queries on grants: those we gave, and those given to us."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.store.dialect import AnyRow, insert_for, upsert
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.tables import agreement, cursor, grant, grant_scope, suspension
from broker.rules.header import GrantView
from keys.statements.suspension import Word
from schemas.errors import NotFound


@dataclass(frozen=True, slots=True)
class GrantState:
    """A grant with its scopes, as far as we know what they stand for."""

    id: UUID
    sender: str
    recipient: str
    case_ref: str | None
    statement: bytes
    secret: str | None
    record: str | None
    valid_from: date
    until: date
    derived_from: UUID | None
    state: str
    registered: bool
    scopes: dict[str, tuple[str, str] | None]
    """Blinded scope to (purpose, section), None while its record has not reached us."""
    removed: frozenset[str]

    @property
    def withdrawn(self) -> bool:
        return self.state == "withdrawn"

    def live(self) -> dict[str, tuple[str, str] | None]:
        """The scopes that still stand."""
        if self.withdrawn:
            return {}
        return {scope: names for scope, names in self.scopes.items() if scope not in self.removed}

    def view(self) -> GrantView:
        """As the header rules see it."""
        return GrantView(
            giver=self.sender,
            recipient=self.recipient,
            scopes=frozenset(self.scopes),
            removed=self.removed,
            valid_from=self.valid_from,
            until=self.until,
            withdrawn=self.withdrawn,
        )


def sections_gone(grant: GrantState) -> list[str]:
    """Sections that no living scope of the grant covers any more."""
    live = {names[1] for names in grant.live().values() if names is not None}
    every = {names[1] for names in grant.scopes.values() if names is not None}
    return sorted(every - live)


LIVE = "live"
"""The state of a grant of which nothing was ever taken back; see `take_back`."""
_SCOPES = (grant_scope.c.scope, grant_scope.c.purpose, grant_scope.c.section)
_QUERY = select(grant, *_SCOPES, grant_scope.c.removed_at).outerjoin(
    grant_scope, grant_scope.c.grant == grant.c.id
)
_GRANTS = Lookup(_QUERY, grant.c.id)
_LOCKED = Lookup(_QUERY.with_for_update(read=True, of=grant), grant.c.id)


async def load_grants(
    connection: AsyncConnection, ids: Iterable[UUID], *, lock: bool = False
) -> dict[UUID, GrantState]:
    """Grants by id. With `lock`, none of them changes before the transaction ends."""
    wanted = list(set(ids))
    if not wanted:
        return {}
    rows = await (_LOCKED if lock else _GRANTS)(connection, wanted)
    if lock and any(row.state != LIVE for row in rows):
        # Their scopes are asked for after the lock: a withdrawal that we waited for changed them.
        rows = await _GRANTS(connection, wanted)
    by_id: dict[UUID, list[AnyRow]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    return {key: _state(of_one) for key, of_one in by_id.items()}


async def require_grant(
    connection: AsyncConnection, grant_id: UUID, *, lock: bool = False
) -> GrantState:
    """One grant that must be known.

    Raises:
        NotFound: It is not.
    """
    found = (await load_grants(connection, [grant_id], lock=lock)).get(grant_id)
    if found is None:
        raise NotFound("no such grant here")
    return found


async def all_grants(connection: AsyncConnection) -> list[GrantState]:
    ids = (await connection.execute(select(grant.c.id).order_by(grant.c.created_at))).scalars()
    found = await load_grants(connection, list(ids))
    return sorted(found.values(), key=lambda state: state.id)


async def given_for(
    connection: AsyncConnection, giver: str, recipient: str, case_refs: Iterable[str]
) -> list[GrantState]:
    """Every grant that `giver` gave to one recipient about any of these cases, also ended ones."""
    query = select(grant.c.id).where(
        grant.c.sender == giver,
        grant.c.recipient == recipient,
        grant.c.case_ref.in_(list(case_refs)),
    )
    found = await load_grants(connection, (await connection.execute(query)).scalars())
    return sorted(found.values(), key=lambda state: state.id)


async def add_grant(
    connection: AsyncConnection,
    values: dict[str, Any],
    scopes: dict[str, tuple[str, str] | None],
) -> bool:
    """Store a grant unless it is known; True if it was new."""
    statement = insert_for(connection, grant).values(**values).on_conflict_do_nothing()
    if (await connection.execute(statement.returning(grant.c.id))).first() is None:
        return False
    await connection.execute(
        insert(grant_scope),
        [
            {
                "grant": values["id"],
                "scope": scope,
                "purpose": names[0] if names else None,
                "section": names[1] if names else None,
                "removed_at": None,
            }
            for scope, names in scopes.items()
        ],
    )
    return True


async def name_scopes(
    connection: AsyncConnection, grant_id: UUID, names: dict[str, tuple[str, str]]
) -> None:
    """Remember what blinded scopes stand for, once a record or a message has told."""
    for scope, (purpose, section) in names.items():
        await connection.execute(
            update(grant_scope)
            .where(grant_scope.c.grant == grant_id, grant_scope.c.scope == scope)
            .values(purpose=purpose, section=section)
        )


async def take_back(
    connection: AsyncConnection, grant_id: UUID, scopes: Sequence[str], *, now: datetime
) -> GrantState:
    """Narrow (some scopes) or withdraw (none named, or none left). Never gives anything back."""
    where = [grant_scope.c.grant == grant_id, grant_scope.c.removed_at.is_(None)]
    if scopes:
        where.append(grant_scope.c.scope.in_(scopes))
    await connection.execute(update(grant_scope).where(*where).values(removed_at=now))
    left = await connection.scalar(
        select(grant_scope.c.scope)
        .where(grant_scope.c.grant == grant_id, grant_scope.c.removed_at.is_(None))
        .limit(1)
    )
    withdrawn = not scopes or left is None
    await connection.execute(
        update(grant)
        .where(grant.c.id == grant_id, grant.c.state != "withdrawn")
        .values(
            state="withdrawn" if withdrawn else "narrowed",
            withdrawn_at=now if withdrawn else None,
        )
    )
    return await require_grant(connection, grant_id)


async def derived_from(connection: AsyncConnection, grant_id: UUID) -> list[GrantState]:
    """Grants under which we passed on what we received under this one, still live."""
    ids = (
        await connection.execute(
            select(grant.c.id).where(
                grant.c.derived_from == grant_id, grant.c.state.in_(("live", "narrowed"))
            )
        )
    ).scalars()
    return list((await load_grants(connection, list(ids))).values())


async def unregistered(connection: AsyncConnection, *, now: datetime) -> Sequence[AnyRow]:
    """Grants of ours that the hub does not know yet."""
    rows = await connection.execute(
        select(grant.c.id, grant.c.statement, grant.c.attempts)
        .where(
            grant.c.registered_at.is_(None),
            grant.c.state != "refused",
            grant.c.next_attempt_at <= now,
        )
        .order_by(grant.c.created_at)
        .limit(64)
    )
    return rows.all()


async def set_cursor(
    connection: AsyncConnection, name: str, position: int, as_of: datetime
) -> None:
    await upsert(
        connection, cursor, {"name": name, "position": position, "as_of": as_of}, key=("name",)
    )


async def get_cursor(connection: AsyncConnection, name: str) -> tuple[int, datetime | None]:
    row = (await connection.execute(select(cursor).where(cursor.c.name == name))).first()
    return (0, None) if row is None else (row.position, row.as_of)


async def stored_agreements(connection: AsyncConnection) -> Sequence[bytes]:
    return (await connection.scalars(select(agreement.c.raw))).all()


async def stored_words(connection: AsyncConnection) -> list[Word]:
    """Who held an agreement, or let it go on, as it was verified when it came."""
    rows = await connection.execute(
        select(suspension.c.agreement, suspension.c.by, suspension.c.holds, suspension.c.issued_at)
    )
    return [Word(*row) for row in rows]


def _state(rows: Sequence[AnyRow]) -> GrantState:
    """One grant, of which there is a row for each scope, or one without any."""
    row, scopes = rows[0], [row for row in rows if row.scope is not None]
    return GrantState(
        id=row.id,
        sender=row.sender,
        recipient=row.recipient,
        case_ref=row.case_ref,
        statement=row.statement,
        secret=row.secret,
        record=row.record,
        valid_from=row.valid_from,
        until=row.until,
        derived_from=row.derived_from,
        state=row.state,
        registered=row.registered_at is not None,
        scopes={
            item.scope: (item.purpose, item.section) if item.section else None for item in scopes
        },
        removed=frozenset(item.scope for item in scopes if item.removed_at is not None),
    )
