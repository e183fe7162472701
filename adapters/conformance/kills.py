"""A process that dies while it files leaves one case behind or none, never two and never half.

The adapter runs in a process of its own (`adapters.external`), which is killed at a random moment
of a filing. Then another process, as after a restart, does what the gateway does.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from adapters.base import Memory, NationalSystem, Skill, Tools
from adapters.conformance.cases import full_case
from adapters.conformance.checks import expect, expect_same, filed, new_id
from adapters.external import ExternalSystem
from schemas.errors import BrokerError


def process_of(name: str, settings: Mapping[str, Any], tools: Tools) -> ExternalSystem:
    """Any adapter, as a process that can be killed."""
    if name == "external":
        return ExternalSystem(settings["command"], settings.get("settings", {}), tools, 30.0)
    return ExternalSystem([sys.executable, "-m", "adapters.serve", name], settings, tools, 30.0)


def survives_kills(
    start: Callable[[], ExternalSystem],
    system: NationalSystem,
    *,
    rounds: int,
    seed: int,
    at: Callable[[int], None] = lambda _: None,
) -> None:
    """Kill it while it files, again and again; find exactly one case each time.

    Args:
        start: A new process of the adapter.
        system: The same system, in a process that is not killed.
        rounds: How often; the moments are drawn from the seed.
        at: Told the number of rounds done.
    """
    expect(system.memory is not Memory.NONE, "what cannot remember cannot be tried so")
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    usual = _seconds_of_one(start())
    for done in range(rounds):
        business_id, process = new_id(), start()
        process.check()
        worker = threading.Thread(target=_file_quietly, args=(process, business_id))
        worker.start()
        time.sleep(moments.uniform(0, 1.3 * usual))
        process.abort()
        worker.join()
        before = system.find(business_id)
        again = filed(system.file(business_id, full_case()))
        if before is not None:
            expect(again.already, "found, and yet filed anew")
            expect(again.reference == before.reference, "two references for one referral")
        if Skill.READ in system.skills:
            expect_same(system, again, full_case())
        system.erase(again.reference)
        if system.memory is Memory.LOOKUP and Skill.ERASE in system.skills:
            expect(system.find(business_id) is None, "a second case was left behind")
        at(done + 1)


def _seconds_of_one(process: ExternalSystem) -> float:
    process.check()
    started = time.monotonic()
    answer = filed(process.file(new_id(), full_case()))
    took = time.monotonic() - started
    process.erase(answer.reference)
    process.close()
    return took


def _file_quietly(process: ExternalSystem, business_id: UUID) -> None:
    with suppress(BrokerError):
        process.file(business_id, full_case())
