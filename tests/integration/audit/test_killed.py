"""Killed at any moment, the sequencer leaves one history, and every checkpoint proves it."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from broker.audit.log.checkpoint import open_checkpoint
from tests.support.log_history import assert_one_history, stored
from tests.support.stored_log import StoredLog

CHILD = """
import asyncio, sys
from broker.audit.log.note import NoteSigner
from broker.audit.log.sequencer import Sequencer
from broker.audit.log.store import add_leaves, log_tables, newest_checkpoint
from broker.audit.log.leaves import new_leaf
from broker.clock import SystemClock
from broker.database import Database, new_metadata
from schemas.audit import Event

async def main(url, skey):
    database, tables, clock = Database(url), log_tables(new_metadata()), SystemClock()
    sequencer = Sequencer(database, tables, origin="hub.example/log",
                          signers=[NoteSigner.from_text(skey)], clock=clock)
    number = 0
    while True:
        leaf, _ = new_leaf(Event.ENVELOPE_SUBMITTED, clock.now(), number.to_bytes(32, "big"))
        async with database.begin() as connection:
            await add_leaves(connection, tables, [leaf])
        print("leaf", leaf.hex(), flush=True)
        number += 1
        if number % 3 == 0:
            await sequencer.run_once()
            async with database.read() as connection:
                head = await newest_checkpoint(connection, tables)
            print("head", head.note.encode().hex(), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass
class Outside:
    """What the world saw of a log: leaves that were acknowledged, checkpoints that were read."""

    leaves: list[bytes] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)
    kills: int = 0

    def run_and_kill(self, url: str, skey: str, seconds: float) -> None:
        """Let a process write, integrate and publish, and kill it."""
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, skey], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        self.kills += 1
        # The last line may be cut off; what it was about is committed all the same.
        for line in (first + rest).split("\n")[:-1]:
            kind, _, data = line.partition(" ")
            (self.leaves if kind == "leaf" else self.checkpoints).append(bytes.fromhex(data))


async def test_a_sequencer_killed_again_and_again_leaves_one_history_that_proves(
    log: StoredLog, soaking: bool
) -> None:
    skey = log.keys.signers[0].to_text()
    chance, seen = random.Random(4), Outside()
    for _ in range(100 if soaking else 5):  # on each of the two databases
        seconds = chance.uniform(0.0, 0.3)
        await asyncio.to_thread(seen.run_and_kill, log.database.url, skey, seconds)
    while await log.sequencer.run_once():
        pass
    bodies = await stored(log.database, log.tables)
    assert len(set(bodies)) == len(bodies)
    assert set(seen.leaves) <= set(bodies)
    assert len(bodies) - len(seen.leaves) <= seen.kills
    keys = log.keys.verifiers
    ever = set(await assert_one_history(log.database, log.tables, keys, chance))
    assert {open_checkpoint(note, keys).checkpoint for note in seen.checkpoints} <= ever
    assert len(ever) > 2
