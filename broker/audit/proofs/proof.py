"""What the log hands out from its tables: growth, tiles and cosigned checkpoints; what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.merkle import consistency_plan, evaluate
from broker.audit.log.note import SignatureType, Verifier, parse_signature
from broker.audit.log.store import LogTables, entries, load_tiles, log_size, newest_checkpoint
from broker.audit.log.tiles import (
    WIDTH,
    Tile,
    lookup_in,
    parse_tile_path,
    tiles_of,
    width,
    write_bundle,
)
from broker.audit.witnesses.witness import format_request
from schemas.errors import Forbidden, FromTheFuture, NotFound, SchemaRefused

SKEW = timedelta(minutes=10)
"""How far a witness's clock may be ahead of ours."""

AGAIN = timedelta(minutes=30)
"""A later date under the same head is kept only if it is so much later: an idle log signs hourly."""

MAX_LINES = 4
"""Signatures in one request: a key of each kind, and room for a rotation."""


async def consistency(
    connection: AsyncConnection, tables: LogTables, old: int, new: int
) -> list[bytes]:
    """Prove that the log at size `new` begins with the log at size `old` (RFC 6962, 2.1.2).

    Raises:
        NotFound: The log is not that large.
        ValueError: `old` is larger than `new`.
    """
    if new > await log_size(connection, tables):
        raise NotFound("the log is not that large")
    plan = consistency_plan(old, new)
    tiles = await load_tiles(connection, tables, tiles_of(plan), new)
    return evaluate(plan, lookup_in(tiles))


async def growth(
    connection: AsyncConnection, tables: LogTables, old: int, *, before: datetime
) -> bytes:
    """The body of `add-checkpoint` (C2SP tlog-witness) for one who signed size `old` last.

    Whoever asks between two values of `before` is given the same head, the newest that was signed
    before it: only then do many witnesses sign one and the same. It is the newest of all if that
    one would be smaller than `old`; smaller even then, it is given all the same, since whoever
    asks must see it.

    Raises:
        NotFound: The log has not been signed yet.
    """
    table = tables.checkpoint
    query = select(table.c.size, table.c.note).order_by(table.c.id.desc()).limit(1)
    row = (await connection.execute(query.where(table.c.issued_at <= before))).first()
    if row is None or row.size < old:
        row = (await connection.execute(query)).first()
    if row is None:
        raise NotFound("the log has no checkpoint yet")
    proof = await consistency(connection, tables, old, row.size) if 0 < old <= row.size else []
    return format_request(old, proof, row.note)


async def cosigned_checkpoint(connection: AsyncConnection, tables: LogTables) -> str:
    """The newest checkpoint with the cosignatures it has: what `/log/checkpoint` serves.

    Raises:
        NotFound: The log has not been signed yet.
    """
    newest = await newest_checkpoint(connection, tables)
    if newest is None:
        raise NotFound("the log has no checkpoint yet")
    return newest.note + await cosignatures(connection, tables, newest.size)


async def read_tile(connection: AsyncConnection, tables: LogTables, path: str) -> bytes:
    """The bytes of `tile/<level>/<index>[.p/<width>]`, for anyone: hashes say nothing.

    Raises:
        NotFound: No such tile, or the tree does not reach that far.
    """
    tile, _, count = _parse(path)
    if tile is None:
        raise NotFound("not a hash tile")
    size = await log_size(connection, tables)
    if width(tile, size) < count:
        raise NotFound("the log does not reach that far")
    hashes = (await load_tiles(connection, tables, [tile], size))[tile]
    return b"".join(hashes[:count])


async def read_entries(connection: AsyncConnection, tables: LogTables, path: str) -> bytes:
    """The bytes of the entry bundle `tile/entries/<index>[.p/<width>]`; for auditors only.

    Raises:
        NotFound: No such bundle, or the log does not reach that far.
    """
    tile, index, count = _parse(path)
    if tile is not None:
        raise NotFound("not an entry bundle")
    bodies = await entries(connection, tables, start=index * WIDTH, limit=count)
    if len(bodies) != count:
        raise NotFound("the log does not reach that far")
    return write_bundle(bodies)


def read_cosignatures(body: bytes) -> tuple[int, list[str]]:
    """What a participant posts: the head's size on a line, then its signature lines.

    Raises:
        SchemaRefused: Anything else.
    """
    try:
        size, *lines = body.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise SchemaRefused("cosignatures: not UTF-8") from None
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", size) or not 1 <= len(lines) <= MAX_LINES:
        raise SchemaRefused("cosignatures: not a size and signature lines")
    return int(size), [parse_signature(line).line() for line in lines]


async def accept_cosignature(
    connection: AsyncConnection,
    tables: LogTables,
    *,
    size: int,
    line: str,
    witnesses: Sequence[Verifier],
    now: datetime,
) -> None:
    """Keep a witness's signature on a checkpoint of ours. Repeating oneself is harmless, and
    leaves nothing behind: what is kept can never be deleted.

    Args:
        witnesses: The keys that the directory gives to the one who sends this.

    Raises:
        SchemaRefused: Not a signature line.
        Forbidden: By none of the given keys.
        BadSignature: It does not verify over our checkpoint of that size.
        FromTheFuture: Dated later than our clock allows.
        NotFound: We never signed a checkpoint of that size.
    """
    signature = parse_signature(line)
    key = next(
        (
            key
            for key in witnesses
            if (key.name, key.key_id) == (signature.name, signature.key_id)
            and key.type is not SignatureType.ED25519
        ),
        None,
    )
    if key is None:
        raise Forbidden("not a witness key of this participant")
    table = tables.checkpoint
    note = await connection.scalar(
        select(table.c.note).where(table.c.size == size).order_by(table.c.id.desc()).limit(1)
    )
    if note is None:
        raise NotFound("no checkpoint of this size")
    text = note.rpartition("\n\n")[0] + "\n"
    dated = key.verify(text, signature.value).at
    if dated is None or dated > now + SKEW:
        raise FromTheFuture("cosignature")
    cosignature = tables.cosignature
    kept = await connection.execute(
        select(cosignature.c.line, cosignature.c.dated).where(
            cosignature.c.size == size, cosignature.c.name == signature.name
        )
    )
    if any(
        parse_signature(row.line).key_id == signature.key_id and dated - row.dated < AGAIN
        for row in kept
    ):
        return
    await connection.execute(
        insert(cosignature).values(
            size=size, name=signature.name, line=signature.line(), dated=dated
        )
    )


async def cosignatures(connection: AsyncConnection, tables: LogTables, size: int) -> str:
    """Who signed a head, a line each, in the order of their coming."""
    table = tables.cosignature
    rows = await connection.execute(
        select(table.c.line).where(table.c.size == size).order_by(table.c.id)
    )
    return newest_lines(rows.scalars())


def newest_lines(lines: Iterable[str]) -> str:
    """A key's later date replaces its earlier one."""
    found = {}
    for line in lines:
        signature = parse_signature(line)
        found[signature.name, signature.key_id] = line
    return "".join(found.values())


def _parse(path: str) -> tuple[Tile | None, int, int]:
    try:
        return parse_tile_path(path)
    except (ValueError, SchemaRefused):
        raise NotFound("no such tile") from None
