"""What is known of grants, our own and others': whether they still allow what they allowed.

What a grant allows is known from its signed statement, and whether it still does from the hub's
feed of withdrawals, which holds every change to every grant of ours in order. The feed's `as_of`
is therefore the age of all that we know, and nothing is unsealed under knowledge that is too old.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from broker.clock import is_recent
from broker.gateway.core import Core
from broker.gateway.store import grants as store
from broker.gateway.store.grants import GrantState
from broker.telemetry import logger
from keys.signing import parse_envelope, verify_grant
from schemas.consent import GrantStatement
from schemas.errors import BadSignature, BrokerError, ConsentStale, NotFound, Unavailable

FEED = "grant-changes"
MAX_PAGES = 32
"""Of the feed, held in memory at once."""


class _Followed(NamedTuple):
    """How far the feed was read."""

    position: int
    as_of: datetime
    asked_at: datetime | None
    """By our own clock, not the hub's: a hub that is wrong about the time must not make us stale.
    None if there is more to read."""


class KnownGrants:
    """Keeps what is known of all grants fresh."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._fresh_at: datetime | None = None

    def is_fresh(self) -> bool:
        """True if what we know of grants is young enough to unseal under."""
        limit = self._core.settings.receive.consent_fresh
        return self._fresh_at is not None and is_recent(self._fresh_at, self._core.now(), limit)

    async def follow(self) -> list[bytes]:
        """Ask the hub for withdrawals since the last time; returns their envelopes, in order.

        The caller receives them like any other and then calls `followed`. Pages are asked for
        until one is empty. Who was away so long that `MAX_PAGES` do not reach the end stays stale,
        and goes on from there the next time.

        Raises:
            Unavailable: The hub does not answer.
        """
        async with self._core.database.read() as connection:
            position, _ = await store.get_cursor(connection, FEED)
        envelopes: list[bytes] = []
        for _ in range(MAX_PAGES):
            asked = self._core.now()
            answer = await self._core.hub.grant_changes(position)
            position = answer.cursor
            # What we withdrew ourselves was in force here before it left.
            envelopes += (
                change.envelope for change in answer.changes if not self._is_ours(change.envelope)
            )
            if not answer.changes:
                self._pending = _Followed(position, answer.as_of, asked)
                break
        else:
            self._pending = _Followed(position, answer.as_of, None)
        return envelopes

    def _is_ours(self, raw: bytes) -> bool:
        try:
            return parse_envelope(raw).content.from_ == self._core.participant
        except BrokerError:
            return False  # the receiver looks at it, and quarantines it

    async def followed(self) -> None:
        """What `follow` returned has been received and stored."""
        pending = self._pending
        async with self._core.database.begin() as connection:
            await store.set_cursor(connection, FEED, pending.position, pending.as_of)
        if pending.asked_at is not None:
            self._fresh_at = pending.asked_at

    async def load_received(self, ids: set[UUID]) -> dict[UUID, GrantState]:
        """Grants by id; those not known yet are fetched from the hub and verified here.

        Raises:
            ConsentStale: The hub cannot be asked about one that is not known.
        """
        async with self._core.database.read() as connection:
            found = await store.load_grants(connection, ids)
        for missing in ids - found.keys():
            try:
                fetched = await self._fetch(missing)
            except Unavailable as error:
                raise ConsentStale(error.code) from error
            if fetched is not None:
                found[missing] = fetched
        return found

    async def _fetch(self, grant_id: UUID) -> GrantState | None:
        core = self._core
        try:
            answer = await core.hub.grant(grant_id)
            await self.keep_statement(grant_id, answer.statement)
        except (NotFound, BadSignature) as error:
            logger().warning("grant:not-verified", grant_id=str(grant_id), code=error.code)
            return None
        except BrokerError as error:
            if isinstance(error, Unavailable):
                raise
            return None
        async with core.database.begin() as connection:
            if answer.status == "withdrawn":
                return await store.take_back(connection, grant_id, (), now=core.now())
            if answer.removed:
                return await store.take_back(connection, grant_id, answer.removed, now=core.now())
            return await store.require_grant(connection, grant_id)

    async def keep_statement(self, grant_id: UUID, raw: bytes) -> None:
        """Verify a grant statement ourselves and keep it.

        Raises:
            Refused, Suspect: It is not a statement of this grant, signed by its giver.
        """
        core, now = self._core, self._core.now()
        content = verify_grant(raw, core.trusted(), now=now).content
        if content.grant != grant_id:
            raise BadSignature("the statement is of another grant")
        async with core.database.begin() as connection:
            await store.add_grant(
                connection, received_values(content, raw, now), dict.fromkeys(content.scopes)
            )


def received_values(content: GrantStatement, raw: bytes, now: datetime) -> dict[str, object]:
    """A row for a grant whose statement reached us before its record."""
    return {
        "id": content.grant,
        "sender": content.from_,
        "recipient": content.to,
        "case_ref": None,
        "statement": raw,
        "secret": None,
        "record": None,
        "valid_from": content.valid_from,
        "until": content.until,
        "derived_from": content.derived_from,
        "state": "live",
        "registered_at": now,
        "attempts": 0,
        "next_attempt_at": now,
        "created_at": now,
        "withdrawn_at": None,
    }
