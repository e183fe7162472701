"""Composes what several workers hand in at one moment, with one look at the database for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from broker.gateway.batch import Batcher
from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.send.compose import Composed, compose
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.known import Knowledge
from broker.rules.content import Decision
from schemas.errors import Refused

GROUP = 64


class Composer:
    """The API's way to `compose`."""

    def __init__(self, core: Core, agreements: Agreements) -> None:
        self._core = core
        self._agreements = agreements
        self._knowledge = Knowledge(core)
        self._batch: Batcher[MessageDraft, Composed] = Batcher(self._compose_group, limit=GROUP)

    async def __call__(self, draft: MessageDraft) -> Composed:
        """See `compose`."""
        if draft.attachments:
            # Sealing files takes its time, and nobody else should wait for it.
            return _composed((await self._compose_group([draft]))[0])
        return await self._batch(draft)

    async def why_not(self, draft: MessageDraft) -> Decision:
        """What the content rules say to this draft, with their names: for who may know.

        Raises:
            Refused: Something refuses it before they are asked.
        """
        heard: list[Decision] = []
        async with self._core.database.read() as connection:
            known = await self._knowledge.about(connection, [draft])
            try:
                await compose(
                    self._core, self._agreements, connection, draft, known=known, heard=heard
                )
            except Refused:
                if not heard:
                    raise
        return heard[0]

    async def _compose_group(self, drafts: Sequence[MessageDraft]) -> list[Composed | Exception]:
        results: list[Composed | Exception] = []
        async with self._core.database.read() as connection:
            known = await self._knowledge.about(connection, drafts)
            for draft in drafts:
                try:
                    made = await compose(
                        self._core, self._agreements, connection, draft, known=known
                    )
                except Refused as error:
                    results.append(error)
                else:
                    results.append(made)
                await asyncio.sleep(0)  # others have their turn between two of them
        return results


def _composed(result: Composed | Exception) -> Composed:
    if isinstance(result, Exception):
        raise result
    return result
