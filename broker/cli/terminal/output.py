"""Where words go: the result to standard output, all narration to standard error.

With `--json` the result is one JSON object, or one per line, and nothing else is on standard
output. Colour and movement only on a terminal, never with `NO_COLOR`, and a progress display only
for what takes longer than a second.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

PROGRESS_AFTER_SECONDS = 1.0
PROGRESS_EVERY_SECONDS = 0.1
BAR_WIDTH = 24
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
"""FSI and PDI (UAX #9): what is between them is laid out by itself."""


class Output:
    """One command's voice."""

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug

    def result(self, value: Mapping[str, Any], *, plain: str | None = None) -> None:
        """The one thing that was asked for."""
        if self.as_json:
            click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        elif plain is not None:
            click.echo(plain)
        else:
            click.echo(fields(value))

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list: JSON Lines with everything, or a table with the columns named."""
        if self.as_json:
            for row in rows:
                click.echo(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
        elif not rows:
            self.say("none")
        else:
            wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            click.echo(table(rows, columns) if wide is None else fitting(rows, columns, wide))

    def text(self, text: str) -> None:
        """A result that is text in a format of its own (a key, a checkpoint, a proof)."""
        click.echo(text, nl=not text.endswith("\n"))

    def say(self, text: str, **style: Any) -> None:
        """Narration: never part of the result."""
        click.echo(click.style(text, **style) if self.coloured else text, err=True)

    def bar(self, done: int, of: int) -> str:
        """`[####......]  40 of about 100`, for a progress display."""
        share = min(done / of, 1.0) if of else 1.0
        filled = round(share * BAR_WIDTH)
        return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done} of about {max(of, done)}"

    @property
    def coloured(self) -> bool:
        return sys.stderr.isatty() and "NO_COLOR" not in os.environ

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[str], None]]:
        """Say what is under way, on a terminal and only once it has taken a second.

        Yields a function that the work calls now and then with where it is.
        """
        next_at = time.monotonic() + PROGRESS_AFTER_SECONDS
        shown = False

        def at(where: str) -> None:
            nonlocal shown, next_at
            if sys.stderr.isatty() and time.monotonic() > next_at:
                shown = True
                next_at = time.monotonic() + PROGRESS_EVERY_SECONDS
                click.echo(f"\r\x1b[2K{label} {where}", err=True, nl=False)

        try:
            yield at
        finally:
            if shown:
                click.echo("\r\x1b[2K", err=True, nl=False)


def current() -> Output:
    """The voice of the command that runs now."""
    found = click.get_current_context().find_object(Output)
    return found if found is not None else Output()


def isolated(text: str) -> str:
    """Text with right-to-left letters in it, set apart, so that what stands beside it in a line
    keeps its place; any other text as it is."""
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        return f"{ISOLATE}{text}{END_OF_ISOLATE}"
    return text


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _columns(text: str) -> int:
    """How many columns of a terminal it takes: none for marks, two for wide letters."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in ("W", "F")
        else 1
        for character in text
    )


def _cell(value: Any) -> str:
    return isolated(_plain(value))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "-"
    if isinstance(value, Mapping) and not value:
        return "-"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def fields(value: Mapping[str, Any], *, indent: str = "") -> str:
    """`name  value`, one per line, names aligned; what has parts stands indented below its name."""
    named = [(isolated(name), item) for name, item in value.items()]
    width = max((_columns(name) for name, item in named if not _has_parts(item)), default=0)
    lines = []
    for name, item in named:
        if not _has_parts(item):
            lines.append(f"{indent}{_filled(name, width)}  {_cell(item)}")
            continue
        lines.append(f"{indent}{name}")
        deeper = indent + "  "
        if isinstance(item, Mapping):
            lines.append(fields(item, indent=deeper))
        elif any(_has_parts(cell) for row in item for cell in row.values()):
            lines += [fields(row, indent=deeper) for row in item]
        else:
            # A column in which nobody has anything would only be wide.
            names = list(dict.fromkeys(key for row in item for key in row))
            columns = [key for key in names if any(row.get(key) is not None for row in item)]
            lines += [deeper + line for line in table(item, columns).splitlines()]
    return "\n".join(lines)


def _has_parts(item: Any) -> bool:
    """True for an object, and for a list of objects, that is not empty."""
    if isinstance(item, list | tuple):
        return bool(item) and all(isinstance(row, Mapping) for row in item)
    return isinstance(item, Mapping) and bool(item)


def fitting(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], width: int) -> str:
    """A table if a terminal has room for it; otherwise what stands in each row, name by name, since
    a line that the terminal breaks is read wrongly."""
    whole = table(rows, columns)
    if all(_columns(line) <= width for line in whole.splitlines()):
        return whole
    named = [{name.replace("_", " "): row.get(name) for name in columns} for row in rows]
    return "\n\n".join(
        fields({name: item for name, item in row.items() if item is not None}) for row in named
    )


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Columns aligned by spaces: reads well, and `awk` reads it too."""
    lines = [[name.replace("_", " ") for name in columns]]
    lines += [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(_columns(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(
        "  ".join(_filled(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
