"""Which channels a participant may use, and RabbitMQ's users, rights and queues for them.

Queue and user names are opaque: an HMAC of the participant and lane under a secret of the hub, so
that RabbitMQ's own logs and pages do not say who talks to whom. Each user can read its own queues
and do nothing else. Passwords come from the same secret by another label and a number, so that each
next number is another password; they are handed out sealed to the participant's own key.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

from broker.amqp import (
    Administration,
    Cluster,
    Publisher,
    QueueSpec,
    Reader,
    definitions,
)
from broker.hub.settings import AmqpNode, AmqpSettings
from broker.hub.state import Hub
from broker.hub.store import participants
from broker.telemetry import logger
from keys.sealing import seal_access
from schemas.base import b64u
from schemas.directory import OrganisationKind, Participant
from schemas.envelope import Lane
from schemas.errors import BrokerError, SchemaRefused

MAILBOX, AMQP = "mailbox", "amqp"
_SHORTEST_SECRET = 32


class Names:
    """Opaque names under one secret."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise ValueError("the secret of queue names needs 32 bytes")
        self._secret = secret

    @classmethod
    def of(cls, settings: AmqpSettings) -> Names:
        """With the secret from the settings' file."""
        return cls(settings.secret_file.read_bytes())

    def queue(self, participant: str, lane: Lane) -> str:
        """The queue of one participant's lane."""
        return "q." + self._opaque("queue", participant, lane.value)

    def reader(self, participant: str, generation: int = 0) -> Reader:
        """The participant's user, the password of this generation, and its queues."""
        number = (str(generation),) if generation else ()
        return Reader(
            name="u." + self._opaque("user", participant),
            password=self._opaque("password", participant, *number),
            queues=tuple(self.queue(participant, lane) for lane in Lane),
        )

    def _opaque(self, label: str, *values: str) -> str:
        text = "\n".join((f"referral-broker/1 amqp {label}", *values))
        return b64u(hmac.digest(self._secret, text.encode(), sha256)[:18])


def specs(names: Names, participant: str) -> list[QueueSpec]:
    """The participant's queues."""
    return [QueueSpec(names.queue(participant, lane)) for lane in Lane]


def definitions_for(
    settings: AmqpSettings, everyone: Iterable[Participant], generations: Mapping[str, int]
) -> dict[str, object]:
    """RabbitMQ's definitions document for all participants of a directory."""
    names = Names.of(settings)
    enrolled = [
        one.id for one in everyone if not one.suspended and one.kind is not OrganisationKind.HUB
    ]
    return definitions(
        [spec for one in enrolled for spec in specs(names, one)],
        readers=[names.reader(one, generations.get(one, 0)) for one in enrolled],
        vhost=settings.vhost,
    )


def cluster(settings: AmqpSettings) -> Cluster:
    """Where the hub itself connects."""
    return Cluster(
        nodes=tuple(_address(node) for node in settings.nodes),
        user=settings.user,
        password=settings.password_file.read_text().strip(),
        vhost=settings.vhost,
        ca=settings.ca_file,
    )


def _address(node: AmqpNode) -> str:
    return f"{node.host}:{node.port}"


class Channels:
    """Answers `GET /channels` and sees to it that what it offers exists."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._settings = hub.settings.amqp
        self._names = Names.of(self._settings) if self._settings else None
        self._applied: tuple[int, int, dict[str, int], int] | None = None

    async def offer(self, participant: str, use: str | None) -> dict[str, object]:
        """The channels; chooses RabbitMQ for the relay unless told `mailbox`.

        Raises:
            SchemaRefused: `use` is neither `mailbox` nor `amqp`.
        """
        if use not in (None, MAILBOX, AMQP):
            raise SchemaRefused(where=("use",))
        settings, names = self._settings, self._names
        if settings is None or names is None:
            return {"mailbox": True, "rabbitmq": None}
        chosen = MAILBOX if use == MAILBOX else AMQP
        async with self._hub.database.begin() as connection:
            await participants.set_channel(connection, participant, chosen, self._hub.clock.now())
            generations = await participants.access_generations(connection)
        self._hub.wake.here([participant])
        reader = names.reader(participant, generations.get(participant, 0))
        entry = self._hub.directory.current().participant(participant)
        now = self._hub.clock.now()
        sealed = entry and seal_access(entry, reader.name, reader.password, now)
        return {
            "mailbox": True,
            "rabbitmq": {
                "hosts": [_address(node) for node in settings.public_nodes or settings.nodes],
                "vhost": settings.vhost,
                "user": reader.name,
                "access": sealed.to_dict() if sealed else None,
                "queues": {lane.value: names.queue(participant, lane) for lane in Lane},
            },
        }

    def queue(self, participant: str, lane: Lane) -> str:
        """The queue of one participant's lane."""
        if self._names is None:
            raise ValueError("RabbitMQ is not configured")
        return self._names.queue(participant, lane)

    async def provide(self, publisher: Publisher) -> None:
        """Declare the queues of everybody in the directory, and their users where we may: when
        something has changed, and after each connection, since it may be to a RabbitMQ that was
        made anew and knows nobody.

        Raises:
            QueueUnavailable: RabbitMQ or its management cannot be reached.
        """
        settings, names = self._settings, self._names
        if settings is None or names is None:
            return
        directory = self._hub.directory.current()
        async with self._hub.database.read() as connection:
            generations = await participants.access_generations(connection)
        connections = publisher.connections
        known = (directory.order, len(directory.compromised_since), generations, connections)
        if self._applied == known:
            return
        before = self._applied[2] if self._applied else generations
        everyone = list(directory.participants.values())
        wanted = [
            spec
            for one in everyone
            if one.kind is not OrganisationKind.HUB
            for spec in specs(names, one.id)
        ]
        await publisher.declare(wanted)
        if settings.management_url is not None:
            renewed = {one for one in generations if before.get(one, 0) != generations[one]}
            await self._administer(settings, everyone, generations, renewed)
        self._applied = known

    async def _administer(
        self,
        settings: AmqpSettings,
        everyone: list[Participant],
        generations: Mapping[str, int],
        renewed: set[str],
    ) -> None:
        url = settings.management_url
        if url is None:
            return
        administration = Administration(
            url,
            user=settings.user,
            password=settings.password_file.read_text().strip(),
            ca=settings.ca_file if url.startswith("https") else None,
        )
        names = Names.of(settings)
        try:
            now = self._hub.clock.now()
            shut = [one for one in everyone if one.suspended or not one.can_sign(now)]
            gone = {one.id for one in shut}
            # Removing a user cuts its connections, which another password alone would leave open.
            for one in everyone:
                if one.kind is not OrganisationKind.HUB and one.id in gone | renewed:
                    await administration.remove_user(names.reader(one.id).name)
            left = [one for one in everyone if one.id not in gone]
            await administration.apply(definitions_for(settings, left, generations))
        except BrokerError as error:
            logger().error("queue:users-not-applied", code=error.code)
            raise
        finally:
            await administration.close()
