"""How fast cases go into FHIR and Primero and come back, and whether every field does.

    .venv/bin/python -m bench.adapters [rows [fhir|primero]]        10 000 and both by default

Prints one JSON object.

The cases are drawn with a fixed seed from the variables of the public, anonymised data of the
Counter Trafficking Data Collaborative: gender, age band, citizenship, means of control, kinds of
exploitation and labour, the recruiter's relation, country of exploitation; every person is invented.
Each is filed by the adapter in a stand-in over HTTP, read back and compared, field by field.

The stand-ins run in a process of their own, so that `grown_mib` is what the adapter takes, which
must not depend on the rows but for the digests of who is known in Primero. Rates are for seconds of
the core that the adapter's own process took, HTTP in it, so that another's work beside it does not
count: what a real server and the way to it take comes on top, and will be most of it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from adapters.base import Filed, NationalSystem
from adapters.registry import open_adapter
from tests.support.ctdc import drawn_cases

KINDS = ("fhir", "primero")
SEED = 20211
MOST_GROWTH = 64
"""MiB for any number of rows."""
_IDS = UUID("6f0f3c0e-5a4c-5a11-9d59-0b8f2f3f6c01")


def through(system: NationalSystem, count: int) -> dict[str, Any]:
    """File and read back; counts, fields, rates."""
    fields = wrong = 0
    filed_in = read_in = looked_in = 0.0
    memory = _peak()
    for number, case in enumerate(drawn_cases(SEED, count)):
        business_id = uuid5(_IDS, str(number))
        began = time.process_time()
        answer = system.file(business_id, case)
        filed_in += time.process_time() - began
        assert isinstance(answer, Filed), "a case was not filed"
        began = time.process_time()
        there = system.read(answer.reference)
        read_in += time.process_time() - began
        assert there is not None, "a filed case cannot be read"
        named = {path.partition(":")[0] for path in answer.not_held}
        for section, content in case.sections.items():
            for field, value in content.items():
                fields += 1
                same = there.sections.get(section, {}).get(field) == value
                wrong += not same and f"{section}.{field}" not in named
        if number == 99:
            memory = _peak()  # code lists and connections are there now
        if number % 500 == 499:
            began = time.process_time()
            system.candidates(case)
            looked_in += time.process_time() - began
    return {
        "rows": count,
        "fields_compared": fields,
        "fields_that_differ": wrong,
        "filed_per_second_of_the_core": round(count / filed_in, 1),
        "read_per_second_of_the_core": round(count / read_in, 1),
        "search_seconds_of_the_core": round(looked_in / max(1, count // 500), 3),
        "grown_mib": _peak() - memory,
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def beside(kind: str, use: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What comes of using a stand-in in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.adapters", "--serve", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            result = use(process.stdout.readline().strip())
            process.stdin.write("\n")
            process.stdin.flush()
            return {**result, "records_there": int(process.stdout.readline())}
        finally:
            process.terminate()


def serve(kind: str) -> None:
    """Be a stand-in until a line comes; then say how many cases there are."""
    if kind == "fhir":
        from tests.support.fhir import Store, fhir_server

        with fhir_server(Store(checks=False)) as server:
            print(server.base, flush=True)
            sys.stdin.readline()
            print(len(server.store.of("ServiceRequest")), flush=True)
    else:
        from tests.support.primero import Installation, primero_server

        with primero_server(Installation(page=1000)) as server:
            print(server.base, flush=True)
            sys.stdin.readline()
            print(len(server.held.records), flush=True)


def _opened(kind: str, login: Mapping[str, str], count: int, url: str) -> dict[str, Any]:
    return through(open_adapter(kind, {"url": url, **login}), count)


def main(count: int, kinds: Sequence[str]) -> int:
    """Measure, print, and fail if anything is lost or memory grows with the rows."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "password"
        secret.touch(mode=0o600)
        secret.write_text("invented\n")
        login = {"user": "gateway", "password_file": str(secret)}
        result = {
            kind: beside(
                kind,
                partial(_opened, kind, login if kind == "primero" else {}, count),
            )
            for kind in kinds
        }
    print(json.dumps(result, indent=2))
    whole = all(
        each["fields_that_differ"] == 0 and each["records_there"] == count
        for each in result.values()
    )
    return 0 if whole and max(each["grown_mib"] for each in result.values()) <= MOST_GROWTH else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
        sys.exit(main(rows, sys.argv[2:] or KINDS))
