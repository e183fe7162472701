"""The systemd units write only where they may, and give no right away."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
SHARED = ("UMask", "LimitCORE", "MemorySwapMax", "StateDirectoryMode")
STAYS = ("KillSignal", "Restart", "RestartSec", "TimeoutStopSec")
HARDENED = re.compile(r"^(No|Protect|ProcSubset|Private|Restrict|Lock|Memory|Remove|Capab|System)")


def service(unit: Path) -> Mapping[str, str]:
    """The section [Service]; what stands twice is joined by a newline."""
    found: dict[str, str] = {}
    for line in unit.read_text().split("[Service]")[1].split("[Install]")[0].splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_unit_works_in_is_the_one_place_that_it_may_write(unit: Path) -> None:
    read = service(unit)
    state = PurePosixPath("/var/lib") / read["StateDirectory"]
    places = [PurePosixPath(word) for word in shlex.split(read["ExecStart"])[1:] if "/" in word]
    assert places
    assert all(place.is_relative_to(state) for place in places)
    assert read["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in read


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_page_about_its_file_is_where_a_unit_says(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(unit)
    page = parser["Unit"]["Documentation"].removeprefix("file:/opt/referral-broker/")
    assert (ROOT / page).is_file()


def test_every_unit_is_as_locked_as_the_others() -> None:
    locked = [
        {
            name: value
            for name, value in service(unit).items()
            if HARDENED.match(name) or name in SHARED
        }
        for unit in UNITS
    ]
    assert len(locked) >= 5
    assert all(one == locked[0] for one in locked[1:])
    assert locked[0]["CapabilityBoundingSet"] == ""
    assert locked[0]["UMask"] == "0077"


def test_what_runs_for_good_comes_back_and_what_runs_at_times_has_a_timer() -> None:
    found = [service(unit) for unit in UNITS]
    lasting = [{name: one.get(name) for name in STAYS} for one in found if "Type" not in one]
    assert len(lasting) == 2
    assert lasting[0] == lasting[1]
    assert lasting[0]["Restart"] == "always"
    timers = {timer.stem for timer in (ROOT / "deploy" / "systemd").glob("*.timer")}
    at_times = {unit.stem for unit in UNITS if service(unit).get("Type") == "oneshot"}
    assert at_times == timers
    for name in timers:
        text = (ROOT / "deploy" / "systemd" / f"{name}.timer").read_text()
        # A machine that was off in that night does it in the morning.
        assert "OnCalendar=" in text
        assert "Persistent=true" in text
