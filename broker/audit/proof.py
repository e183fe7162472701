"""What the log hands out from its tables: a proof for one leaf, tiles, and cosigned checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import distinct, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.merkle import consistency_plan, evaluate, inclusion_plan
from broker.audit.note import SignatureType, Verifier, parse_signature
from broker.audit.store import LogTables, entries, load_tiles, log_size, newest_checkpoint
from broker.audit.tiles import (
    WIDTH,
    Tile,
    lookup_in,
    parse_tile_path,
    tiles_of,
    width,
    write_bundle,
)
from broker.audit.tlog_proof import format_proof
from schemas.audit import Opening
from schemas.base import b64u
from schemas.errors import Forbidden, FromTheFuture, NotFound, SchemaRefused

SKEW = timedelta(minutes=10)
"""How far a witness's clock may be ahead of ours."""

RECENT = 1000
"""Cosignatures among which the best head is looked for."""


@dataclass(frozen=True)
class LogProof:
    """A leaf, where it stands, and the text that proves it (C2SP tlog-proof)."""

    index: int
    size: int
    leaf: bytes
    text: str


async def inclusion(
    connection: AsyncConnection, tables: LogTables, leaf_hash: bytes, *, witnesses: int = 0
) -> LogProof:
    """Prove that a leaf is in the log.

    Proves to the newest checkpoint that has the leaf and at least `witnesses` cosigners; if there
    is none yet, to the one with the most.

    Raises:
        NotFound: No entry has this hash; it may still be pending, for at most a minute.
    """
    entry = tables.entry
    row = (
        await connection.execute(
            select(entry.c.seq, entry.c.body)
            .where(entry.c.leaf_hash == leaf_hash)
            .order_by(entry.c.seq)
            .limit(1)
        )
    ).first()
    if row is None:
        raise NotFound("the log has no such leaf yet")
    size, note = await _best_checkpoint(connection, tables, row.seq, witnesses)
    plan = inclusion_plan(row.seq, size)
    tiles = await load_tiles(connection, tables, tiles_of(plan), size)
    path = evaluate(plan, lookup_in(tiles))
    return LogProof(row.seq, size, row.body, format_proof(row.seq, path, note))


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


async def cosigned_checkpoint(connection: AsyncConnection, tables: LogTables) -> str:
    """The newest checkpoint with the cosignatures it has: what `/log/checkpoint` serves.

    Raises:
        NotFound: The log has not been signed yet.
    """
    newest = await newest_checkpoint(connection, tables)
    if newest is None:
        raise NotFound("the log has no checkpoint yet")
    return newest.note + await _cosignatures(connection, tables, newest.size)


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


async def accept_cosignature(
    connection: AsyncConnection,
    tables: LogTables,
    *,
    size: int,
    line: str,
    witnesses: Sequence[Verifier],
    now: datetime,
) -> None:
    """Keep a witness's signature on a checkpoint of ours. Repeating the same line is harmless.

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
    known = await connection.scalar(
        select(func.count()).where(
            cosignature.c.size == size, cosignature.c.line == signature.line()
        )
    )
    if not known:
        await connection.execute(
            insert(cosignature).values(
                size=size, name=signature.name, line=signature.line(), dated=dated
            )
        )


def proof_file(
    *,
    evidence: bytes,
    opening: Opening,
    proof: LogProof,
    directory_version: int,
    keys: Sequence[Mapping[str, object]] = (),
) -> bytes:
    """One delivery's proof as a file that verifies for ever, offline (`broker.audit.verify`).

    Args:
        evidence: The evidence JWS, exactly as it was signed.
        keys: Public keys `{"kid", "participant", "alg", "jwk"}` that signed the evidence, for a
            reader who has no directory at hand; the verdict says when it had to believe them.
    """
    content = {
        "evidence": evidence.decode(),
        "leaf": b64u(proof.leaf),
        "opening": opening.to_dict(),
        "proof": proof.text,
        "directory_version": directory_version,
        "keys": list(keys),
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


async def _best_checkpoint(
    connection: AsyncConnection, tables: LogTables, index: int, witnesses: int
) -> tuple[int, str]:
    table = tables.checkpoint
    size = await _best_witnessed(connection, tables, index, witnesses) if witnesses else None
    query = select(table.c.size, table.c.note).order_by(table.c.id.desc()).limit(1)
    row = (
        await connection.execute(
            query.where(table.c.size > index if size is None else table.c.size == size)
        )
    ).one()
    return row.size, row.note + await _cosignatures(connection, tables, row.size)


async def _best_witnessed(
    connection: AsyncConnection, tables: LogTables, index: int, witnesses: int
) -> int | None:
    table = tables.cosignature
    # Years of cosignatures follow an old leaf; the newest are as good as any.
    newest = (
        select(table.c.size, table.c.name)
        .where(table.c.size > index)
        .order_by(table.c.size.desc(), table.c.id.desc())
        .limit(RECENT)
        .subquery()
    )
    votes = func.count(distinct(newest.c.name)).label("votes")
    rows = await connection.execute(select(newest.c.size, votes).group_by(newest.c.size))
    best = max(rows, key=lambda row: (min(row.votes, witnesses), row.size), default=None)
    return None if best is None else int(best.size)


async def _cosignatures(connection: AsyncConnection, tables: LogTables, size: int) -> str:
    table = tables.cosignature
    rows = await connection.execute(
        select(table.c.name, table.c.line).where(table.c.size == size).order_by(table.c.id)
    )
    newest = {row.name: row.line for row in rows}  # a witness's later date replaces its earlier
    return "".join(newest.values())


def _parse(path: str) -> tuple[Tile | None, int, int]:
    try:
        return parse_tile_path(path)
    except (ValueError, SchemaRefused):
        raise NotFound("no such tile") from None
