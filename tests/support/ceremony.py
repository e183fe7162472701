"""A directory with two countries, as its keepers make it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keys.ceremony import Repository, RoleSigner, new_role_key
from keys.custody import KdfCost, create_custody
from keys.trust import DirectoryClient
from tests.support.parties import NOW, Party

QUICK = KdfCost(memory_kib=64, iterations=1, lanes=1)


@dataclass
class World:
    """A repository with two countries, and who may change it."""

    folder: Path
    repository: Repository
    roots: list[RoleSigner]
    targets: list[RoleSigner]
    online: RoleSigner
    countries: dict[str, list[RoleSigner]]
    first_root: bytes

    def reader(self, name: str = "cache", root: bytes | None = None) -> DirectoryClient:
        return DirectoryClient(self.repository.path, self.folder / name, root or self.first_root)


def make_role(folder: Path, name: str) -> RoleSigner:
    """A new key for a role, in a custody of its own."""
    private, _ = new_role_key(NOW)
    return RoleSigner.of(create_custody(f"file:{folder}/{name}.json", private, b"pw", cost=QUICK))


def make_world(folder: Path, *parties: Party) -> World:
    """A root of 2 of 3, targets and countries of 2 of 2, and an entry for each party."""
    roots = [make_role(folder, f"root{n}") for n in range(3)]
    targets = [make_role(folder, f"targets{n}") for n in range(2)]
    online = make_role(folder, "online")
    repository = Repository.create(
        folder / "repository",
        root_signers=roots,
        root_threshold=2,
        targets_signers=targets,
        targets_threshold=2,
        online=online,
        now=NOW,
    )
    names = sorted({party.entry.id[:2] for party in parties})
    countries = {cc: [make_role(folder, f"{cc}{n}") for n in range(2)] for cc in names}
    world = World(folder, repository, roots, targets, online, countries, repository.root)
    for country in names:
        delegate(world, country)
    for party in parties:
        repository.publish_participant(
            party.entry, country_signers=countries[party.entry.id[:2]], online=online, now=NOW
        )
    return world


def delegate(world: World, country: str) -> None:
    """Give a country its role, with the keys that the world has for it."""
    signers = world.countries[country]
    world.repository.delegate_country(
        country,
        [signer.published for signer in signers],
        2,
        country_signers=signers,
        targets_signers=world.targets,
        online=world.online,
        now=NOW,
    )
