"""A complete small network on disk: directory, hub, participants, an auditor, each with its keys.

For the demo, the system tests and the measurements. Everything is as in production except the
cost of guessing a passphrase, which is set low so that processes start at once: never use these
folders for real people.

<path>/directory/   the TUF repository     authority/  the keys of root, targets, online, countries
<path>/hub/         see `broker.cli.homes.hub`  <participant>/  see `broker.gateway.home`
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from adapters.systems import files
from broker.cli.homes.hub import AmqpPlace, NewHub, init_hub
from broker.cli.homes.identity import Identity, open_identity
from broker.cli.homes.passphrase import new_passphrase_file
from broker.cli.local import LocalApi, open_home
from broker.clock import SystemClock
from broker.gateway.home import add_worker, init_home
from keys.ceremony import Repository, RoleSigner, new_role_key
from keys.custody import Custody, KdfCost, create_custody
from keys.signing import countersign, sign_agreement
from schemas.agreement import Agreement, TransferBasis
from schemas.consent import Purpose
from schemas.directory import Compartment, EntryPoint, Function, OrganisationKind, Participant
from schemas.envelope import Lane
from schemas.sections.index import SECTION_IDS

QUICK = KdfCost(memory_kib=64, iterations=1, lanes=1)
"""Protects nothing. The smallest that Argon2 permits, for networks that live for minutes."""
HUB = "hub.main"
ALL_COMPARTMENTS = (Compartment.CASEWORK, Compartment.HEALTH, Compartment.JUSTICE)
WORKERS = ("first", "second")
"""Each gateway has two, so that an exception finds its second pair of eyes."""


@dataclass(frozen=True, slots=True)
class Member:
    """One participant to be enrolled."""

    id: str
    name: str
    kind: OrganisationKind
    function: Function
    compartments: tuple[Compartment, ...] = ALL_COMPARTMENTS
    runs_gateway: bool = True
    hosted_by: str | None = None
    entry_point: EntryPoint | None = None

    @property
    def country(self) -> str:
        return self.id.partition(".")[0]


MEMBERS = (
    Member("it.nrm", "National referral mechanism, Italy", OrganisationKind.STATE, Function.NRM),
    Member("al.nrm", "National referral mechanism, Albania", OrganisationKind.STATE, Function.NRM),
    Member(
        "al.shelter",
        "A shelter in Albania",
        OrganisationKind.NGO,
        Function.SHELTER,
        compartments=(Compartment.CASEWORK, Compartment.HEALTH),
    ),
    Member(
        "it.auditor",
        "National rapporteur, Italy",
        OrganisationKind.STATE,
        Function.RAPPORTEUR,
        compartments=(Compartment.CASEWORK,),
        runs_gateway=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One participant's home on this machine."""

    id: str
    home: Path
    port: int
    runs_gateway: bool


@dataclass(slots=True)
class Network:
    """Everything that was laid out. Nothing of it runs yet."""

    path: Path
    hub: NewHub
    participants: dict[str, Place]
    root: bytes
    _identities: dict[str, Identity] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.hub.url

    def worker(self, participant: str, name: str = WORKERS[0]) -> LocalApi:
        """The local API of a participant's gateway, as one of its workers."""
        return open_home(self.participants[participant].home, name)

    def identity(self, participant: str) -> Identity:
        """A participant with its keys, for what is not done through a gateway."""
        if participant not in self._identities:
            self._identities[participant] = open_identity(self.participants[participant].home)
        return self._identities[participant]

    def signed_agreement(self, one: str, other: str, **terms: object) -> bytes:
        """An agreement of two participants over everything, signed by both.

        Args:
            terms: Fields of `Agreement` that shall be different.
        """
        agreement = usual_terms(one, other, SystemClock().now()).model_copy(update=terms)
        raw = sign_agreement(agreement, self.identity(one).signer())
        return countersign(raw, self.identity(other).signer())

    def register_agreement(self, one: str, other: str, **terms: object) -> None:
        """Sign an agreement by both and register it at the hub, which must be running.

        Raises:
            Refused: The hub does not take it.
            HubUnreachable: It does not answer.
        """
        raw = self.signed_agreement(one, other, **terms)

        async def send() -> None:
            async with self.identity(one).hub() as hub:
                await hub.register_agreement(raw)

        asyncio.run(send())


def usual_terms(one: str, other: str, now: datetime) -> Agreement:
    """Terms that permit every type, section and purpose for a year."""
    abroad = one.partition(".")[0] != other.partition(".")[0]

    def basis(sender: str) -> TransferBasis:
        if not abroad:
            return TransferBasis(sender=sender, basis="none-needed")
        # An instrument between public authorities (GDPR 46(2)(a)); Albania has its own law.
        european = sender.startswith("it.")
        return TransferBasis(sender=sender, basis="eu-gdpr:A46-2-a" if european else "national-law")

    return Agreement(
        id=uuid4(),
        title=f"Demonstration: {one} and {other}",
        parties=(one, other),
        valid_from=(now - timedelta(days=1)).date(),
        valid_until=(now + timedelta(days=365)).date(),
        lanes=tuple(Lane),
        types=("*",),
        sections=tuple(sorted(SECTION_IDS)),
        purposes=tuple(Purpose),
        transfer=(basis(one), basis(other)),
        signed_on=now,
    )


def create_network(
    path: Path,
    *,
    members: Sequence[Member] = MEMBERS,
    hub_database: str | None = None,
    gateway_databases: Mapping[str, str] | None = None,
    amqp: AmqpPlace | None = None,
    cost: KdfCost = QUICK,
    hub_extra: Sequence[str] = (),
) -> Network:
    """Lay out a network in an empty folder: keys made, everybody enrolled and published.

    Args:
        members: Who takes part; the countries follow from them.
        hub_database: SQLAlchemy URL; default: SQLite in the hub's folder.
        gateway_databases: By participant; default: SQLite in its home.
        amqp: RabbitMQ; without it everybody uses the mailbox.
        cost: Of the passphrases of all key files.
        hub_extra: Further lines of the hub's settings.

    Raises:
        Conflict: There is a network in this folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    authority = _Authority(path / "authority", sorted({m.country for m in members}), cost)
    repository = authority.create_repository(path / "directory")
    ports = free_ports(1 + len(members))
    hub = init_hub(
        path / "hub",
        hub=HUB,
        url=f"http://127.0.0.1:{ports[0]}",
        directory=path / "directory",
        trusted_root=authority.first_root,
        database=hub_database,
        amqp=amqp,
        cost=cost,
        extra=hub_extra,
    )
    authority.publish_hub(repository, hub.entry("Demonstration hub", "CH"))
    places: dict[str, Place] = {}
    entries: dict[str, list[Participant]] = {}
    for member, port in zip(members, ports[1:], strict=True):
        home = path / member.id
        made = init_home(
            home,
            participant=member.id,
            hub_url=hub.url,
            hub_id=hub.hub,
            directory_url=f"{hub.url}/directory",
            trusted_root=authority.first_root,
            compartments=member.compartments,
            port=port,
            country=member.country,
            database=(gateway_databases or {}).get(member.id),
            channel="mailbox" if amqp is None else "rabbitmq",
            cost=cost,
        )
        if amqp is not None:
            _trust_queue(home, amqp)
        entries.setdefault(member.country, []).append(
            Participant(
                id=member.id,
                name=member.name,
                country=member.country.upper(),
                kind=member.kind,
                function=member.function,
                hosted_by=member.hosted_by,
                entry_point=member.entry_point,
                suites=(1,),
                compartments=member.compartments,
                log_vkey=made.log_vkey if member.runs_gateway else None,
                keys=made.keys,
                entry_issued_at=SystemClock().now(),
            )
        )
        places[member.id] = Place(member.id, home, port, member.runs_gateway)
        if member.runs_gateway:
            for worker in WORKERS:
                add_worker(home, worker)
    for country, published in entries.items():
        authority.publish_country(repository, country, published)
    return Network(path, hub, places, authority.first_root)


def _trust_queue(home: Path, amqp: AmqpPlace) -> None:
    """Name the authority of RabbitMQ's certificate in a participant's settings."""
    if amqp.ca is not None:
        kind = 'kind = "rabbitmq"'
        file = home / "gateway.toml"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(kind, f'{kind}\nca = "{amqp.ca}"'), encoding="utf-8")


def sample_cases() -> Path:
    """Italy's sample file: invented people in HTCDS 2.0."""
    return Path(files.__file__).parent / "samples" / "italy-invented.csv"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody has now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class _Authority:
    """Who signs the directory: two of root, one of targets, one online, one for each country."""

    def __init__(self, folder: Path, countries: Sequence[str], cost: KdfCost) -> None:
        folder.mkdir(mode=0o700)
        self._now = SystemClock().now()
        passphrase = new_passphrase_file(folder / "passphrase")
        self._custody: dict[str, Custody] = {}
        for role in ("root-1", "root-2", "targets", "online", *countries):
            private, _ = new_role_key(self._now)
            self._custody[role] = create_custody(
                f"file:{folder / role}.json", private, passphrase, cost=cost
            )
        self._countries = countries
        self.first_root = b""

    def _signer(self, role: str) -> RoleSigner:
        return RoleSigner.of(self._custody[role])

    def create_repository(self, path: Path) -> Repository:
        repository = Repository.create(
            path,
            root_signers=[self._signer("root-1"), self._signer("root-2")],
            root_threshold=2,
            targets_signers=[self._signer("targets")],
            targets_threshold=1,
            online=self._signer("online"),
            now=self._now,
        )
        self.first_root = repository.root
        for country in self._countries:
            repository.delegate_country(
                country,
                [key.published() for key in self._custody[country].keys],
                1,
                country_signers=[self._signer(country)],
                targets_signers=[self._signer("targets")],
                online=self._signer("online"),
                now=self._now,
            )
        return repository

    def publish_hub(self, repository: Repository, entry: Participant) -> None:
        repository.publish_hub(
            entry,
            targets_signers=[self._signer("targets")],
            online=self._signer("online"),
            now=self._now,
        )

    def publish_country(
        self, repository: Repository, country: str, entries: Sequence[Participant]
    ) -> None:
        repository.publish_participants(
            entries,
            country_signers=[self._signer(country)],
            online=self._signer("online"),
            now=self._now,
        )
