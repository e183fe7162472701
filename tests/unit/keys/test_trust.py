"""Nobody can publish another country's keys, go back in time, or keep a directory frozen."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets

from keys.ceremony import Repository, RoleSigner
from keys.ceremony.roles import COUNTRY_LIFE, ONLINE_LIFE, ending_roles, life_of
from keys.custody import Custody, create_custody
from keys.trust import MAX_ENTRY_BYTES, DirectoryClient, insecure_directory
from schemas.directory import (
    Compartment,
    Function,
    KeyUse,
    OrganisationKind,
    Participant,
    PublishedKey,
    TrustedDirectory,
)
from schemas.errors import Conflict, DirectoryRefused, HubUnreachable, NotFound, SchemaRefused
from tests.support.ceremony import QUICK, World, delegate, make_role, make_world
from tests.support.parties import NOW, Party, make_party

DAY = timedelta(days=1)


@pytest.fixture
def role(tmp_path: Path) -> Callable[[str], RoleSigner]:
    return lambda name: make_role(tmp_path, name)


@pytest.fixture
def world(tmp_path: Path, italy: Party, albania: Party) -> World:
    return make_world(tmp_path, italy, albania)


def hub_entry() -> Participant:
    hub = make_party("hub.one", ())
    return hub.entry.model_copy(
        update={"kind": OrganisationKind.HUB, "function": Function.HUB, "country": "XX"}
    )


def test_a_reader_finds_every_entry_with_its_keys(
    world: World, italy: Party, albania: Party
) -> None:
    world.repository.publish_hub(
        hub_entry(), targets_signers=world.targets, online=world.online, now=NOW
    )
    directory = world.reader().refresh(NOW)
    assert set(directory.participants) == {"it.nrm", "al.nrm", "hub.one"}
    assert directory.participant("it.nrm") == italy.entry
    for key in albania.entry.keys:
        assert directory.key(key.kid) == (albania.entry, key)
    assert directory.participant("fr.nrm") is None
    assert len(directory.digest) == 32


def test_a_change_makes_a_new_version_and_a_new_digest(world: World, italy: Party) -> None:
    reader = world.reader()
    before = reader.refresh(NOW)
    renamed = italy.entry.model_copy(update={"name": "Another invented name"})
    world.repository.publish_participant(
        renamed, country_signers=world.countries["it"], online=world.online, now=NOW
    )
    after = reader.refresh(NOW)
    assert after.version > before.version
    assert after.digest != before.digest
    assert after.participants["it.nrm"] == renamed


def test_two_on_one_cache_each_read_what_they_verified(
    world: World, italy: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway and a command of its operator: the second comes while the first is reading."""
    reading, on = threading.Event(), threading.Event()
    read = DirectoryClient._read

    def slowly(self: DirectoryClient, *arguments: Any) -> TrustedDirectory:
        if not reading.is_set():
            reading.set()
            on.wait(30)
        return read(self, *arguments)

    with ThreadPoolExecutor(2) as threads:
        monkeypatch.setattr(DirectoryClient, "_read", slowly)
        first = threads.submit(world.reader().refresh, NOW)
        reading.wait(30)
        renamed = italy.entry.model_copy(update={"name": "Another invented name"})
        world.repository.publish_participant(
            renamed, country_signers=world.countries["it"], online=world.online, now=NOW
        )
        second = threads.submit(world.reader().refresh, NOW)
        wait([second], timeout=1)
        on.set()
        before, after = first.result(), second.result()
    assert before.participant("it.nrm") == italy.entry
    assert after.participant("it.nrm") == renamed
    assert before.version < after.version
    assert before.digest != after.digest


def test_a_removed_entry_is_gone(world: World) -> None:
    world.repository.publish_participants(
        [],
        remove=["it.nrm"],
        country_signers=world.countries["it"],
        online=world.online,
        now=NOW,
    )
    directory = world.reader().refresh(NOW)
    assert set(directory.participants) == {"al.nrm"}


def test_time_is_the_callers_and_a_frozen_repository_expires(world: World) -> None:
    reader = world.reader()
    reader.refresh(NOW)
    assert reader.expires_at == NOW + ONLINE_LIFE
    reader.refresh(NOW + ONLINE_LIFE - DAY)
    with pytest.raises(DirectoryRefused, match="directory-frozen"):
        reader.refresh(NOW + ONLINE_LIFE)


def test_a_fresh_timestamp_keeps_it_alive(world: World) -> None:
    reader = world.reader()
    world.repository.refresh_timestamp(world.online, NOW + 5 * DAY)
    assert reader.refresh(NOW + 8 * DAY).version == 6


def test_a_rollback_is_refused_even_after_a_restart(world: World, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(world.repository.path, old)
    world.repository.refresh_timestamp(world.online, NOW)
    world.reader().refresh(NOW)
    shutil.rmtree(world.repository.path)
    old.rename(world.repository.path)
    with pytest.raises(DirectoryRefused, match="directory-rollback"):
        world.reader().refresh(NOW)


def test_an_unreachable_repository_is_not_a_refusal(world: World) -> None:
    reader = world.reader()
    directory = reader.refresh(NOW)
    shutil.rmtree(world.repository.path)
    with pytest.raises(HubUnreachable):
        reader.refresh(NOW)
    again = world.reader().cached(NOW)
    assert again.participants == directory.participants
    assert again.digest == directory.digest


def test_the_cache_alone_expires_too_and_may_be_empty(world: World) -> None:
    world.reader().refresh(NOW)
    with pytest.raises(HubUnreachable):
        world.reader().cached(NOW + 8 * DAY)
    with pytest.raises(HubUnreachable):
        world.reader("elsewhere").cached(NOW)


def test_another_root_is_not_trusted(
    world: World, tmp_path: Path, role: Callable[[str], RoleSigner]
) -> None:
    roots = [role(f"other{n}") for n in range(2)]
    other = Repository.create(
        tmp_path / "other",
        root_signers=roots,
        root_threshold=2,
        targets_signers=roots,
        targets_threshold=2,
        online=roots[0],
        now=NOW,
    )
    with pytest.raises(DirectoryRefused):
        world.reader("fresh", other.root).refresh(NOW)


def test_one_of_two_signers_publishes_nothing(world: World, italy: Party) -> None:
    with pytest.raises(DirectoryRefused):
        world.repository.publish_participant(
            italy.entry,
            country_signers=world.countries["it"][:1],
            online=world.online,
            now=NOW,
        )


def test_a_country_cannot_publish_for_another(world: World, albania: Party) -> None:
    with pytest.raises(DirectoryRefused):
        world.repository.publish_participant(
            albania.entry, country_signers=world.countries["it"], online=world.online, now=NOW
        )


def smuggle(world: World, country: str, path: str, data: bytes) -> None:
    """What a country could do with its own keys and tools of its own."""
    role: Metadata[Targets] = world.repository.next_of(country, Targets, NOW)
    info = TargetFile.from_data(path, data, ["sha256"])
    role.signed.targets[path] = info
    for signer in world.countries[country]:
        role.sign(signer, append=True)
    folder, _, name = path.rpartition("/")
    file = world.repository.path / "targets" / folder / f"{info.hashes['sha256']}.{name}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    world.repository.write(country, role.signed.version, role.to_bytes())
    world.repository._publish_online({country: role}, world.online, NOW)


def test_what_a_country_publishes_outside_its_path_is_invisible(
    world: World, albania: Party
) -> None:
    mallory = make_party("al.evil")
    smuggle(world, "it", "al/evil.json", mallory.entry.to_json())
    reader = world.reader()
    assert set(reader.refresh(NOW).participants) == {"it.nrm", "al.nrm"}
    assert reader.excluded == {
        "al/evil.json": "directory-scope: An entry outside the path of whoever publishes it."
    }


@pytest.mark.parametrize(
    "entry",
    [
        make_party("al.evil").entry,
        make_party("it.other").entry,
        make_party("it.evil").entry.model_copy(update={"country": "AL"}),
        make_party("it.evil").entry.model_copy(update={"kind": OrganisationKind.HUB}),
    ],
    ids=["another country's id", "another name", "another country", "a hub"],
)
def test_an_entry_counts_only_where_it_belongs(world: World, entry: Participant) -> None:
    smuggle(world, "it", "it/evil.json", entry.to_json())
    reader = world.reader()
    assert set(reader.refresh(NOW).participants) == {"it.nrm", "al.nrm"}
    assert list(reader.excluded) == ["it/evil.json"]


def test_an_entry_that_is_too_large_is_not_even_fetched(world: World) -> None:
    smuggle(world, "it", "it/evil.json", b" " * (MAX_ENTRY_BYTES + 1))
    for file in (world.repository.path / "targets" / "it").glob("*.evil.json"):
        file.unlink()
    reader = world.reader()
    assert set(reader.refresh(NOW).participants) == {"it.nrm", "al.nrm"}
    assert reader.excluded == {"it/evil.json": "directory: too large"}


def test_nonsense_harms_only_who_publishes_it(world: World) -> None:
    smuggle(world, "it", "it/evil.json", b'{"id":"it.evil","id":"al.evil"}')
    reader = world.reader()
    assert set(reader.refresh(NOW).participants) == {"it.nrm", "al.nrm"}
    assert "malformed-json" in reader.excluded["it/evil.json"]


def test_a_key_that_two_claim_changes_nothing_for_anybody(world: World, albania: Party) -> None:
    thief = make_party("it.thief").entry.model_copy(update={"keys": albania.entry.keys})
    smuggle(world, "it", "it/thief.json", thief.to_json())
    with pytest.raises(DirectoryRefused, match="claimed twice"):
        world.reader().refresh(NOW)


def test_the_ceremony_does_not_publish_anothers_key(world: World, albania: Party) -> None:
    thief = make_party("it.thief").entry.model_copy(update={"keys": albania.entry.keys})
    with pytest.raises(DirectoryRefused):
        world.repository.publish_participant(
            thief, country_signers=world.countries["it"], online=world.online, now=NOW
        )


def test_a_country_that_lets_its_role_expire_harms_itself_alone(
    world: World, albania: Party
) -> None:
    later = NOW + 89 * DAY
    world.repository.publish_participant(
        albania.entry, country_signers=world.countries["al"], online=world.online, now=later
    )
    reader = world.reader()
    directory = reader.refresh(later + 5 * DAY)
    assert set(directory.participants) == {"al.nrm"}
    assert reader.excluded == {"it": "expired"}


def test_a_country_gets_new_keys_and_the_old_ones_count_no_more(
    world: World, role: Callable[[str], RoleSigner], italy: Party
) -> None:
    old = world.countries["it"]
    world.countries["it"] = [role("new0"), role("new1")]
    delegate(world, "it")
    assert "it.nrm" in world.reader().refresh(NOW).participants
    with pytest.raises(DirectoryRefused):
        world.repository.publish_participant(
            italy.entry, country_signers=old, online=world.online, now=NOW
        )


def test_readers_follow_a_new_root_and_new_roles(
    world: World, role: Callable[[str], RoleSigner]
) -> None:
    reader = world.reader()
    reader.refresh(NOW)
    new_roots, new_online = [role(f"next{n}") for n in range(3)], role("next-online")
    new_targets = [role("next-targets")]
    world.repository.rotate_root(
        old_signers=world.roots[:2],
        new_signers=new_roots,
        threshold=2,
        online=world.online,
        new_online=new_online,
        new_targets=(new_targets, 1),
        now=NOW,
    )
    assert set(reader.refresh(NOW).participants) == {"it.nrm", "al.nrm"}
    assert set(world.reader("fresh").refresh(NOW).participants) == {"it.nrm", "al.nrm"}
    with pytest.raises(DirectoryRefused):
        world.repository.refresh_timestamp(world.online, NOW)


def test_a_new_root_needs_the_old_ones_threshold(
    world: World, role: Callable[[str], RoleSigner]
) -> None:
    with pytest.raises(DirectoryRefused):
        world.repository.rotate_root(
            old_signers=world.roots[:1],
            new_signers=[role("next0"), role("next1")],
            threshold=2,
            online=world.online,
            now=NOW,
        )


def test_a_repository_is_not_overwritten(world: World) -> None:
    with pytest.raises(Conflict):
        Repository.create(
            world.repository.path,
            root_signers=world.roots,
            root_threshold=2,
            targets_signers=world.targets,
            targets_threshold=2,
            online=world.online,
            now=NOW,
        )


def test_only_a_country_gets_a_role_and_only_a_hub_the_hubs_path(
    world: World, italy: Party
) -> None:
    world.countries["hub"] = world.countries["it"]
    with pytest.raises(DirectoryRefused):
        delegate(world, "hub")
    with pytest.raises(DirectoryRefused):
        world.repository.publish_hub(
            italy.entry, targets_signers=world.targets, online=world.online, now=NOW
        )
    with pytest.raises(NotFound):
        world.repository.publish_participant(
            make_party("fr.nrm").entry,
            country_signers=world.countries["it"],
            online=world.online,
            now=NOW,
        )


def test_a_role_signs_with_one_key_of_its_own(tmp_path: Path, italy: Party) -> None:
    custody: Custody = create_custody(f"file:{tmp_path}/many", italy.keys, b"pw", cost=QUICK)
    with pytest.raises(DirectoryRefused):
        RoleSigner.of(custody)
    with pytest.raises(DirectoryRefused):
        RoleSigner(italy.signer(2), italy.signing_key(2))
    with pytest.raises(DirectoryRefused):
        RoleSigner(italy.signer(1), italy.signing_key(2))


@pytest.mark.parametrize(
    "change",
    [
        lambda key: {"kid": "A" * 43},
        lambda key: {"alg": "ES256"},
        lambda key: {"suite": 2},
        lambda key: {"use": KeyUse.SEAL},
        lambda key: {"compartment": Compartment.CASEWORK},
        lambda key: {"jwk": {**key.jwk, "d": "AAAA"}},
        lambda key: {"jwk": {**key.jwk, "x": "AAAA"}},
    ],
    ids=["kid", "alg", "suite", "use", "compartment", "private member", "short key"],
)
def test_a_key_must_be_what_it_says(
    italy: Party, change: Callable[[PublishedKey], dict[str, object]]
) -> None:
    wrong = italy.with_key(italy.signing_key().kid, **change(italy.signing_key()))
    with pytest.raises((DirectoryRefused, SchemaRefused)):
        insecure_directory([wrong.entry], NOW)


def test_metadata_names_no_secret(world: World) -> None:
    for file in (world.repository.path / "metadata").iterdir():
        text = file.read_text()
        assert '"d"' not in text
        assert '"priv"' not in text
        json.loads(text)


def test_entries_of_two_countries_are_two_ceremonies(
    world: World, italy: Party, albania: Party
) -> None:
    with pytest.raises(DirectoryRefused):
        world.repository.publish_participants(
            [italy.entry, albania.entry],
            country_signers=world.countries["it"],
            online=world.online,
            now=NOW,
        )


@pytest.mark.parametrize(
    ("role", "life", "steps"),
    [
        ("root", 365, [(61, None), (60, 60), (30, 30), (7, 7), (0, 3)]),
        ("targets", 182, [(61, None), (60, 60), (31, 60), (7, 7)]),
        ("it", 90, [(60, None), (31, None), (30, 30), (8, 30), (7, 7)]),
        ("timestamp", 7, [(7, None), (4, None), (3, 3), (0, 3), (-1, 3)]),
    ],
)
def test_a_role_that_ends_is_named_in_the_second_half_of_its_life(
    role: str, life: int, steps: list[tuple[int, int | None]]
) -> None:
    assert life_of(role) == timedelta(days=life)
    for left, step in steps:
        named = ending_roles({role: NOW + timedelta(days=left)}, NOW)
        assert named == ({} if step is None else {role: step})


def test_a_reader_knows_when_each_role_ends_and_which_has_ended(world: World) -> None:
    client = world.reader()
    ends = client.refresh(NOW).role_ends
    assert ends.keys() == {"root", "targets", "snapshot", "timestamp", "it", "al"}
    assert all(ends[role] == NOW + life_of(role) for role in ends)
    later = NOW + COUNTRY_LIFE + timedelta(days=1)
    world.repository.refresh_timestamp(world.online, later)
    gone = client.refresh(later).role_ends
    assert gone["it"] == gone["al"] == later
    assert ending_roles(gone, later)["it"] == 3
