"""Referral by chance: anybody finds whom to call, at the hub and offline, and leaves no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from broker.cli.homes.network import MEMBERS
from broker.cli.root import referral
from broker.hub.state import Hub
from broker.hub.store.tables import METADATA
from schemas.directory import EntryPoint
from tests.support.gateways import World, world

TELEPHONE = "+355400000000"
POINT = EntryPoint(telephone=TELEPHONE, hours="08:00-20:00", languages=("sqi", "ara"))
ALBANIA = replace(MEMBERS[1], entry_point=POINT)


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "n", "it.nrm", enrolled=(MEMBERS[0], ALBANIA), paired=()) as made:
        yield made


def anybody(made: World) -> httpx2.AsyncClient:
    """Without a key, an account or a header."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(made.hub), base_url="http://hub.invalid"
    )


async def rows(made: World) -> dict[str, int]:
    hub: Hub = made.hub.state.hub
    async with hub.database.read() as connection:
        return {
            table.name: await connection.scalar(select(func.count()).select_from(table)) or 0
            for table in METADATA.sorted_tables
        }


async def test_anybody_reads_whom_to_call_in_three_languages(network: World) -> None:
    async with anybody(network) as http:
        for language, direction in (("en", "ltr"), ("fr", "ltr"), ("ar", "rtl")):
            page = await http.get("/find", params={"lang": language})
            assert page.status_code == 200
            assert f'lang="{language}" dir="{direction}"' in page.text
            assert TELEPHONE in page.text
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert "set-cookie" not in page.headers
        one = await http.get("/find", params={"country": "AL"})
        none = await http.get("/find", params={"country": "LY"})
        assert (TELEPHONE in one.text, TELEPHONE in none.text) == (True, False)
        assert 'href="?lang=ar&amp;country=AL"' in one.text, "another language, the same country"
        other = await http.get("/find", params={"lang": "xx"})
        assert other.json()["code"] == "not-found"


async def test_who_asks_is_noted_nowhere(network: World, capfd: pytest.CaptureFixture[str]) -> None:
    before = await rows(network)
    hub: Hub = network.hub.state.hub
    counted = [sample for family in hub.metrics.registry.collect() for sample in family.samples]
    capfd.readouterr()

    async with anybody(network) as http:
        for place in ("?country=AL", "?country=LY", "?lang=xx", "?country=a-name", ""):
            await http.get(f"/find{place}", headers={"user-agent": "marked-browser"})

    said = capfd.readouterr()
    assert "find" not in said.out + said.err
    assert "marked-browser" not in said.out + said.err
    assert await rows(network) == before
    after = [sample for family in hub.metrics.registry.collect() for sample in family.samples]
    assert [(s.name, s.labels) for s in after] == [(s.name, s.labels) for s in counted]


async def test_what_is_asked_for_beyond_a_country_is_refused_and_not_repeated(
    network: World,
) -> None:
    async with anybody(network) as http:
        answer = await http.get("/find", params={"country": "<b>Invented Name</b>"})
    assert answer.status_code == 400
    assert "Invented" not in answer.text


def offline(home: Path, directory: Path) -> Path:
    """A folder with settings and the trusted root, and without any key."""
    for place in home.iterdir():
        if place.name not in ("gateway.toml", "root.json"):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    settings = home / "gateway.toml"
    lines = [
        f'url = "{directory}"' if line.startswith("url = ") and "/directory" in line else line
        for line in settings.read_text().splitlines()
    ]
    settings.write_text("\n".join(lines))
    return home


async def test_the_command_finds_the_same_without_a_key(network: World, tmp_path: Path) -> None:
    home = tmp_path / "anybody"
    shutil.copytree(network.network.participants["it.nrm"].home, home)
    offline(home, network.path / "directory")
    run = CliRunner()

    found = run.invoke(referral, ["find", "al", "--home", str(home), "--json"])
    assert found.exit_code == 0, found.output
    [office] = [json.loads(line) for line in found.stdout.splitlines()]
    assert (office["country"], office["telephone"]) == ("AL", TELEPHONE)
    assert run.invoke(referral, ["find", "LY", "--home", str(home)]).exit_code == 4

    page = tmp_path / "page.html"
    printed = ["find", "--home", str(home), "--language", "ar", "--html", str(page)]
    assert run.invoke(referral, printed).exit_code == 0
    assert TELEPHONE in page.read_text(encoding="utf-8")


async def test_without_a_network_the_command_finds_what_was_verified_last_and_says_so(
    network: World, tmp_path: Path
) -> None:
    home, mirror = tmp_path / "anybody", tmp_path / "mirror"
    shutil.copytree(network.network.participants["it.nrm"].home, home)
    shutil.copytree(network.network.path / "directory", mirror)
    offline(home, mirror)
    run = CliRunner()
    asked = ["find", "AL", "--home", str(home), "--json"]
    assert run.invoke(referral, asked).exit_code == 0

    shutil.rmtree(mirror)
    settings = home / "gateway.toml"
    text = settings.read_text().replace(f'url = "{mirror}"', 'url = "http://127.0.0.1:9/directory"')
    settings.write_text(text)
    found = run.invoke(referral, asked)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["telephone"] == TELEPHONE
    assert "verified last" in found.stderr

    shutil.rmtree(home / "directory")
    assert run.invoke(referral, asked).exit_code == 6
