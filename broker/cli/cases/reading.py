"""Cases from a national file, read in this process by the adapter of a gateway's home.

One row at a time, so that a file of any length costs the memory of one row. What the adapter
rejects it keeps, with its reasons, in its own folder on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from adapters.base import CaseRecord, RejectedRow
from adapters.registry import open_adapter
from broker.cli.homes.identity import lent_tools
from broker.cli.terminal.failures import advised
from broker.gateway.settings import load_settings
from schemas.errors import NotFound, SchemaRefused

HTCDS = (".csv", ".xlsx", ".xlsm")
FILE = "how a case file looks: docs/adapters.md, The files adapter"
ROWS = "what each reason means: docs/adapters.md, Why a row is rejected"
MOST_REASONS = 20
"""Shown of a file that is wrong in many places."""


def read_cases(
    home: Path, path: Path, spelling: Path | None = None
) -> Iterator[CaseRecord | RejectedRow]:
    """Every row of a file, as a case or as rejected.

    Args:
        spelling: How this file is spelled, where that is not said by the gateway's settings.

    Raises:
        SchemaRefused: The file as a whole is not a case file.
        Refused: `home` is no gateway's home.
    """
    settings = load_settings(home)
    if path.suffix.lower() in HTCDS:
        # Whatever the case system, people write and exchange these by hand.
        table = {"root": str(settings.path(settings.adapter.folder))}
        if settings.adapter.name == "files":
            table = settings.adapter_table
        if spelling is not None:
            table = {**table, "spelling": str(spelling.resolve())}
        return open_adapter("files", table).read_cases(path.resolve())
    # Reading our own folder needs no key, and asks for no passphrase.
    tools = None if settings.adapter.name == "files" else lent_tools(home)
    system = open_adapter(settings.adapter.name, settings.adapter_table, tools)
    return system.read_cases(path.resolve())


def participant_of(home: Path) -> str:
    """Whose home this is."""
    return load_settings(home).participant


def rejected_folder(home: Path) -> Path:
    """Where rows are kept that did not become a message: for the workers of this machine alone."""
    settings = load_settings(home)
    return settings.path(settings.adapter.folder) / "rejected"


def one_case(
    home: Path, path: Path, case_ref: str | None, spelling: Path | None = None
) -> CaseRecord:
    """The case of that number; without a number, the only one in the file.

    Raises:
        SchemaRefused: It is not among the rows that can be read; says which cannot, and why.
        NotFound: It is not there.
        click.UsageError: Several cases, or one among rows that cannot be read, and none was chosen.
    """
    found: CaseRecord | None = None
    reasons: list[str] = []
    rejected = 0
    try:
        items = iter(read_cases(home, path, spelling))
        first = next(items, None)
    except SchemaRefused as error:
        raise advised(error, FILE) from None
    for item in () if first is None else chain((first,), items):
        if isinstance(item, RejectedRow):
            rejected += 1
            reasons += [f"line {item.line}: {reason}" for reason in item.reasons][:MOST_REASONS]
            del reasons[MOST_REASONS:]
        elif case_ref is None:
            if found is not None:
                raise _choose(path)
            found = item
        elif item.case_ref == case_ref:
            return item
    if found is not None and rejected:
        raise _choose(path)  # the only readable case need not be the one that was meant
    if found is not None:
        return found
    if rejected:
        more = (f"and {rejected - MOST_REASONS} more",) if rejected > MOST_REASONS else ()
        refused = SchemaRefused("not among the rows that can be read", where=(*reasons, *more))
        raise advised(refused, ROWS)
    raise advised(
        NotFound(f"no such case in {path.name}"),
        "--case is the number as it stands in the file; --all takes every case of it",
    )


def _choose(path: Path) -> click.UsageError:
    return click.UsageError(
        f"{path.name} has several rows: choose a case with --case, or send --all"
    )


def contents(case: CaseRecord) -> dict[str, Any]:
    """Its sections as JSON values."""
    return {name: dict(content) for name, content in case.sections.items()}
