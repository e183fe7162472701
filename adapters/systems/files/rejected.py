"""The file of rejected rows: for the worker who must correct them, on the country's own machine.

It holds the rows themselves, so it is for the owner alone and is never logged or sent.
"""

from __future__ import annotations

import csv
import os
from io import StringIO, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from adapters.base import RejectedRow
from adapters.systems.files.cells import shield
from schemas.errors import CaseSystemUnavailable

HEADER = ("line", "reasons", "row")


class Keeps(Protocol):
    """Takes the rows that a file's reader rejects."""

    def add(self, row: RejectedRow, raw: bytes) -> None: ...


def _cells(row: RejectedRow, raw: bytes) -> tuple[int, str, str]:
    text = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
    # What stands in a foreign file may be meant for the spreadsheet that opens this one.
    return row.line, "; ".join(row.reasons), shield(text)


class RejectedRows:
    """The same file in memory, for one that goes elsewhere."""

    def __init__(self) -> None:
        self._text = StringIO()
        self._rows = csv.writer(self._text)
        self._rows.writerow(HEADER)
        self.count = 0

    def add(self, row: RejectedRow, raw: bytes) -> None:
        """See `Keeps`."""
        self._rows.writerow(_cells(row, raw))
        self.count += 1

    def content(self) -> bytes:
        """The whole file."""
        return self._text.getvalue().encode("utf-8")


class RejectedFile:
    """Columns: line of the source, reasons, the row as it stood there.

    Made when the first row is rejected, over what an earlier reading of the same source left. A
    source without rejected rows leaves no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise CaseSystemUnavailable(
                f"cannot write rejected rows: errno {error.errno}"
            ) from None
        return self

    def add(self, row: RejectedRow, raw: bytes) -> None:
        """Keep one row with its reasons; an overlong one is kept by its number alone."""
        try:
            if self._file is None:
                self.path.parent.mkdir(mode=0o700, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                self._file = os.fdopen(
                    os.open(self.path, flags, 0o600), "w", encoding="utf-8", newline=""
                )
                self._writer = csv.writer(self._file)
                self._writer.writerow(HEADER)
            self._writer.writerow(_cells(row, raw))
        except OSError as error:
            raise CaseSystemUnavailable(
                f"cannot write rejected rows: errno {error.errno}"
            ) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
