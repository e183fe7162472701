"""Tables in partitions by time, on PostgreSQL: made ahead, and dropped once they are empty.

Rows go one by one, each when its own time is over. What that leaves is a file full of holes, which
deleting never makes smaller; a partition that is over and empty is dropped, and its room is back at
once. So nothing is ever dropped that is not final: nothing is left to drop but room.

The hub's role owns no table. Two functions of the owner's do this and nothing else for it; that no
row is left, the second asks itself (migration 0009).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

SHORTEST = timedelta(hours=1)
LONGEST = timedelta(days=7)
SHARE = 7
"""How many partitions what is kept is spread over: those above it are room not given back yet."""


def period(kept: timedelta) -> timedelta:
    """How long one partition is, of a table whose rows are kept so long."""
    return min(max(kept / SHARE, SHORTEST), LONGEST)


def begins(moment: datetime, period: timedelta) -> datetime:
    """When the period began that a moment is in: they are counted from the year 1970."""
    return moment - (moment - datetime(1970, 1, 1, tzinfo=UTC)) % period


async def make_ahead(
    connection: AsyncConnection, table: str, *, now: datetime, period: timedelta
) -> int:
    """Make the partitions of now and of the two periods that follow; how many were missing.

    What comes when there is none is kept all the same, in a partition for the rest.
    """
    if connection.dialect.name != "postgresql":
        return 0
    made = await connection.scalar(
        text("SELECT partitions_ahead(:table, :now, :period)"),
        {"table": table, "now": now, "period": period},
    )
    return int(made or 0)


async def drop_empty(connection: AsyncConnection, table: str, *, before: datetime) -> int:
    """Drop partitions that ended before a moment and have no row left; how many that were.

    Raises:
        StorageUnavailable: Somebody has held the table too long: nothing was dropped.
    """
    if connection.dialect.name != "postgresql":
        return 0
    dropped = await connection.scalar(
        text("SELECT partitions_drop_empty(:table, :before)"), {"table": table, "before": before}
    )
    return int(dropped or 0)
