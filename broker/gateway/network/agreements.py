"""Agreements as the gateway needs them: verified by itself, at hand while the hub is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete

from broker.clock import is_recent
from broker.gateway.core import Core
from broker.gateway.store.dialect import upsert
from broker.gateway.store.grants import stored_agreements, stored_words
from broker.gateway.store.tables import agreement, suspension
from broker.rules.header import AgreementView
from broker.telemetry import logger
from keys.signing import verify_agreement
from keys.statements.suspension import Word, held, later, word_of
from schemas.agreement import Agreement
from schemas.base import ParticipantId
from schemas.envelope import Lane
from schemas.errors import BrokerError, Unavailable

LOOK_AGAIN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class KnownAgreement:
    """An agreement that both parties signed, and whether anybody holds it suspended."""

    content: Agreement
    suspended: bool

    def view(self) -> AgreementView:
        """As the header rules see it."""
        return AgreementView(
            parties=frozenset(self.content.parties),
            valid_from=self.content.valid_from,
            valid_until=self.content.valid_until,
            lanes=frozenset(str(lane) for lane in self.content.lanes),
            suspended=self.suspended,
        )

    def covers_type(self, name: str) -> bool:
        """True if it names the type, its family as `referral.*`, or `*`; consent belongs to each."""
        family = name.split(".")[0] + ".*"
        return family == "consent.*" or bool({name, family, "*"} & set(self.content.types))

    def is_in_force(self, today: date) -> bool:
        """True if something may travel under it today."""
        return not self.suspended and self.content.valid_from <= today <= self.content.valid_until

    def carries(self, type_name: str, lane: Lane, today: date) -> bool:
        """True if a message of the type may travel under it today, in this lane."""
        content = self.content
        return self.is_in_force(today) and self.covers_type(type_name) and lane in content.lanes

    def answer_by(self, name: str, usual: datetime | None, now: datetime) -> datetime | None:
        """The sooner of the usual deadline and what the two agreed; what needs no answer has none."""
        if usual is None:
            return None
        family = name.split(".")[0] + ".*"
        agreed = [one for one in self.content.deadlines if one.type in (name, family)]
        return min([usual, *(now + timedelta(hours=one.hours) for one in agreed)])


class Agreements:
    """The participant's agreements, in memory, refreshed from the hub."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[UUID, KnownAgreement] = {}
        self._words: dict[tuple[UUID, ParticipantId], Word] = {}
        self._asked_at: datetime | None = None
        self._asking = asyncio.Lock()

    def get(self, agreement_id: UUID | None) -> KnownAgreement | None:
        return None if agreement_id is None else self._known.get(agreement_id)

    def for_partner(
        self, partner: ParticipantId, type_name: str, lane: Lane
    ) -> tuple[UUID, KnownAgreement] | None:
        """The agreement under which a message may travel; one in force is preferred."""
        today = self._core.now().date()
        found = [
            (known.content.valid_until, agreement_id, known)
            for agreement_id, known in self._known.items()
            if set(known.content.parties) == {self._core.participant, partner}
        ]
        in_force = [item for item in found if item[2].carries(type_name, lane, today)]
        chosen = max(in_force or found, key=lambda item: (item[0], item[1]), default=None)
        return None if chosen is None else (chosen[1], chosen[2])

    def partners(self) -> list[ParticipantId]:
        """Everybody with whom there is an agreement, in force or not."""
        both = {party for known in self._known.values() for party in known.content.parties}
        return sorted(both - {self._core.participant})

    async def look_for(self, partner: ParticipantId) -> None:
        """If nothing in force is known with a partner, ask the hub now, at most every other second.

        An agreement that was registered a moment ago is then found; with the hub away, what we
        knew stands.
        """
        async with self._asking:  # who comes while another asks hears what that one was told
            now = self._core.now()
            known = any(
                partner in item.content.parties and item.is_in_force(now.date())
                for item in self._known.values()
            )
            if known or (self._asked_at is not None and is_recent(self._asked_at, now, LOOK_AGAIN)):
                return
            self._asked_at = now
            try:
                await self.refresh()
            except Unavailable as error:
                logger().info("agreements:not-refreshed", code=error.code)

    async def load(self) -> None:
        """Take what is stored, as at start with the hub away."""
        async with self._core.database.read() as connection:
            raws = await stored_agreements(connection)
            words = await stored_words(connection)
        self._words = {(word.agreement, word.by): word for word in words}
        self._take(self._verified(raws))

    async def refresh(self) -> None:
        """Ask the hub, verify what it says, and keep it.

        Raises:
            Unavailable: The hub does not answer; what we had stays.
        """
        core = self._core
        fetched = await core.hub.agreements()
        verified = self._verified([raw for raw, _ in fetched])
        said = dict(fetched)
        new = [
            (word, raw)
            for agreed, content in verified
            for word, raw in self._listen(content, said[agreed])
        ]
        now = core.now()
        async with core.database.begin() as connection:
            for word, raw in new:
                await upsert(
                    connection, suspension, {**asdict(word), "raw": raw}, key=("agreement", "by")
                )
            # What is still in force and the hub names no more it has lost: see `hub_restored`.
            stored = [raw for raw in await stored_agreements(connection) if raw not in said]
            lost = [one for one in self._verified(stored) if one[1].valid_until >= now.date()]
            await connection.execute(delete(agreement))
            for raw, content in [*verified, *lost]:
                row = {"id": content.id, "raw": raw, "fetched_at": now}
                await upsert(connection, agreement, row, key=("id",))
        for word, _ in new:
            logger().warning(
                "agreement:suspended" if word.holds else "agreement:resumed",
                agreement_id=str(word.agreement),
                participant=word.by,
            )
        self._words |= {(word.agreement, word.by): word for word, _ in new}
        self._take(verified)

    def _verified(self, raws: Sequence[bytes]) -> list[tuple[bytes, Agreement]]:
        found = []
        for raw in raws:
            try:
                agreed = verify_agreement(raw, self._core.trusted(), now=self._core.now())
            except BrokerError as error:
                # An agreement that does not verify is none: what it would permit is refused.
                logger().error("agreement:not-verified", code=error.code)
                continue
            found.append((raw, agreed.content))
        return found

    def _listen(self, content: Agreement, raws: Sequence[bytes]) -> list[tuple[Word, bytes]]:
        """What is new in what the hub tells about holding one agreement, and truly said."""
        found = []
        for raw in raws:
            try:
                word = word_of(raw, content.parties, self._core.trusted(), now=self._core.now())
            except BrokerError as error:
                logger().error("suspension:not-verified", code=error.code)
                continue
            known = self._words.get((content.id, word.by))
            if word.agreement == content.id and later(known, word) != known:
                found.append((word, raw))
        return found

    def _take(self, verified: Sequence[tuple[bytes, Agreement]]) -> None:
        self._known = {
            content.id: KnownAgreement(content, held(self._words, content.id))
            for _, content in verified
        }
