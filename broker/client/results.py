"""What a hub answers, as values. Everything signed stays the bytes that came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from schemas.base import unb64u
from schemas.envelope import Part
from schemas.errors import HubUnreachable


@dataclass(frozen=True, slots=True)
class Submitted:
    """The hub says that it has the envelope durably. Unverified until `keys.signing` says so."""

    evidence: bytes
    repeated: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The hub says no. Only `evidence` that verifies makes it true; the rest is hearsay."""

    code: str
    family: str
    evidence: bytes | None


@dataclass(frozen=True, slots=True)
class MailboxItem:
    """One leased delivery."""

    delivery: int
    kind: str
    """`envelope` or `evidence`."""
    jws: bytes


@dataclass(frozen=True, slots=True)
class GrantAnswer:
    """What the hub knows of one grant."""

    statement: bytes
    status: str
    """`live`, `narrowed`, `withdrawn` or `expired`."""
    removed: tuple[str, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class GrantChange:
    """One withdrawal or narrowing, as the signed envelope that ordered it."""

    cursor: int
    grant: UUID
    envelope: bytes


@dataclass(frozen=True, slots=True)
class GrantChanges:
    """The changes after a cursor, in order. An empty list with `as_of` is news too."""

    changes: tuple[GrantChange, ...]
    cursor: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class QueueChannel:
    """How to reach the participant's RabbitMQ queues."""

    hosts: tuple[str, ...]
    vhost: str
    user: str
    queues: Mapping[str, str]
    """Lane to queue name."""
    access: Part | None
    """The user's password, sealed to us; None if the directory shows no sealing key of ours."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Which channels the participant may use."""

    mailbox: bool
    rabbitmq: QueueChannel | None


@dataclass(frozen=True, slots=True)
class StreamNumber:
    """One envelope of a stream, as the hub has it."""

    number: int
    id: UUID
    state: str
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class EnvelopeState:
    """The hub's answer to "do you have this id, in which state?"."""

    id: UUID
    digest: str
    state: str
    evidence: frozenset[UUID]
    """The statements behind it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves one event of the log, and links it to its subject."""

    evidence: bytes
    leaf: bytes
    opening: Mapping[str, str]
    proof: str
    directory_version: int


def jws_bytes(value: object) -> bytes:
    """A JWS inside a JSON answer: a string that holds its exact bytes, or the object itself.

    What a JWS signs is inside its base64url members, so the white space around them is free.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":")).encode()
    raise HubUnreachable("the hub's answer has no JWS where one belongs")


def instant(value: object) -> datetime:
    """A time of the wire."""
    if not isinstance(value, str) or not value.endswith("Z"):
        raise HubUnreachable("the hub's answer has no time where one belongs")
    return datetime.fromisoformat(value[:-1] + "+00:00")


def proof_of(body: Mapping[str, Any]) -> Proof:
    """The answer of `GET /log/proof`."""
    return Proof(
        evidence=jws_bytes(body["evidence"]),
        leaf=unb64u(str(body["leaf"])),
        opening={str(k): str(v) for k, v in dict(body["opening"]).items()},
        proof=str(body["proof"]),
        directory_version=int(body["directory_version"]),
    )
