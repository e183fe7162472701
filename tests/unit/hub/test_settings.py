"""A hub's settings: one file, nothing else, and no secret in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.hub.intake.stops import Stop, StopFile
from broker.hub.relay.channels import Names
from broker.hub.settings import HubSettings, SettingsError, load_settings
from schemas.envelope import Lane
from tests.support.hub import SECTION

SHORT = """
hub = "hub.main"
database = "sqlite+aiosqlite:///hub.sqlite3"
custody = "file:keys.json"
passphrase_file = "passphrase"
directory = "repository"
directory_root = "root.json"
state = "state"

[log]
origin = "hub.example/log"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "hub.toml"
    path.write_text(text)
    return path


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, SHORT))

    assert settings.directory == tmp_path / "repository"
    assert settings.custody == f"file:{tmp_path / 'keys.json'}"
    assert settings.database == f"sqlite+aiosqlite:///{tmp_path / 'hub.sqlite3'}"


@pytest.mark.parametrize("line", ["speed = 3", "[limits]\nbatches = 3", "[nonsense]\nx = 1"])
def test_an_unknown_key_stops_the_start(tmp_path: Path, line: str) -> None:
    text = line + "\n" + SHORT if not line.startswith("[") else SHORT + line + "\n"

    with pytest.raises(SettingsError):
        load_settings(written(tmp_path, text))


def test_an_error_names_the_key_and_not_the_value(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(written(tmp_path, SHORT.replace("hub.main", "Secret Value")))

    assert "hub" in str(refused.value)
    assert "Secret" not in str(refused.value)


def test_the_environment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("HOST", "203.0.113.7")

    settings = load_settings(written(tmp_path, SHORT))

    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_settings_do_not_change_while_it_runs(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, SHORT))

    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_a_database_password_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("p@ss/word\n")
    text = SHORT.replace("sqlite+aiosqlite:///hub.sqlite3", "postgresql+asyncpg://hub@db.test/hub")
    settings = load_settings(written(tmp_path, 'database_password_file = "db"\n' + text))

    assert settings.database_url() == "postgresql+asyncpg://hub:p%40ss%2Fword@db.test/hub"
    assert isinstance(settings, HubSettings)


def test_queue_names_are_stable_different_and_say_nothing() -> None:
    names, other = Names(b"s" * 32), Names(b"t" * 32)

    found = {names.queue(who, lane) for who in ("it.nrm", "al.nrm") for lane in Lane}

    assert len(found) == 4
    assert names.queue("it.nrm", Lane.URGENT) == Names(b"s" * 32).queue("it.nrm", Lane.URGENT)
    assert names.queue("it.nrm", Lane.URGENT) != other.queue("it.nrm", Lane.URGENT)
    assert not any("nrm" in name or SECTION in name for name in found)


def test_a_short_secret_is_no_secret() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Names(b"short")


def test_a_stop_line_that_a_crash_cut_off_does_not_hide_the_others(tmp_path: Path) -> None:
    from uuid import uuid4

    stops = StopFile(tmp_path / "stops")
    first, second = uuid4(), uuid4()
    stops.add(b"one", first)
    with stops.path.open("ab") as file:
        file.write(b"b25l!!")
    stops.add(b"two", second)

    assert StopFile(tmp_path / "stops").pending() == [b"one", b"two"]
    assert stops.wholly(first)
    assert stops.wholly(second)


def test_only_the_stops_that_were_settled_are_forgotten(tmp_path: Path) -> None:
    from uuid import uuid4

    stops = StopFile(tmp_path / "stops")
    first, second = uuid4(), uuid4()
    stops.add(b"one", first)
    stops.add(b"two", second, frozenset({"health"}))

    stops.settled([b"one"])

    assert StopFile(tmp_path / "stops").pending() == [b"two"]
    assert not stops.stops(first, frozenset({"health"}))
    assert stops.stops(second, frozenset({"health", "identity"}))
    assert not stops.stops(second, frozenset({"identity"}))


def test_processes_on_one_folder_obey_each_others_stops_and_lose_none(tmp_path: Path) -> None:
    from uuid import uuid4

    grants = {f"stop {number}".encode(): uuid4() for number in range(40)}
    files = [StopFile(tmp_path / "stops") for _ in range(4)]

    def both(place: int) -> None:
        mine = [raw for at, raw in enumerate(grants) if at % 4 == place]
        for raw in mine:
            files[place].add(raw, grants[raw])
        files[place].settled(mine[::2])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(both, range(4)))
    for file in files:
        file.follow(lambda raw: Stop(grants[raw], frozenset()))

    left = set(files[0].pending())
    assert len(left) == 20
    assert all(
        file.wholly(grant) is (raw in left) for file in files for raw, grant in grants.items()
    )
