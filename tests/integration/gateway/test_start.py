"""Starting a gateway: what it refuses, and that two on one identity never both speak."""

from __future__ import annotations

import asyncio
import shutil
import tomllib
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from broker.cli.homes.network import QUICK
from broker.clock import TurnedClock
from broker.database import Database
from broker.gateway.app import Gateway, build
from broker.gateway.home import MIGRATIONS, init_home, rename_database
from broker.gateway.settings import Settings, load_settings
from broker.gateway.store.tables import metadata
from broker.migrating import upgrade
from keys.http_signing import verify_request
from schemas.errors import (
    Conflict,
    CustodyLocked,
    NotPermitted,
    Refused,
    SecondIncarnation,
    StorageUnavailable,
    Unavailable,
)
from tests.support.endpoint import Casebook, serving, status
from tests.support.gateways import World, close, world


async def test_of_two_gateways_on_one_identity_the_second_stops(tmp_path: Path) -> None:
    async with world(tmp_path / "network") as two:
        first = two["it.nrm"]
        await first.gateway.core.hub.claim_incarnation(first.gateway.core.incarnation)
        clone = await _clone(two, tmp_path / "clone")

        with pytest.raises(SecondIncarnation):
            await clone._lease()

        assert not clone._leased.is_set()
        await clone.core.hub.close()
        await clone.core.database.close()


def _copied(home: Path, clone: Path) -> Settings:
    """The same keys on another disk, without the database."""
    shutil.copytree(home, clone, ignore=shutil.ignore_patterns("gateway.sqlite3*"))
    return load_settings(clone)


async def _clone(two: World, home: Path) -> Gateway:
    settings = _copied(two.network.participants["it.nrm"].home, home)
    folder = settings.directory.model_copy(update={"url": str(two.path / "directory")})
    made = await build(settings.model_copy(update={"directory": folder}))
    await made.core.hub.close()
    made.core.hub._transport = two["it.nrm"].gateway.core.hub._transport
    made.core.hub._http = two["it.nrm"].gateway.core.hub._http
    return made


async def test_a_gateway_that_could_not_destroy_its_keys_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file from systemd is read only: its first new epoch would fail a month later."""
    home = tmp_path / "home"
    url = "http://127.0.0.1:1"
    await asyncio.to_thread(
        partial(init_home, home, participant="it.nrm", hub_url=url, cost=QUICK),
        directory_url=f"{url}/directory",
        trusted_root=b"{}",
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home))
    with (home / "gateway.toml").open("a") as file:
        file.write('\n[keys]\ncustody = "systemd-credential:keys.json"\n')
        file.write('passphrase_file = "systemd-credential:passphrase"\n')
    with pytest.raises(NotPermitted, match="passphrase may be a systemd-credential"):
        await build(load_settings(home))
    # The passphrase alone may come from there; now it is the hub that is missing.
    text = (home / "gateway.toml").read_text()
    (home / "gateway.toml").write_text(
        text.replace("systemd-credential:keys.json", "file:keys.json")
    )
    with pytest.raises((Unavailable, Refused)) as missing:
        await build(load_settings(home))
    assert not isinstance(missing.value, NotPermitted | CustodyLocked)


async def test_a_restored_database_goes_on_under_another_name(tmp_path: Path) -> None:
    async with world(tmp_path / "network") as two:
        home = two.network.participants["it.nrm"].home
        before = two["it.nrm"].gateway.core.incarnation
        await close(two["it.nrm"])

        fresh = await asyncio.to_thread(rename_database, home)

        restarted = await build(two["it.nrm"].gateway.core.settings)
        assert restarted.core.incarnation == fresh != before
        await restarted.core.hub.close()
        await restarted.core.database.close()


async def test_one_database_file_serves_one_process(tmp_path: Path) -> None:
    async with world(tmp_path / "network") as two:
        settings = two["it.nrm"].gateway.core.settings

        with pytest.raises(StorageUnavailable):
            await build(settings)


@pytest.mark.parametrize("minutes", [-9, 9])
async def test_a_clock_that_is_minutes_off_still_delivers(tmp_path: Path, minutes: int) -> None:
    async with world(tmp_path / "network") as two:
        await two.open("al.nrm", TurnedClock(offset=timedelta(minutes=minutes)))
        italy = two["it.nrm"]
        grant = await italy.consent("al.nrm")
        await italy.refer("al.nrm", grant)
        await two.settle()

        folder = two.network.participants["al.nrm"].home / "htcds" / "in"
        assert len(list(folder.glob("*.csv"))) == 1


def test_a_home_is_made_once(tmp_path: Path) -> None:
    made = {
        "participant": "it.nrm",
        "hub_url": "http://127.0.0.1:1",
        "directory_url": "http://127.0.0.1:1/directory",
        "trusted_root": b"{}",
        "cost": QUICK,
    }
    init_home(tmp_path / "home", **made)  # type: ignore[arg-type]

    with pytest.raises(Conflict):
        init_home(tmp_path / "home", **made)  # type: ignore[arg-type]
    for secret in ("gateway.toml", "keys.json", "passphrase"):
        assert (tmp_path / "home" / secret).stat().st_mode & 0o777 == 0o600


def test_the_api_is_not_offered_to_the_network_without_tls(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        'participant = "it.nrm"\n[hub]\nurl = "http://h"\n[directory]\nurl = "http://d"\n'
        '[api]\nhost = "0.0.0.0"\n'
    )

    with pytest.raises(Refused):
        load_settings(file)


def test_an_unknown_setting_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        'participant = "it.nrm"\nnonsense = 1\n[hub]\nurl = "h"\n[directory]\nurl = "d"\n'
    )

    with pytest.raises(Refused) as refused:
        load_settings(file)

    assert any("extra_forbidden" in where for where in refused.value.where)


async def test_the_migrations_make_what_the_tables_say(database_url: str) -> None:
    await asyncio.to_thread(upgrade, database_url, MIGRATIONS)
    database = Database(database_url)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return list(compare_metadata(context, metadata))

    async with database.engine.connect() as connection:
        found = await connection.run_sync(differences)
        assert await connection.scalar(text("SELECT count(*) FROM outbox")) == 0
    await database.close()
    assert found == []


async def test_the_whole_way_works_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    async with world(tmp_path / "network") as two:
        place = two.network.participants["al.nrm"].home
        await close(two.sides.pop("al.nrm"))
        file = place / "gateway.toml"
        file.write_text(f'database = "{postgres_url}"\n' + file.read_text())
        await asyncio.to_thread(upgrade, postgres_url, MIGRATIONS)
        await two.open("al.nrm")
        italy = two["it.nrm"]
        grant = await italy.consent("al.nrm")
        await asyncio.gather(*(italy.refer("al.nrm", grant) for _ in range(10)))
        await two.settle()
        filed = len(list((place / "htcds" / "in").glob("*.csv")))
        await italy.parts.withdrawals.order(grant)
        await two.settle()

        assert filed == 10
        assert list((place / "htcds" / "in").glob("*.csv")) == []


async def test_a_case_system_that_is_away_keeps_no_gateway_from_starting_and_is_filed_in_later(
    tmp_path: Path,
) -> None:
    """A withdrawal must be heard also while the case system is down."""
    book = Casebook()
    with serving(book) as url:
        async with world(tmp_path / "network", "it.nrm") as made:
            file = made.network.participants["al.nrm"].home / "gateway.toml"
            values = {**tomllib.loads(file.read_text())["adapter"], "name": "webhook"}
            values.pop("settings", None)
            book.before += [status(503)] * 2
            before, rest = file.read_text().split("[adapter]", 1)
            _, _, after = rest.partition("\n[")
            table = "".join(f'{name} = "{value}"\n' for name, value in values.items())
            table += f'[adapter.settings]\nurl = "{url}"\nmemory = "lookup"\n'
            file.write_text(f"{before}[adapter]\n{table}" + (f"\n[{after}" if after else ""))

            albania = await made.open("al.nrm")
            assert [got.act for got in book.got] == ["check"]
            italy = made["it.nrm"]
            await italy.refer("al.nrm", await italy.consent("al.nrm"))
            await italy.push()
            await albania.pull()
            book.before.clear()
            async with asyncio.timeout(30):
                while not book.cases:
                    await albania.pull()
            (got,) = [each for each in book.got if each.act == "file"]
            by = verify_request(
                method="POST",
                url=f"{url}/file",
                headers=got.headers,
                body=got.body,
                directory=albania.gateway.core.trusted(),
                now=albania.gateway.core.now(),
            )
            assert by.id == "al.nrm"
