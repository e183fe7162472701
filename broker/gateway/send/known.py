"""What drafts are judged by, read once for as many of them as are at hand.

A worker's desk sends one case to one partner under one grant, again and again. The key and the
person's record of a grant that we gave do not change, so they are opened once and kept in memory
for a minute; what was given to us may be erased and is read each time. So is whether a grant still
stands, which is asked again under a lock when a message is stored.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.content_check import consent_of
from broker.gateway.core import Core
from broker.gateway.safeguards.known import About, look
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.store import grants as grant_store
from broker.gateway.store.grants import GrantState
from broker.gateway.store.known import Stored
from broker.rules.content import GrantView, Person
from schemas.consent import ConsentRecord

REMEMBER_SECONDS = 60.0
MOST = 256
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, repr=False)
class KnownGrant:
    """A grant, with what lies in the vault about it."""

    state: GrantState
    key: bytes | None
    view: GrantView

    def __repr__(self) -> str:
        return f"<KnownGrant {self.state.id}>"


@dataclass(frozen=True, slots=True)
class Known:
    """What some drafts are judged by."""

    grants: dict[UUID, KnownGrant]
    persons: dict[About, Person]
    sources: dict[UUID, frozenset[tuple[str, str]]]
    """Of a grant that passes something on: the partner's case that it comes from."""
    stored: Stored
    """Under all names of all these persons."""

    def person(self, draft: MessageDraft) -> Person:
        """What is known of the person of this draft."""
        return self.persons[_about(draft, self.sources)]


class _Remembered(Generic[_T]):
    """A few things by reference, each for a while."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[_T, float]] = {}

    def get(self, ref: str) -> _T | None:
        kept, until = self._kept.get(ref, (None, 0.0))
        return kept if time.monotonic() < until else None

    def put(self, ref: str, value: _T) -> None:
        now = time.monotonic()
        if len(self._kept) >= MOST:
            self._kept = {key: item for key, item in self._kept.items() if now < item[1]}
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[ref] = (value, now + REMEMBER_SECONDS)


class Knowledge:
    """Reads it. One for each gateway."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._keys: _Remembered[bytes] = _Remembered()
        self._records: _Remembered[ConsentRecord] = _Remembered()

    async def about(self, connection: AsyncConnection, drafts: Sequence[MessageDraft]) -> Known:
        """What these drafts are judged by."""
        states = await grant_store.load_grants(
            connection, [draft.grant for draft in drafts if draft.grant is not None]
        )
        keys, records = await self._open(connection, states.values())
        sources = await _sources(connection, states.values())
        abouts = list({_about(draft, sources) for draft in drafts})
        people, stored = await look(self._core, connection, abouts)
        return Known(
            grants={
                state.id: KnownGrant(
                    state,
                    keys.get(state.secret or ""),
                    consent_of(state, records.get(state.record or "")),
                )
                for state in states.values()
            },
            persons=dict(zip(abouts, people, strict=True)),
            sources=sources,
            stored=stored,
        )

    async def _open(
        self, connection: AsyncConnection, states: Collection[GrantState]
    ) -> tuple[dict[str, bytes], dict[str, ConsentRecord]]:
        """Keys and records by their references in the vault; what is not remembered is read."""
        keys = {ref: self._keys.get(ref) for state in states if (ref := state.secret)}
        records = {ref: self._records.get(ref) for state in states if (ref := state.record)}
        wanted = [ref for known in (keys, records) for ref, value in known.items() if value is None]
        if wanted:
            read = await self._core.vault.read_many(connection, wanted)
            for state in states:
                ours = state.sender == self._core.participant
                if state.secret in read:
                    keys[state.secret] = read[state.secret]
                    if ours:
                        self._keys.put(state.secret, read[state.secret])
                if state.record in read:
                    record = ConsentRecord.from_json(read[state.record])
                    records[state.record] = record
                    if ours:
                        self._records.put(state.record, record)
        return (
            {ref: key for ref, key in keys.items() if key is not None},
            {ref: record for ref, record in records.items() if record is not None},
        )


async def _sources(
    connection: AsyncConnection, states: Collection[GrantState]
) -> dict[UUID, frozenset[tuple[str, str]]]:
    """Where what is passed on under these grants comes from, whatever the draft says of that."""
    derived = {state.id: state.derived_from for state in states if state.derived_from is not None}
    if not derived:
        return {}
    given = await grant_store.load_grants(connection, derived.values())
    return {
        grant: frozenset({(source.sender, source.case_ref)})
        for grant, origin in derived.items()
        if (source := given.get(origin)) is not None and source.case_ref is not None
    }


def _about(draft: MessageDraft, sources: dict[UUID, frozenset[tuple[str, str]]]) -> About:
    """The case, the referral that is passed on, what it is passed on from, what the thread said."""
    return About(
        case_refs=frozenset({draft.case_ref}),
        business_ids=frozenset(() if draft.derived_from is None else (draft.derived_from,)),
        threads=frozenset(() if draft.thread is None else (draft.thread,)),
        partner_cases=sources.get(draft.grant, frozenset()) if draft.grant else frozenset(),
    )
