"""Making an auditor's bundle from the hub's database: all evidence of a period or a corridor.

Reads only. Nothing in it is sealed, and nothing is about a person: who, to whom, when, which kind.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.bundle.bundle import CONTENTS, TYP, payload_of
from broker.audit.log.merkle import leaf_hash
from broker.audit.proofs.offline import list_of, object_of, text_of
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.prover import Prover
from broker.database import Database
from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import ENVELOPE, EVIDENCE, LOG, OPENING, REVOCATION
from keys.binding import subject_of
from keys.jws import Signer, sign_jws
from schemas.audit import Opening
from schemas.base import b64u
from schemas.directory import KeyUse, Participant, TrustedDirectory
from schemas.errors import BrokerError, NotFound

PAGE = 500


@dataclass(frozen=True)
class Wanted:
    """Which evidence: recorded from `start` until before `end`, all or between two countries."""

    start: datetime
    end: datetime
    corridor: tuple[str, str] | None = None
    """Two country codes in lower case; both directions."""

    def covers(self, parties: Collection[str]) -> bool:
        """True if both countries of the corridor are among these participants' countries."""
        if self.corridor is None:
            return True
        return set(self.corridor) <= {party.partition(".")[0] for party in parties}


async def write_bundle(
    folder: Path,
    *,
    database: Database,
    directory: TrustedDirectory,
    repository: Path,
    policy: Policy,
    wanted: Wanted,
) -> int:
    """Write everything but the report and the contents into a folder; how many pieces of evidence.

    Evidence whose leaf is not in the log yet (at most a minute old) is left for the next bundle.

    Raises:
        NotFound: There is no evidence of that period or corridor.
        StorageUnavailable: The database.
    """
    envelopes: dict[str, dict[str, object]] = {}
    places: dict[UUID, int] = {}
    async with database.read() as connection:
        async for rows in _pages(connection, wanted, envelopes):
            places |= await _places(connection, rows)
        if not places:
            raise NotFound("no evidence of that period or corridor")
        prover = Prover(LOG)
        size, checkpoint = await prover.best_checkpoint(connection, max(places.values()), policy)
        with (folder / "evidence.jsonl").open("w", encoding="utf-8") as file:
            async for rows in _pages(connection, wanted, envelopes):
                for row in rows:
                    if row.id in places:
                        path = await prover.path_to(connection, places[row.id], size)
                        file.write(json.dumps(_line(row, places[row.id], path)) + "\n")
        with (folder / "statements.jsonl").open("w", encoding="utf-8") as file:
            always = await _for_ever(connection)
            async for rows in _rows(connection, OPENING, wanted, always):
                chosen = [row for row in rows if _concerns(row, wanted)]
                found = await _places(connection, chosen)
                for row in chosen:
                    if (at := found.get(row.id, size)) < size:
                        path = await prover.path_to(connection, at, size)
                        file.write(json.dumps(_statement(row, at, path)) + "\n")
    _write_json(folder / "envelopes.json", envelopes)
    _write_json(folder / "keys.json", _keys(directory, repository))
    (folder / "checkpoint").write_text(checkpoint, encoding="utf-8")
    (folder / "policy").write_text(policy.to_text(), encoding="utf-8")
    for name in ("metadata", "targets"):
        shutil.copytree(repository / name, folder / "directory" / name, dirs_exist_ok=True)
    return len(places)


def sign_contents(folder: Path, *, hub: str, signer: Signer, wanted: Wanted, now: datetime) -> None:
    """Write and sign the table of contents; the last thing that is done to a bundle."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != CONTENTS:
            with path.open("rb") as file:
                files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    contents = {
        "version": 1,
        "hub": hub,
        "from": wanted.start.isoformat(),
        "until": wanted.end.isoformat(),
        "corridor": None if wanted.corridor is None else list(wanted.corridor),
        "made_at": now.isoformat(),
        "files": files,
    }
    raw = sign_jws(json.dumps(contents).encode(), typ=TYP, signer=signer)
    (folder / CONTENTS).write_bytes(raw)


async def _pages(
    connection: AsyncConnection, wanted: Wanted, envelopes: dict[str, dict[str, object]]
) -> AsyncIterator[list[AnyRow]]:
    """Evidence in the order of its recording; what it says of envelopes is added to `envelopes`."""
    async for rows in _rows(connection, EVIDENCE, wanted):
        about = await _envelopes(connection, rows)
        chosen = []
        for row in rows:
            found = about.get(row.id, [])
            parties = {row.by, row.to} | {p for e in found for p in (e.sender, e.recipient)}
            if wanted.covers({party for party in parties if party}):
                chosen.append(row)
                for one in found:
                    envelopes[str(one.id)] = {
                        "sender": one.sender,
                        "recipient": one.recipient,
                        "kind": one.kind,
                        "grant": one.grant_id is not None,
                    }
        yield chosen


async def _for_ever(connection: AsyncConnection) -> ColumnElement[bool]:
    """What is told whatever the period: which directory was in use when, and which keys were said
    to be in other hands. Without it nobody could judge a key years later."""
    rows = await connection.execute(select(REVOCATION.c.raw))
    revoked = [subject_of(raw) for raw in rows.scalars()]
    return or_(OPENING.c.parties == "", one_of(connection, OPENING.c.subject, revoked))


async def _rows(
    connection: AsyncConnection,
    table: Table,
    wanted: Wanted,
    always: ColumnElement[bool] | None = None,
) -> AsyncIterator[list[AnyRow]]:
    """The period's rows of a table in the order of their recording, a page at a time.

    Args:
        always: Rows that are wanted whenever they were recorded.
    """
    column = table.c
    inside = and_(column.recorded_at >= wanted.start, column.recorded_at < wanted.end)
    after: tuple[datetime, object] | None = None
    while True:
        query = select(table).where(inside if always is None else or_(inside, always))
        if after is not None:
            later = and_(column.recorded_at == after[0], column.id > after[1])
            query = query.where(or_(column.recorded_at > after[0], later))
        query = query.order_by(column.recorded_at, column.id).limit(PAGE)
        rows = list(await connection.execute(query))
        if not rows:
            return
        after = rows[-1].recorded_at, rows[-1].id
        yield rows


def _concerns(opening: AnyRow, wanted: Wanted) -> bool:
    """True for what concerns nobody in particular, as a version of the directory, too."""
    return not opening.parties or wanted.covers(opening.parties.split())


async def _envelopes(
    connection: AsyncConnection, rows: Iterable[AnyRow]
) -> dict[UUID, list[AnyRow]]:
    """The envelopes that each evidence speaks of, as far as they are still known."""
    spoken = {row.id: envelopes_of(row.raw) for row in rows}
    wanted = {envelope for found in spoken.values() for envelope in found}
    column = ENVELOPE.c
    found = await connection.execute(
        select(column.id, column.sender, column.recipient, column.kind, column.grant_id).where(
            one_of(connection, column.id, wanted)
        )
    )
    known = {row.id: row for row in found}
    return {
        evidence: [known[envelope] for envelope in envelopes if envelope in known]
        for evidence, envelopes in spoken.items()
    }


def envelopes_of(raw: bytes) -> set[UUID]:
    """What a stored evidence JWS speaks of."""
    facts = list_of(payload_of({"evidence": raw.decode()}).get("facts"), "facts")
    return {UUID(text_of(object_of(fact, "fact").get("envelope"), "envelope")) for fact in facts}


async def _places(connection: AsyncConnection, rows: Iterable[AnyRow]) -> dict[Any, int]:
    """Where each row's leaf stands in the log, by the row's id; those pending are left out."""
    hashes = {leaf_hash(row.leaf): row.id for row in rows}
    if not hashes:
        return {}
    entry = LOG.entry.c
    found = await connection.execute(
        select(entry.seq, entry.leaf_hash).where(entry.leaf_hash.in_(list(hashes)))
    )
    return {hashes[row.leaf_hash]: int(row.seq) for row in found}


def _line(row: AnyRow, index: int, path: list[bytes]) -> dict[str, object]:
    return {
        "evidence": row.raw.decode(),
        "leaf": b64u(row.leaf),
        "opening": Opening(salt=row.salt, subject=subject_of(row.raw)).to_dict(),
        "index": index,
        "path": [b64u(step) for step in path],
        "directory_version": row.directory_version,
    }


def _statement(row: AnyRow, index: int, path: list[bytes]) -> dict[str, object]:
    return {
        "statement": None if row.statement is None else row.statement.decode(),
        "leaf": b64u(row.leaf),
        "opening": Opening(salt=row.salt, subject=row.subject).to_dict(),
        "index": index,
        "path": [b64u(step) for step in path],
    }


def _keys(directory: TrustedDirectory, repository: Path) -> dict[str, object]:
    """Signing keys of now, and those that any entry still in the repository ever had."""
    found = [key for entry in _entries(repository) for key in _signing(entry)]
    return dict(
        found + [key for entry in directory.participants.values() for key in _signing(entry)]
    )


def _signing(entry: Participant) -> list[tuple[str, object]]:
    return [
        (key.kid, {"participant": entry.id, "alg": key.alg, "jwk": key.jwk})
        for key in entry.keys
        if key.use is KeyUse.SIGN
    ]


def _entries(repository: Path) -> Iterator[Participant]:
    for path in sorted((repository / "targets").glob("*/*.json")):
        try:
            yield Participant.from_json(path.read_bytes())
        except BrokerError:
            continue  # of a version that we do not read any more


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
