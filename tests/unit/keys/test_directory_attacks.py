"""What somebody who holds the network, the hub, or one country's keys can do to the directory: each
attack has a code of its own, and none of them an effect."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from keys.ceremony.roles import ONLINE_LIFE, TARGETS_LIFE, RoleSigner
from keys.trust import MAX_VERSION
from schemas.errors import (
    DirectoryExpired,
    DirectoryFrozen,
    DirectoryMismatch,
    DirectoryRefused,
    DirectoryRolledBack,
    DirectoryUnsigned,
)
from tests.support.ceremony import World, make_role, make_world
from tests.support.parties import NOW, Party, make_party


@pytest.fixture
def world(tmp_path: Path, italy: Party, albania: Party) -> World:
    return make_world(tmp_path, italy, albania)


def copy_of(world: World, name: str) -> Path:
    kept = world.folder / name
    shutil.copytree(world.repository.path, kept)
    return kept


def serve(world: World, kept: Path) -> None:
    """What the hub serves from now on."""
    shutil.rmtree(world.repository.path)
    shutil.copytree(kept, world.repository.path)


def forward(world: World, online: RoleSigner, version: int) -> None:
    """With the hub's online key: snapshot and timestamp of a version far ahead."""
    newest = world.repository.load("snapshot")
    newest.signed.version = version - 1
    world.repository.write("snapshot", version - 1, newest.to_bytes())
    world.repository.refresh_timestamp(online, NOW)


def test_a_role_that_has_run_out_is_refused_as_expired(world: World) -> None:
    later = NOW + TARGETS_LIFE
    world.repository.refresh_timestamp(world.online, later)
    with pytest.raises(DirectoryExpired):
        world.reader().refresh(later)


def test_a_directory_that_stands_still_is_refused_as_frozen(world: World) -> None:
    world.reader().refresh(NOW)
    with pytest.raises(DirectoryFrozen):
        world.reader().refresh(NOW + ONLINE_LIFE)


def test_an_older_directory_is_refused_as_a_rollback(world: World) -> None:
    old = copy_of(world, "old")
    world.repository.refresh_timestamp(world.online, NOW)
    world.reader().refresh(NOW)
    serve(world, old)
    with pytest.raises(DirectoryRolledBack):
        world.reader().refresh(NOW)


def test_an_older_role_under_a_newer_snapshot_is_refused_as_a_rollback(
    world: World, italy: Party
) -> None:
    """By a thief of the online key, who can sign snapshots and nothing else."""
    world.repository.publish_participant(
        italy.entry, country_signers=world.countries["it"], online=world.online, now=NOW
    )
    world.reader().refresh(NOW)
    newest = max((world.repository.path / "metadata").glob("*.it.json"), key=_number)
    newest.unlink()
    older: Metadata[Targets] = world.repository.load("it")
    world.repository._publish_online({"it": older}, world.online, NOW)
    with pytest.raises(DirectoryRolledBack):
        world.reader().refresh(NOW)


def _number(file: Path) -> int:
    return int(file.name.partition(".")[0])


def test_parts_of_two_directories_are_refused_as_a_mismatch(world: World, italy: Party) -> None:
    old = copy_of(world, "old")
    world.repository.publish_participant(
        italy.entry.model_copy(update={"name": "Another invented name"}),
        country_signers=world.countries["it"],
        online=world.online,
        now=NOW,
    )
    role = max((world.repository.path / "metadata").glob("*.it.json"), key=_number)
    before = max((old / "metadata").glob("*.it.json"), key=_number)
    role.write_bytes(before.read_bytes())
    with pytest.raises(DirectoryMismatch):
        world.reader().refresh(NOW)


def test_another_file_than_the_signed_one_is_refused_as_a_mismatch(world: World) -> None:
    (file,) = (world.repository.path / "targets" / "it").iterdir()
    file.write_bytes(make_party("it.nrm").entry.to_json())
    with pytest.raises(DirectoryMismatch):
        world.reader().refresh(NOW)


def test_a_file_without_an_end_is_refused_as_a_mismatch(world: World) -> None:
    (file,) = (world.repository.path / "targets" / "it").iterdir()
    file.write_bytes(file.read_bytes() + b" " * 100_000)
    with pytest.raises(DirectoryMismatch):
        world.reader().refresh(NOW)


def test_a_country_signed_by_one_of_two_is_refused_as_unsigned(world: World) -> None:
    role: Metadata[Targets] = world.repository.next_of("it", Targets, NOW)
    role.sign(world.countries["it"][0])
    world.repository.write("it", role.signed.version, role.to_bytes())
    world.repository._publish_online({"it": role}, world.online, NOW)
    with pytest.raises(DirectoryUnsigned):
        world.reader().refresh(NOW)


def test_a_new_root_brings_readers_back_from_versions_that_a_thief_pushed_ahead(
    world: World, tmp_path: Path
) -> None:
    kept = copy_of(world, "kept")
    reader = world.reader()
    forward(world, world.online, 1_000_000)
    ahead = reader.refresh(NOW)
    assert ahead.version == 1_000_000
    serve(world, kept)
    with pytest.raises(DirectoryRolledBack):
        reader.refresh(NOW)
    fresh = make_role(tmp_path, "online-2")
    world.repository.rotate_root(
        old_signers=world.roots[:2],
        new_signers=world.roots,
        threshold=2,
        online=world.online,
        new_online=fresh,
        now=NOW,
    )
    healed = reader.refresh(NOW)
    assert healed.version < ahead.version
    assert healed.order > ahead.order
    assert healed.participants == ahead.participants
    assert reader.cached(NOW) == healed


def test_a_version_that_nobody_could_follow_is_not_followed(world: World) -> None:
    forward(world, world.online, MAX_VERSION)
    with pytest.raises(DirectoryRolledBack):
        world.reader().refresh(NOW)


def test_each_attack_has_a_code_of_its_own() -> None:
    kinds = DirectoryRefused.__subclasses__()
    assert len({kind.code for kind in kinds} | {DirectoryRefused.code}) == len(kinds) + 1


def test_the_root_runs_out_like_everything_else(world: World) -> None:
    later = NOW + timedelta(days=366)
    with pytest.raises(DirectoryExpired):
        world.reader().refresh(later)
