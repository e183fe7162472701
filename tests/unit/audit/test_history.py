"""The directory as it was: followed from the first root, and nothing in it believed without a signature."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from broker.audit.proofs.history import History, canonical, read_history
from broker.audit.proofs.offline import Failed
from schemas.directory import KeyUse
from tests.support.ceremony import World, delegate, make_role, make_world
from tests.support.parties import NOW, Party, make_party

YEAR = timedelta(days=365)


@pytest.fixture
def italy() -> Party:
    return make_party("it.nrm")


@pytest.fixture
def world(tmp_path: Path, italy: Party) -> World:
    return make_world(tmp_path, italy, make_party("al.nrm"))


def signing_key(party: Party) -> str:
    return next(key.kid for key in party.entry.keys if key.use is KeyUse.SIGN)


def newest_snapshot(world: World) -> bytes:
    found = (world.repository.path / "metadata").glob("*.snapshot.json")
    newest = max(found, key=lambda path: int(path.name.partition(".")[0]))
    return hashlib.sha256(newest.read_bytes()).digest()


def remove_italy(world: World) -> None:
    world.repository.publish_participants(
        [], remove=["it.nrm"], country_signers=world.countries["it"], online=world.online, now=NOW
    )


def test_a_key_counts_while_a_version_that_has_it_was_in_use(world: World, italy: Party) -> None:
    there = newest_snapshot(world)
    remove_italy(world)
    gone = newest_snapshot(world)
    history = read_history(world.repository.path, world.first_root)
    removed_at = NOW + timedelta(days=10)
    history.in_use([(NOW, there), (removed_at, gone)])
    kid = signing_key(italy)

    history.require(kid, NOW + timedelta(days=9))
    for late in (removed_at + timedelta(minutes=11), removed_at + YEAR):
        with pytest.raises(Failed, match="no directory that was in use"):
            history.require(kid, late)
    with pytest.raises(Failed, match="no directory that was in use"):
        history.require(kid, NOW - timedelta(days=1))


def test_a_key_does_not_count_once_it_was_in_other_hands(world: World, italy: Party) -> None:
    history = read_history(world.repository.path, world.first_root)
    history.in_use([(NOW, newest_snapshot(world))])
    kid, since = signing_key(italy), NOW + timedelta(days=3)
    history.stolen([kid], since)

    history.require(kid, since - timedelta(seconds=1))
    with pytest.raises(Failed, match="in other hands"):
        history.require(kid, since)


def test_a_key_counts_within_its_dates_only(world: World, italy: Party) -> None:
    history = read_history(world.repository.path, world.first_root)
    history.in_use([(NOW, newest_snapshot(world))])
    with pytest.raises(Failed, match="not in force"):
        history.require(signing_key(italy), NOW + 10 * YEAR)


def test_where_the_log_says_nothing_of_directories_no_key_counts(
    world: World, italy: Party
) -> None:
    history = read_history(world.repository.path, world.first_root)
    with pytest.raises(Failed, match="which directory"):
        history.require(signing_key(italy), NOW)


def test_it_follows_new_roots_and_new_keys_of_a_country(world: World, italy: Party) -> None:
    roots = [make_role(world.folder, f"new-root{n}") for n in range(2)]
    world.repository.rotate_root(
        old_signers=world.roots, new_signers=roots, threshold=2, online=world.online, now=NOW
    )
    world.countries["it"] = [make_role(world.folder, f"new-it{n}") for n in range(2)]
    delegate(world, "it")
    history = read_history(world.repository.path, world.first_root)
    assert signing_key(italy) in history.versions[newest_snapshot(world)]
    assert len(history.versions) == len(
        list((world.repository.path / "metadata").glob("*.snapshot*"))
    )


def changed(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))


def test_what_nobody_signed_is_no_history(world: World, italy: Party, tmp_path: Path) -> None:
    whole = read_history(world.repository.path, world.first_root)
    kid = signing_key(italy)

    def known(change: Callable[[Path], None]) -> bool:
        copy = tmp_path / "copy"
        shutil.copytree(world.repository.path, copy)
        try:
            change(copy)
            found: History = read_history(copy, world.first_root)
            return any(
                kid in keys for digest, keys in found.versions.items() if digest in whole.versions
            )
        except Failed:
            return False
        finally:
            shutil.rmtree(copy)

    def one(folder: Path, pattern: str) -> list[Path]:
        return list((folder / "metadata").glob(pattern))

    def without_signatures(pattern: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            for file in one(folder, pattern):
                changed(file, lambda content: content.update(signatures=content["signatures"][:1]))

        return change

    def without_files(pattern: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            for file in one(folder, pattern):
                file.unlink()

        return change

    def another_entry(folder: Path) -> None:
        (file,) = (folder / "targets" / "it").glob("*.json")
        changed(file, lambda content: content.update(name="Somebody else"))

    assert known(lambda _: None)
    assert not known(without_signatures("*.it.json")), "two of Italy's keys must sign"
    assert not known(without_signatures("*.targets.json"))
    assert not known(another_entry)
    assert not known(without_files("*.it.json"))


def test_a_root_that_does_not_follow_from_the_trusted_one_ends_it(
    world: World, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other = make_world(stranger, make_party("it.nrm"))
    other.repository.rotate_root(
        old_signers=other.roots,
        new_signers=other.roots,
        threshold=2,
        online=other.online,
        now=NOW,
    )
    shutil.copy(
        other.repository.path / "metadata" / "2.root.json",
        world.repository.path / "metadata" / "2.root.json",
    )
    with pytest.raises(Failed, match="root 2 does not follow"):
        read_history(world.repository.path, world.first_root)


@pytest.mark.parametrize(
    "value", ["plain", 'quo"te \\ é \n', 7, True, None, [1, "a"], {"b": 1, "a": []}]
)
def test_signatures_cover_what_the_library_covers(value: object) -> None:
    assert canonical(value) == encode_canonical(value)  # type: ignore[arg-type]


def test_whatever_stands_in_its_files_it_is_refused_or_as_it_was(
    world: World, italy: Party, tmp_path: Path
) -> None:
    """Nothing but `Failed` ever leaves the reader, and nothing that was not signed comes out of it."""
    whole = read_history(world.repository.path, world.first_root)
    random, copy = Random(20261122), tmp_path / "copy"
    shutil.copytree(world.repository.path, copy)
    files = sorted(copy.rglob("*.json"))
    for _ in range(300):
        victim = random.choice(files)
        good = victim.read_bytes()
        data = bytearray(good)
        start = random.randrange(len(data))
        end = min(len(data), start + random.randrange(1, 40))
        match random.randrange(4):
            case 0:
                data[start] ^= 1 << random.randrange(8)
            case 1:
                del data[start:end]
            case 2:
                data[end:end] = data[start:end]
            case _:
                data[start:end] = random.choice([b"null", b"{}", b"[[[[", b"-1", b'"\\u0000"'])
        victim.write_bytes(bytes(data))
        try:
            found = read_history(copy, world.first_root)
        except Failed:
            found = History()
        finally:
            victim.write_bytes(good)
        for digest, keys in found.versions.items():
            assert set(keys) <= set(whole.versions.get(digest, whole.keys()))
