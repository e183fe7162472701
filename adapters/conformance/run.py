"""One conformance run: every promise that applies, tried in order, none hiding another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from adapters.base import Memory, NationalSystem, Tools
from adapters.conformance.checks import CHECKS
from adapters.conformance.kills import process_of, survives_kills
from adapters.conformance.report import FAILED, NOT_OFFERED, PASSED, Report, Result
from adapters.registry import open_adapter
from schemas.errors import BrokerError

KILLED = "survives_being_killed_while_filing"
_KILLED_PROMISE = "A process that dies while it files leaves exactly one case, or none."


def conform(
    name: str,
    settings: Mapping[str, Any],
    tools: Tools,
    *,
    now: datetime,
    kills: int = 20,
    seed: int = 1,
    at: Callable[[str], None] = lambda _: None,
) -> Report:
    """Try every promise of the port on an adapter.

    The system behind the settings should be one made for trials: invented cases are filed in it.

    Args:
        name: As in `adapters.registry`; `external` with its `command` for a process.
        kills: How often it is killed while it files; 0 leaves that out of the report.
        at: Told the name of what is being tried.

    Raises:
        BrokerError: The adapter cannot be opened, or its system cannot be reached: there is
            nothing to report yet.
    """
    system = open_adapter(name, settings, tools)
    system.check()
    results = []
    for check in CHECKS:
        at(check.name)
        if check.applies_to(system):
            results.append(_tried(check.name, check.promise, partial(check, system)))
        else:
            results.append(Result(check.name, check.promise, NOT_OFFERED))
    if kills:
        results.append(_killed(name, settings, tools, system, kills=kills, seed=seed, at=at))
    return Report(
        adapter=system.name,
        memory=system.memory.value,
        skills=tuple(sorted(system.skills)),
        version=version("referral-broker"),
        at=now,
        seed=seed,
        results=tuple(results),
    )


def _killed(
    name: str,
    settings: Mapping[str, Any],
    tools: Tools,
    system: NationalSystem,
    *,
    kills: int,
    seed: int,
    at: Callable[[str], None],
) -> Result:
    if system.memory is Memory.NONE:
        return Result(KILLED, _KILLED_PROMISE, NOT_OFFERED)
    return _tried(
        KILLED,
        _KILLED_PROMISE,
        lambda: survives_kills(
            lambda: process_of(name, settings, tools),
            system,
            rounds=kills,
            seed=seed,
            at=lambda done: at(f"{KILLED} {done} of {kills}"),
        ),
    )


def _tried(check: str, promise: str, attempt: Callable[[], None]) -> Result:
    try:
        attempt()
    except AssertionError as error:
        return Result(check, promise, FAILED, str(error))
    except BrokerError as error:
        return Result(check, promise, FAILED, f"raised {error.code}")
    except Exception as error:
        # The text of a foreign exception may repeat what it was given.
        return Result(check, promise, FAILED, f"raised {type(error).__name__}")
    return Result(check, promise, PASSED)
