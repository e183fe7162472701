"""The notices that a worker still has to give, and the paper of each.

Nothing is sent from here: no e-mail, no message to a telephone that somebody else may hold. A worker
hands it over, reads it out, or uses the way that the person called safe (`reaching`).
"""

from __future__ import annotations

import json
from datetime import time
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from broker.gateway.consent.receipt import Line, Receipt, isolated, words_of
from broker.gateway.core import Core
from broker.gateway.notices.reaching import Reaching
from broker.gateway.notices.said import SAID
from broker.gateway.safeguards.known import About, written_for
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_section, notice
from schemas.base import instant_text
from schemas.errors import NotFound

WAYS = ("handed_over", "read_out", "safe_contact", "by_other_office", "not_wanted")
"""How it was given; or that she does not want to be told, which is hers to say."""
MOST = 500


async def waiting(core: Core) -> list[dict[str, Any]]:
    """What is still to be told, oldest first."""
    async with core.database.read() as connection:
        rows = await connection.execute(
            select(notice).where(notice.c.done_at.is_(None)).order_by(notice.c.at).limit(MOST)
        )
        return [
            {
                "id": str(row.id),
                "case_ref": row.case_ref,
                "thread": str(row.thread),
                "exchange": row.machine,
                "state": row.state,
                "at": instant_text(row.at),
            }
            for row in rows
        ]


async def paper(core: Core, which: UUID, language: str) -> tuple[Receipt, dict[str, Any]]:
    """One notice in one of our languages, and what is known of how she may be reached.

    Raises:
        NotFound: No such notice, or not a language that we have.
    """
    async with core.database.read() as connection:
        row = await _require(connection, which)
        contact = await _contact(core, connection, row.thread)
        reaching = await _reaching(core, connection, row, contact)
    words = words_of(language, __package__)
    made = Receipt(
        language=language,
        title=words["title"],
        safe=words["safe"],
        state=words["said"][SAID[row.machine][row.state]],
        parts=(
            (
                words["next_title"],
                (Line(words["ask"]), Line(words["change"]), Line(words["no_loss"])),
            ),
        ),
        number=isolated(row.at.date().isoformat()),
    )
    return made, {**contact, "ways": list(reaching.ways(_time_of_day(core)))}


async def done(
    core: Core,
    which: UUID,
    how: str,
    *,
    worker: str,
    by: str | None = None,
    times_read: bool = False,
) -> None:
    """Somebody told her, or she does not want to be told.

    Args:
        by: Of a safe contact: which way.
        times_read: The worker has read when she may be reached, and kept to it.

    Raises:
        NotFound: No such notice, or it was given before.
        PolicyRefused: Not by this way, or not now: it is handed over.
    """
    async with core.database.begin() as connection:
        row = await _require(connection, which)
        contact = await _contact(core, connection, row.thread)
        reaching = await _reaching(core, connection, row, contact)
        reaching.check(how, by, moment=_time_of_day(core), times_read=times_read)
        given = await connection.execute(
            update(notice)
            .where(notice.c.id == which, notice.c.done_at.is_(None))
            .values(done_at=core.now(), how=how, worker=worker)
        )
    if given.rowcount == 0:
        raise NotFound("no such notice, or it was given before")


async def _require(connection: Any, which: UUID) -> AnyRow:
    row: AnyRow | None = (
        await connection.execute(select(notice).where(notice.c.id == which))
    ).first()
    if row is None:
        raise NotFound("no such notice")
    return row


def _time_of_day(core: Core) -> time:
    """Where this machine stands: that is where she is reached from."""
    return core.now().astimezone().time()


async def _reaching(core: Core, connection: Any, row: AnyRow, contact: dict[str, Any]) -> Reaching:
    """Her own rules, as workers wrote them down and as they came."""
    written = await written_for(core, connection, About(threads=frozenset({row.thread})))
    return Reaching.of(written, contact.get("safe_contact", {}))


async def _contact(core: Core, connection: Any, thread: UUID) -> dict[str, Any]:
    """Her own rules for reaching her, as far as they came to us in this exchange."""
    place = await connection.scalar(
        select(inbox_section.c.content)
        .join(inbox, inbox.c.id == inbox_section.c.message)
        .where(
            inbox.c.thread == thread,
            inbox_section.c.section == "contact_location",
            inbox_section.c.content.is_not(None),
            inbox.c.state.not_in(("stopped", "erased")),
        )
        .order_by(inbox.c.position.desc())
        .limit(1)
    )
    if place is None:
        return {}
    content = json.loads(await core.vault.read(connection, place))
    return {name: content[name] for name in ("safe_contact", "do_not_contact") if name in content}
