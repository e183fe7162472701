"""Tens of thousands of cases from one file, through `referral send`, to another country's files.

    .venv/bin/python -m bench.bulk [--count 20000] [--sqlite] [--folder PATH]

A hub and two gateways as processes of their own, over PostgreSQL and RabbitMQ, or on SQLite by the
mailbox. The command is killed (SIGKILL) in the middle and run again, as an operator would. Then
every case that lies on the other side is compared with its row, field by field. Prints one JSON
object, and fails if a case is missing, double or different.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from adapters.base import CaseRecord
from adapters.systems.files import FilesSystem
from bench.people import COLUMNS, records, row
from broker.cli.demo.processes import Child
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.network import Network, create_network
from tests.support.services import PostgreSQL, RabbitMQ

MOST_RUNS = 30
PATIENCE = 900.0
"""Seconds without one more case on the other side after which it is given up."""


def write(path: Path, count: int) -> None:
    """The file that is sent."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(COLUMNS)
        out.writerows(row(record) for record in records(count))


def command(network: Network, file: Path) -> list[str]:
    """What an operator types."""
    home = network.participants["it.nrm"].home
    return [
        *(sys.executable, "-m", "broker.cli", "send", "--json", "--all"),
        *("--home", str(home), "--worker", "first"),
        *("--from-file", str(file), "--to", "al.nrm", "--type", "referral.request"),
        *("--purpose", "protection", "--set", 'services=["safe_house"]'),
        *("--record-consent", "--until", "2030-01-01", "--language", "sqi", "--notice", "n-1"),
    ]


def laid_out(folder: Path, stack: ExitStack, *, sqlite: bool) -> Network:
    """The network and the servers that it needs, ended with the stack."""
    if sqlite:
        return create_network(folder)
    database = stack.enter_context(PostgreSQL.temporary())
    queues = stack.enter_context(RabbitMQ.temporary(management=True))
    return create_network(
        folder,
        hub_database=database.create_database("hub"),
        gateway_databases={
            "it.nrm": database.create_database("it"),
            "al.nrm": database.create_database("al"),
        },
        amqp=AmqpPlace(
            host=queues.host,
            port=queues.port,
            user=queues.user,
            password=queues.password,
            management_url=queues.management_url,
        ),
    )


def started(network: Network, stack: ExitStack) -> dict[str, Child]:
    """Hub and gateways, ended with the stack."""
    places = network.participants
    children = [
        Child(
            "hub",
            ["hub", "run", "--settings", str(network.hub.settings_file)],
            ready_url=f"{network.url}/readyz",
            log=network.path / "hub.log",
        )
    ]
    children += [
        Child(
            name,
            ["gateway", "run", "--home", str(places[name].home)],
            ready_url=f"http://127.0.0.1:{places[name].port}/readyz",
            log=network.path / f"{name}.log",
        )
        for name in ("it.nrm", "al.nrm")
    ]
    for child in children:
        stack.callback(child.end)
        child.start()
        child.wait_ready()
    return {child.name: child for child in children}


def processor_seconds(child: Child) -> float:
    """What a process has used of a core so far."""
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compared(sent: FilesSystem, file: Path, folder: Path) -> dict[str, int]:
    """Every filed case against its row."""
    filed: dict[str, CaseRecord] = {}
    found = Counter[str]()
    other = FilesSystem(folder)
    for path in (folder / "in").glob("*.csv"):
        there = other.read(path.name)
        assert there is not None
        found["double"] += there.case_ref in filed
        filed[there.case_ref] = there
    for case in sent.read_cases(file):
        if isinstance(case, CaseRecord) and case.case_ref in filed:
            same = filed.pop(case.case_ref).sections == case.sections
            found["the same in every field" if same else "different"] += 1
    found["of no row"] += len(filed)
    return dict(found)


def bench(folder: Path, count: int, *, sqlite: bool) -> dict[str, object]:
    """Send, kill, send again, wait, compare."""
    file = folder / "people.csv"
    write(file, count)
    result: dict[str, object] = {"rows": count, "store": "SQLite" if sqlite else "PostgreSQL"}
    with ExitStack() as stack:
        network = laid_out(folder / "network", stack, sqlite=sqlite)
        there = network.participants["al.nrm"].home / "htcds"
        children = started(network, stack)
        network.register_agreement("it.nrm", "al.nrm")
        known(network)
        began = time.monotonic()
        first = subprocess.Popen(command(network, file), stdout=subprocess.DEVNULL)
        while filed(there) < count // 10 and first.poll() is None:
            time.sleep(0.2)
        first.send_signal(signal.SIGKILL)
        first.wait()
        result["filed_when_killed"] = filed(there)
        result["runs"], tally = again(command(network, file))
        result["seconds_to_send"] = round(time.monotonic() - began, 1)
        result |= {name: tally[name] for name in ("sent", "refused", "rows_rejected", "by_code")}
        wait(there, tally["sent"])
        seconds = time.monotonic() - began
        result["seconds_until_all_are_filed"] = round(seconds, 1)
        result["rows_per_second"] = round(count / seconds, 1)
        result["processor_ms_per_row"] = {
            name: round(processor_seconds(child) * 1000 / count, 1)
            for name, child in children.items()
        }
        time.sleep(2)  # a double would come now
    result["on_the_other_side"] = compared(FilesSystem(folder), file, there)
    return result


def again(command: list[str]) -> tuple[int, dict[str, Any]]:
    """As an operator: run again until the whole file was tried; how often, and what it said last."""
    for run in range(2, MOST_RUNS):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        tally: dict[str, Any] = json.loads(done.stdout)
        if tally["complete"]:
            return run, tally
    raise SystemExit("the gateway never came to the end of the file")


def known(network: Network) -> None:
    """Until the sending gateway has heard of the agreement."""
    partners = network.worker("it.nrm")
    while not any(
        each["agreement"]
        for each in partners.items("/v1/participants", "participants")
        if each["id"] == "al.nrm"
    ):
        time.sleep(0.5)


def filed(there: Path) -> int:
    """Cases that the other side has."""
    return sum(1 for _ in (there / "in").glob("*.csv"))


def wait(there: Path, wanted: int) -> None:
    """Until as many are there, or nothing has come for long."""
    last, since = -1, time.monotonic()
    while (now := filed(there)) < wanted:
        if now != last:
            last, since = now, time.monotonic()
            sys.stderr.write(f"bench: {now} of {wanted} filed\n")
        if time.monotonic() - since > PATIENCE:
            return
        time.sleep(1)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--sqlite", action="store_true", help="and the mailbox")
    parser.add_argument("--folder", type=Path, help="kept; a temporary one by default")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        result = bench(folder, given.count, sqlite=given.sqlite)
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return (
        0
        if result["on_the_other_side"]
        == {
            "the same in every field": result["sent"],
            "double": 0,
            "of no row": 0,
        }
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
