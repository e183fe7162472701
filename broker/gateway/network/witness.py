"""Our country's vote on the hub's log: each head is signed only if it is the grown form of the last.

The hub is asked for its growth, which is checked without believing anything but signatures and
hashes; our signature goes back, and the hub hands it out with its proofs. A head that contradicts
the one before is kept beside it as evidence, a person is called, and nothing is signed any more.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker.audit.log.note import Verifier
from broker.audit.witnesses.witness import Cosigned, Witness, WitnessMemory
from broker.gateway.core import Core
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.telemetry import logger
from schemas.errors import BrokerError, LogInconsistent, StorageUnavailable, Unavailable

FOLDER = "witness"
CONTRADICTION = LogInconsistent.code
NOT_WITNESSED = "log-not-witnessed"


class HubWitness:
    """Follows the log of our hub."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._memory: WitnessMemory | None = None
        self._unsent: Cosigned | None = None
        self._failures = 0

    @property
    def folder(self) -> Path:
        """Where the last head is kept, and the evidence if the log contradicts itself."""
        return self._core.settings.path(Path(FOLDER))

    async def run(self) -> None:
        """Witness for ever. Touches no table that messages use, and only every so often."""
        try:
            while True:
                await self.step()
                await asyncio.sleep(self._core.settings.witness.every.total_seconds())
        finally:
            self.close()

    async def step(self) -> None:
        """One step, and an alarm if a person must know of it."""
        try:
            await self.run_once()
            await self._went_well()
        except LogInconsistent as error:
            await self._alarm(CONTRADICTION, error)
            await self._show()
        except BrokerError as error:
            await self._went_badly(error)

    async def _show(self) -> None:
        """Show the hub what it signed: if its database was set back, it stops by itself."""
        core, memory = self._core, self._memory
        vkey = core.partner(core.settings.hub.id).log_vkey
        if memory is None or vkey is None:
            return
        last = await asyncio.to_thread(memory.last, Verifier.from_text(vkey).name)
        if last is None:
            return
        try:
            if await core.hub.show_head(last):
                logger().error("witness:log-set-back", participant=core.settings.hub.id)
        except BrokerError as error:
            logger().warning("witness:not-shown", code=error.code)

    def close(self) -> None:
        """Let another process have the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    async def run_once(self) -> bool:
        """One step; true if the hub has a new signature of ours.

        Raises:
            LogInconsistent: The log contradicts itself, now or before. The evidence is in `folder`.
            BrokerError: No answer, or not an answer that we may sign.
        """
        core = self._core
        vkey = core.partner(core.settings.hub.id).log_vkey
        ours = core.log.signer.verifier
        if vkey is None or core.self_entry().log_vkey != ours.to_text():
            return False  # the directory does not name us a witness
        key = Verifier.from_text(vkey)
        if self._unsent is None:
            self._unsent = await self._sign(key)
        if self._unsent is None:
            return False
        await core.hub.cosign(self._unsent.head.checkpoint.size, self._unsent.lines)
        self._unsent = None
        return True

    async def _sign(self, key: Verifier) -> Cosigned | None:
        core = self._core
        if self._memory is None:
            self._memory = await asyncio.to_thread(WitnessMemory(self.folder).open)
        witness = Witness({key.name: [key]}, [core.log.signer.dated()], self._memory)
        last = await asyncio.to_thread(witness.last, key.name)
        body = await core.hub.log_growth(0 if last is None else last.checkpoint.size)
        return await witness.pull(body, core.now())

    async def _went_well(self) -> None:
        if self._failures:
            core = self._core
            async with core.database.begin() as connection:
                await clear_alarms(connection, core.settings.hub.id, NOT_WITNESSED, now=core.now())
        self._failures = 0

    async def _went_badly(self, error: BrokerError) -> None:
        self._failures += 1
        if not isinstance(error, Unavailable):
            self._unsent = None  # the hub will not have it, now or later
        logger().warning("witness:failed", code=error.code)
        if self._failures == self._core.settings.witness.failures:
            await self._alarm(NOT_WITNESSED, error)

    async def _alarm(self, code: str, error: BrokerError) -> None:
        core = self._core
        try:
            async with core.database.begin() as connection:
                await raise_alarm(connection, code, core.settings.hub.id, now=core.now())
        except StorageUnavailable:
            logger().error("witness:alarm-not-stored", code=error.code)
