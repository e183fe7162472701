"""Sending the cases of files that were dropped into the folder of the files or the SFTP adapter.

A file is put aside once every case of it was decided: sent, or refused with a code. What the
gateway could not decide stays where it is, and the next run asks again under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from adapters.base import CaseRecord, RejectedRow
from adapters.registry import open_adapter
from adapters.systems.files.dropped import Drops, HasDrops, Taken
from broker.cli.cases.bulk import Tally
from broker.cli.homes.identity import lent_tools
from broker.gateway.settings import load_settings
from schemas.errors import SchemaRefused

WITH_FOLDER = ("files", "sftp")
Rows = Iterator[CaseRecord | RejectedRow]


@dataclass(frozen=True, slots=True)
class Dealt:
    """What became of one dropped file."""

    name: str
    tally: Tally
    put_aside: bool
    refused: SchemaRefused | None = None
    """The file as a whole; its reason lies beside it."""

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.name,
            **self.tally.as_json(),
            "put_aside": self.put_aside,
            "refused_whole": self.refused.code if self.refused else None,
        }


def drop_folder(home: Path) -> Drops:
    """The folder into which files are dropped for the gateway of this home.

    Raises:
        click.UsageError: Its adapter has none.
        CustodyLocked: It is sealed, and the file key is needed to open what is in it.
    """
    settings = load_settings(home)
    if settings.adapter.name not in WITH_FOLDER:
        raise click.UsageError(f"only {' and '.join(WITH_FOLDER)} have a folder for dropped files")
    # Reading our own folder needs no key, and asks for no passphrase.
    tools = None if settings.adapter.name == "files" else lent_tools(home)
    system = open_adapter(settings.adapter.name, settings.adapter_table, tools)
    assert isinstance(system, HasDrops)  # noqa: S101 - nobody can take their names
    return system.dropped


def deal_with(files: Iterable[Taken], send: Callable[[Taken, Rows], Tally]) -> Iterator[Dealt]:
    """Send what is in each file, and put it where it belongs.

    Ends early when the gateway has stopped answering: it would not answer about the next file.
    """
    for file in files:
        rows = _Rows(file.cases())
        try:
            tally = send(file, rows)
        except SchemaRefused as refused:
            if rows.refused is not refused:
                raise  # not the file's fault
            file.refuse(refused)
            yield Dealt(file.name, Tally(), put_aside=False, refused=refused)
            continue
        decided = tally.complete and not tally.undecided
        yield Dealt(file.name, tally, put_aside=decided and file.put_aside())
        if not tally.complete:
            return


class _Rows:
    """Rows that remember whether it was they that were refused."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.refused: SchemaRefused | None = None

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> CaseRecord | RejectedRow:
        try:
            return next(self._rows)
        except SchemaRefused as refused:
            self.refused = refused
            raise
