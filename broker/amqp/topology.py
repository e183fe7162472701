"""Queues, quarantine and users of RabbitMQ as data; everything is said in queue arguments."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

QUARANTINE = "quarantine"
"""Where a message goes that its consumer rejects, or that was delivered too often."""

DELIVERY_LIMIT = 20
"""Deliveries before quarantine; the default of RabbitMQ 4, said explicitly for 3.x."""


@dataclass(frozen=True)
class QueueSpec:
    """A durable quorum queue whose rejected messages reach the quarantine at least once.

    At-least-once dead-lettering is only honoured together with `reject-publish`: a full queue
    refuses new messages, it never drops old ones.
    """

    name: str
    delivery_limit: int = DELIVERY_LIMIT
    max_length: int | None = None
    """Messages that may wait; beyond it the publisher gets no confirm."""

    quarantine: str = QUARANTINE

    def arguments(self) -> dict[str, str | int]:
        """The queue arguments; they cannot be changed on an existing queue."""
        arguments: dict[str, str | int] = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-delivery-limit": self.delivery_limit,
        }
        if self.name != self.quarantine:
            arguments |= {
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.quarantine,
                "x-dead-letter-strategy": "at-least-once",
            }
        if self.max_length is not None:
            arguments["x-max-length"] = self.max_length
        return arguments


def quarantine_queue(name: str = QUARANTINE) -> QueueSpec:
    """The quarantine itself: looking at a message there must never make it vanish."""
    return QueueSpec(name, delivery_limit=1_000_000, quarantine=name)


def topology(queues: Sequence[QueueSpec]) -> tuple[QueueSpec, ...]:
    """The queues and the quarantines that they need, quarantines first, each once."""
    needed: OrderedDict[str, QueueSpec] = OrderedDict()
    for queue in queues:
        needed.setdefault(queue.quarantine, quarantine_queue(queue.quarantine))
    for queue in queues:
        needed[queue.name] = queue
    return tuple(needed.values())


@dataclass(frozen=True)
class Reader:
    """A RabbitMQ user that can read its own queues and do nothing else."""

    name: str
    password: str = field(repr=False)
    queues: tuple[str, ...]


def definitions(
    queues: Sequence[QueueSpec], *, readers: Sequence[Reader] = (), vhost: str = "/"
) -> dict[str, object]:
    """RabbitMQ's definitions document for these queues and readers."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": reader.name,
                "password_hash": _password_hash(reader.password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for reader in readers
        ],
        "permissions": [
            {
                "user": reader.name,
                "vhost": vhost,
                "configure": "^$",
                "write": "^$",
                "read": f"^({'|'.join(re.escape(name) for name in reader.queues)})$",
            }
            for reader in readers
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.arguments(),
            }
            for queue in topology(queues)
        ],
    }


def _password_hash(password: str) -> str:
    # RabbitMQ's salted SHA-256. Our passwords are 18 random bytes, so a fast hash is enough.
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
