"""Decisions as CSV files: what workers decided here, and what partners decided about our cases.

    x_business_id,x_step,x_at,x_reason,x_services
    0198…,accepted,2026-11-22T10:00:00Z,,legal;housing

A file of `decided/` is read whole, then put aside under `decided/done/`, but only after the
gateway has stored its rows: until then the same page is given again. A row that cannot be
understood is reported beside the others, and a worker looks at it; it holds none of them up.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from adapters.base import Ambiguous, Filed, News, Polled, Step
from adapters.systems.files.records import BadRecord, read_records
from schemas.errors import CaseSystemUnavailable, SchemaRefused

COLUMNS = ("x_business_id", "x_step", "x_at", "x_reason", "x_services")
_TOLD = ("x_case_ref", *COLUMNS)
MAX_FILE = 4 << 20
"""Bytes of one file of decisions: some twenty thousand of them."""
STILL_WRITTEN = 60.0
"""Seconds for which a file without a line end at its end counts as one that still grows."""


class DecidedFolder:
    """The folder in which a country's own people, or their system, leave decisions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def page(self, cursor: str | None, *, filed: Callable[[UUID], Filed | None]) -> Polled:
        """The oldest file by name that is not the one of the cursor; that one is put aside.

        Args:
            cursor: As the last page gave it: that page is stored.
            filed: Where the case of a business id is; a decision about no filed case is reported.
        """
        try:
            if cursor is not None:
                self._put_aside(cursor)
            names = sorted(path.name for path in self._path.glob("*.csv") if path.is_file())
            if not names:
                return Polled((), None)
            content = self._read(names[0])
            if not content.endswith(b"\n") and self._age(names[0]) < STILL_WRITTEN:
                return Polled((), None)
        except OSError as error:
            raise CaseSystemUnavailable(f"cannot read decisions: errno {error.errno}") from None
        items = tuple(decisions(content, filed))
        return Polled(items, f"{_digest(content)} {names[0]}", more=len(names) > 1)

    def _read(self, name: str) -> bytes:
        with (self._path / name).open("rb") as file:
            return file.read(MAX_FILE + 1)

    def _age(self, name: str) -> float:
        return time.time() - (self._path / name).stat().st_mtime

    def _put_aside(self, cursor: str) -> None:
        digest, _, name = cursor.partition(" ")
        source = self._path / name
        if "/" in name or not source.is_file() or _digest(self._read(name)) != digest:
            return  # put aside before, or another file has taken its name: it is read anew
        done = self._path / "done"
        done.mkdir(mode=0o700, exist_ok=True)
        os.replace(source, done / f"{digest[:16]}-{name}")


def told_file(case_ref: str, news: News) -> tuple[str, bytes]:
    """Name and content of the file that tells of one decision by a partner.

    The name is made of ids alone: `<business id>.<digest of the news' id>.csv`.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(_TOLD)
    rows.writerow(
        (
            case_ref,
            str(news.business_id),
            news.step.value,
            news.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            news.reason or "",
            ";".join(news.services),
        )
    )
    mark = hashlib.sha256(news.id.encode()).hexdigest()[:16]
    return f"{news.business_id}.{mark}.csv", text.getvalue().encode()


def decisions(content: bytes, filed: Callable[[UUID], Filed | None]) -> Iterator[News | Ambiguous]:
    """Every row of a file of decisions; what cannot be understood is reported beside the others."""
    digest = _digest(content)
    if len(content) > MAX_FILE:
        yield Ambiguous(digest, "file", "too-large")
        return
    records = read_records(io.BytesIO(content))
    header = next(records, None)
    if header is None or isinstance(header, BadRecord) or not _is_header(header.cells):
        yield Ambiguous(digest, "file", "wrong-columns", where=COLUMNS)
        return
    for record in records:
        reference = f"line {record.line}"
        item_id = f"{digest}:{record.line}"
        if isinstance(record, BadRecord):
            yield Ambiguous(item_id, reference, record.code)
        elif len(record.cells) != len(header.cells):
            yield Ambiguous(item_id, reference, "wrong-number-of-cells")
        else:
            yield _item(dict(zip(header.cells, record.cells, strict=True)), reference, filed)


def _is_header(cells: Sequence[str]) -> bool:
    return set(cells) <= set(COLUMNS) and {"x_business_id", "x_step"} <= set(cells)


def _item(
    row: Mapping[str, str], reference: str, filed: Callable[[UUID], Filed | None]
) -> News | Ambiguous:
    # The same decision in two files is the same news.
    item_id = _digest("\x1f".join(row.get(name, "") for name in COLUMNS).encode())
    try:
        business_id = UUID(row["x_business_id"].strip())
    except ValueError:
        return Ambiguous(item_id, reference, "no-referral", where=("x_business_id",))
    if filed(business_id) is None:
        return Ambiguous(item_id, reference, "no-referral", where=("x_business_id",))
    try:
        step = Step(row["x_step"].strip())
    except ValueError:
        return Ambiguous(item_id, reference, "unknown-code", where=("x_step",))
    try:
        at = _moment(row.get("x_at", "").strip())
    except SchemaRefused as refused:
        return Ambiguous(item_id, reference, "bad-date", where=refused.where)
    reason = row.get("x_reason", "").strip() or None
    if step is Step.DECLINED and reason is None:
        return Ambiguous(item_id, reference, "reason-missing", where=("x_reason",))
    services = tuple(filter(None, row.get("x_services", "").replace(",", ";").split(";")))
    return News(item_id, business_id, step, at, reason, tuple(map(str.strip, services)))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SchemaRefused(where=("x_at",)) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
