"""The auditor of the story: an enrolled rapporteur who may read the log and no case.

Everything here goes through the same commands that a real auditor runs, each in a process of its
own; the verifying ones work without a network.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from broker.cli.demo.processes import run_cli, until
from broker.cli.demo.world import ALBANIA, AUDITOR, ITALY, World, expect
from schemas.envelope import Lane
from schemas.errors import NotFound


def verify_whole_log(world: World) -> int:
    """Download the log with an auditor's rights, verify it offline; the number of entries."""
    home = world.network.participants[AUDITOR].home
    vkey = home / "log.vkey"
    vkey.write_text(run_cli("log", "vkey", "--home", str(home)), encoding="utf-8")
    folder = home / "log"
    run_cli("log", "export", "--home", str(home), "--out", str(folder))
    verdict = json.loads(run_cli("log", "verify-all", str(folder), "--vkey", str(vkey), "--json"))
    expect(verdict["proven"] is True, "the whole log to verify")
    return int(verdict["log_size"])


def verify_one_delivery(world: World, message: str) -> int:
    """Italy hands a proof of one delivery to the auditor, who verifies it offline; how many."""
    home = world.network.participants[AUDITOR].home
    italy = world.network.participants[ITALY].home
    proof, keys, vkey = home / "delivery.proof", home / "directory.keys", home / "log.vkey"

    def fetched() -> bool:
        run_cli(
            *("log", "proof", message, "--fact", "delivered", "--out", str(proof)),
            *("--home", str(italy), "--worker", "first"),
        )
        return True

    until("the proof of a delivery", fetched, seconds=10)
    run_cli("directory", "keys", "--home", str(home), "--out", str(keys))
    verdict = json.loads(
        run_cli(
            *("log", "verify", str(proof), "--vkey", str(vkey), "--keys", str(keys), "--json"),
            *("--envelope", message, "--fact", "delivered"),
        )
    )
    expect(verdict["proven"] is True, "the delivery to be proven")
    expect(verdict["stated_by"] == ALBANIA, "Albania's own signature under the delivery")
    expect(verdict["key_from"] == "directory", "Albania's key to come from the directory")
    return 1


def learns_nothing_else(world: World, message: str) -> None:
    """The auditor's own key opens the log and nothing besides: no message, no mail, no proof."""

    async def ask() -> tuple[object, int, bool]:
        async with world.network.identity(AUDITOR).hub() as hub:
            state = await hub.envelope_state(UUID(message))
            mail = [item for lane in Lane for item in await hub.mailbox(lane, limit=10)]
            try:
                await hub.proof(envelope=UUID(message))
            except NotFound:
                return state, len(mail), False
            return state, len(mail), True

    expect(asyncio.run(ask()) == (None, 0, False), "the auditor to be told of no message")


def all_erased(answer: dict[str, Any], participants: set[str]) -> bool:
    """True if each of these has attested that it erased vault and case system."""
    attested: dict[str, dict[str, str]] = {}
    for item in answer.get("attestations", ()):
        stores = attested.setdefault(item["participant"], {})
        stores |= {store["store"]: store["outcome"] for store in item["stores"]}
    return all(
        attested.get(participant, {}).get(store) == "erased"
        for participant in participants
        for store in ("vault", "case-system")
    )
