"""How fast one core turns rows of a case file into sections, and sections into rows.

    python bench/mapping.py [rows]        default 20 000; prints one JSON object

The rows are those of the invented sample, repeated under numbers of their own: about twenty-five
filled cells each, Albanian, Arabic and Macedonian names among them. Reading is everything from
bytes to validated sections; writing, from sections (validated again) to bytes; filing is writing
to a folder with every sync that durability takes, one by one and in batches of 64. Reading and
writing are counted in seconds of the core, so that another's work beside it does not count; filing
in seconds of the clock, since it waits for the disk.

    python bench/mapping.py --flat [rows]        default 100 000

The same rows as one CSV file and as one workbook, written and read as a stream; `grown_mib` is by
how much the process grew, which must not depend on the rows.
"""

from __future__ import annotations

import csv
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[1]))

from adapters.base import CaseRecord, Filed, Tools
from adapters.systems.files import make
from adapters.systems.files.mapping import write_row
from adapters.systems.files.workbook import write_workbook

SAMPLE = Path(__file__).parents[1] / "adapters/systems/files/samples/italy-invented.csv"
FLOOR = 2000
"""Records per second and core that reading must reach."""
MOST_GROWTH = 64
"""MiB that reading and writing a file may take, however long it is: the marks of 100 000 case
numbers are nine of them."""


def rows(count: int) -> bytes:
    """The sample's rows, over and over, each with a case number of its own."""
    header, *found = csv.reader(io.StringIO(SAMPLE.read_text(encoding="utf-8"), newline=""))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    for number in range(count):
        writer.writerow([f"IT-BENCH-{number:07d}", *found[number % len(found)][1:]])
    return text.getvalue().encode()


def rate(count: int, seconds: float) -> int:
    """Per second, rounded to three figures."""
    return int(float(f"{count / seconds:.3g}"))


def batches(cases: list[CaseRecord], size: int) -> Iterator[list[tuple[UUID, CaseRecord]]]:
    """The cases under business ids of their own, some at a time."""
    named = [(UUID(int=number), case) for number, case in enumerate(cases)]
    for start in range(0, len(named), size):
        yield named[start : start + size]


def many(count: int) -> Iterator[list[str]]:
    """The sample's header, then its rows over and over, one at a time."""
    header, *found = csv.reader(io.StringIO(SAMPLE.read_text(encoding="utf-8"), newline=""))
    yield header
    for number in range(count):
        yield [f"IT-BENCH-{number:07d}", *found[number % len(found)][1:]]


def flat(count: int) -> int:
    """Write and read one file of each kind, print, and fail if memory grew with its rows."""
    results = {"rows": count, "ceiling_grown_mib": MOST_GROWTH}
    with tempfile.TemporaryDirectory() as root:
        system = make({"root": root}, Tools())
        for name, write in (("csv", write_csv), ("xlsx", write_workbook)):
            path = Path(root) / f"cases.{name}"
            for few in (14, count):  # libraries and code lists are loaded once, before
                before = grown()
                began = time.process_time()
                with path.open("wb") as stream:
                    write(many(few), stream)
                written = time.process_time() - began
                began = time.process_time()
                good = sum(isinstance(case, CaseRecord) for case in system.read_cases(path))
                read = time.process_time() - began
                assert good == few, "the sample has rows that are rejected"
            results |= {
                f"{name}_bytes_per_row": path.stat().st_size // count,
                f"{name}_read_per_second": rate(count, read),
                f"{name}_written_per_second": rate(count, written),
                f"{name}_grown_mib": grown() - before,
            }
    print(json.dumps(results, indent=2))
    flat_enough = max(results["csv_grown_mib"], results["xlsx_grown_mib"]) <= MOST_GROWTH
    return 0 if flat_enough and results["csv_read_per_second"] >= FLOOR else 1


def write_csv(lines: Iterable[Sequence[str]], to: BinaryIO) -> None:
    """Rows as a CSV file."""
    text = io.TextIOWrapper(to, encoding="utf-8", newline="", write_through=True)
    csv.writer(text).writerows(lines)
    text.detach()


def grown() -> int:
    """The most memory that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(count: int) -> int:
    """Measure, print, and fail if reading is slower than the floor."""
    source = rows(count)
    with tempfile.TemporaryDirectory() as root:
        system = make({"root": root}, Tools())
        list(system.read_cases(io.BytesIO(rows(14))))  # code lists are loaded once

        began = time.process_time()
        cases = list(system.read_cases(io.BytesIO(source)))
        read = time.process_time() - began
        good = [case for case in cases if isinstance(case, CaseRecord)]
        assert len(good) == count, "the sample has rows that are rejected"

        began = time.process_time()
        for case in good:
            write_row(case, business_id=None, sender=None)
        written = time.process_time() - began

        few = good[: min(count, 640)]
        began = time.perf_counter()
        singly = [system.file(*item) for batch in batches(few, 1) for item in batch]
        filed_singly = time.perf_counter() - began
        for answer in singly:
            assert isinstance(answer, Filed)
            system.erase(answer.reference)
        began = time.perf_counter()
        for batch in batches(few, 64):
            system.file_many(batch)
        filed_in_batches = time.perf_counter() - began

    result = {
        "rows": count,
        "bytes_per_row": len(source) // count,
        "read_per_second": rate(count, read),
        "written_per_second": rate(count, written),
        "filed_per_second_one_by_one": rate(len(few), filed_singly),
        "filed_per_second_in_batches_of_64": rate(len(few), filed_in_batches),
        "floor_read_per_second": FLOOR,
    }
    print(json.dumps(result, indent=2))
    return 0 if result["read_per_second"] >= FLOOR else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--flat"]:
        sys.exit(flat(int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
