"""Everything an operator may set at a hub, in one TOML file.

Unknown keys are errors. Secrets are never values here and never in the environment: they are
paths of files that only the hub's user may read. Relative paths start at the file's folder.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from broker.audit.log.note import SignatureType, Verifier
from schemas.base import ParticipantId
from schemas.envelope import Lane
from schemas.errors import SchemaRefused

Role = Literal["all", "api", "relay"]
"""`api` answers requests, `relay` runs the loops, `all` does both."""

Port = Annotated[int, Field(ge=0, le=65535)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AmqpNode(_Table):
    """One RabbitMQ node."""

    host: str
    port: Port = 5671


class AmqpSettings(_Table):
    """RabbitMQ. Without this table the hub serves the mailbox alone."""

    nodes: Annotated[tuple[AmqpNode, ...], Field(min_length=1)]
    vhost: str = "referral"
    user: str
    password_file: Path
    secret_file: Path
    """At least 32 random bytes that make queue names and passwords; never changed."""
    ca_file: Path | None = None
    """The authority of the nodes' certificates; TLS is used if and only if it is set."""
    public_nodes: tuple[AmqpNode, ...] = ()
    """What participants are told; empty tells them `nodes`."""
    management_url: str | None = None
    """Where users, rights and queues of participants are created. Without it an operator
    imports what `referral hub definitions` writes."""
    window: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Unreceipted envelopes per participant and lane in RabbitMQ; the rest waits in the table,
    where a withdrawal can still stop it."""
    republish_after_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Publish again when no evidence came; longer than a gateway needs to work off a window."""
    new_queue_seconds: Annotated[float, Field(ge=0)] = 4.0
    """A queue just created is left alone for so long: a node that dies before may lose it (ADR 0008)."""


class LimitSettings(_Table):
    """How much one participant may ask for. Safety, withdrawal and evidence are never limited."""

    envelopes_per_minute: Annotated[int, Field(ge=1)] = 600_000
    requests_per_minute: Annotated[int, Field(ge=1)] = 60_000
    attachment_bytes_per_hour: Annotated[int, Field(ge=1)] = 4 * 1024**3
    batch: Annotated[int, Field(ge=1, le=1024)] = 128
    """Submissions in one transaction."""
    waiting: Annotated[int, Field(ge=1)] = 4096
    """Submissions that may wait for a transaction before the hub answers 503."""
    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a mailbox item stays with the gateway that fetched it."""
    incarnation_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long an incarnation lives without renewing; shorter than a gateway's longest pause
    would let a second gateway in."""


class DeadlineSettings(_Table):
    """When silence becomes evidence: no `delivered` within this time after acceptance."""

    urgent_minutes: Annotated[float, Field(gt=0)] = 30.0
    routine_minutes: Annotated[float, Field(gt=0)] = 24 * 60.0
    safety_minutes: Annotated[float, Field(gt=0)] = 5.0
    every_seconds: Annotated[float, Field(gt=0)] = 5.0

    def after(self, lane: Lane, *, safety: bool) -> timedelta:
        """How long the recipient's gateway may take."""
        if safety:
            return timedelta(minutes=self.safety_minutes)
        minutes = self.urgent_minutes if lane is Lane.URGENT else self.routine_minutes
        return timedelta(minutes=minutes)


class RetentionSettings(_Table):
    """What is forgotten when, by class of data. Only what is final is ever touched.

    Sealed payload, addressing (who wrote to whom, when, under which consent), evidence, technical.
    """

    ciphertext_days: Annotated[float, Field(ge=0)] = 7.0
    """Sealed bytes of a delivered envelope, after its delivery."""
    addressing_days: Annotated[float, Field(ge=0)] = 0.0
    """Header, id and facts of an envelope, after it expired: until then the id is needed."""
    evidence_days: Annotated[float, Field(ge=91)] = 3650.0
    """Evidence is what a delivery is proven with, so it outlives what it speaks of: the longest
    life of an envelope, and as long as its header is kept."""
    technical_days: Annotated[float, Field(ge=1)] = 90.0
    """What was put into quarantine."""
    orphan_hours: Annotated[float, Field(gt=0)] = 24.0
    """Attachments that no accepted envelope names."""
    every_seconds: Annotated[float, Field(gt=0)] = 300.0

    @model_validator(mode="after")
    def _evidence_outlives_addressing(self) -> Self:
        if self.evidence_days < self.addressing_days + 91:
            raise ValueError("evidence_days must be at least addressing_days + 91")
        return self


class IndependentWitness(_Table):
    """A tlog-witness (C2SP) that stands for no country; the hub posts its heads to it."""

    vkey: str
    url: str
    """Its submission prefix."""

    @field_validator("vkey")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        try:
            key = Verifier.from_text(value)
        except SchemaRefused as error:
            raise ValueError(error.detail) from None
        if key.type is SignatureType.ED25519:
            raise ValueError("a witness needs a key that dates")
        return value


class LogSettings(_Table):
    """The audit log."""

    origin: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s+]+$")]
    """The log's name for ever, as in `hub.example/log` (C2SP tlog-checkpoint)."""
    key: str = "log"
    """Name of the log's private key among the custody's secrets."""
    every_seconds: Annotated[float, Field(gt=0, le=30)] = 0.5
    """The sequencer's pace; shorter than the 60 s after which the hub stops accepting."""
    witness_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How often a head is chosen that all witnesses are asked to sign."""
    witnesses_needed: Annotated[int, Field(ge=0)] | None = None
    """How many countries (and independent witnesses) must sign; default: more than half."""
    witnesses: tuple[IndependentWitness, ...] = ()


class HubSettings(BaseSettings):
    """One hub."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    hub: ParticipantId
    """The hub's id in the directory, as in `hub.main`."""
    database: str
    """`sqlite+aiosqlite:////path` or `postgresql+asyncpg://user@host/name`, without a password."""
    database_password_file: Path | None = None
    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = None
    """Scheme and host that gateways use, when a proxy stands before the hub: it is signed."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port | None = None
    """None serves no metrics; 0 takes a free port."""
    custody: str
    """Where the hub's private keys are: `file:`, `systemd-credential:` or `pkcs11:` (see
    `keys.custody`)."""
    passphrase_file: Path
    """Of the key file, or the PIN; also `systemd-credential:NAME`."""
    suite: Literal[1, 2] = 1
    """Of the hub's own signatures."""
    directory: Path
    """The TUF repository (`metadata/`, `targets/`) that the hub serves and reads."""
    directory_root: Path
    """The root metadata that this hub trusts first."""
    directory_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often the hub looks whether the repository changed."""
    state: Path
    """A folder of the hub's own: directory cache, stop flags."""
    log: LogSettings
    amqp: AmqpSettings | None = None
    limits: LimitSettings = LimitSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    retention: RetentionSettings = RetentionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what was written down: a variable left in a shell must not change a hub."""
        return (init_settings,)

    def database_url(self) -> str:
        """The URL with the password from its file."""
        if self.database_password_file is None:
            return self.database
        password = self.database_password_file.read_text().strip()
        scheme, _, rest = self.database.partition("://")
        user, _, place = rest.partition("@")
        return f"{scheme}://{user}:{quote(password, safe='')}@{place}"


class SettingsError(ValueError):
    """The settings file cannot be used; says which key and why, never a value."""


_PATHS = ("database_password_file", "passphrase_file", "directory", "directory_root", "state")


def load_settings(path: Path) -> HubSettings:
    """Read a hub's settings file.

    Raises:
        SettingsError: Unreadable, not TOML, an unknown key, or a value that breaks its rule.
    """
    try:
        with path.open("rb") as handle:
            values: dict[str, Any] = tomllib.load(handle)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path.name}: {type(error).__name__}") from error
    folder = path.resolve().parent
    for key in _PATHS:
        if isinstance(values.get(key), str):
            values[key] = folder / values[key]
    amqp = values.get("amqp")
    if isinstance(amqp, dict):
        for key in ("password_file", "secret_file", "ca_file"):
            if isinstance(amqp.get(key), str):
                amqp[key] = folder / amqp[key]
    if isinstance(values.get("custody"), str):
        values["custody"] = _custody_beside(values["custody"], folder)
    if isinstance(values.get("database"), str):
        values["database"] = _sqlite_beside(values["database"], folder)
    try:
        return HubSettings(**values)
    except ValidationError as error:
        found = "; ".join(
            ".".join(str(step) for step in item["loc"]) + ": " + item["msg"]
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"{path.name}: {found}") from None


def _custody_beside(uri: str, folder: Path) -> str:
    scheme, _, rest = uri.partition(":")
    if scheme == "file" and rest and not rest.startswith("/"):
        return f"file:{folder / rest}"
    return uri


def _sqlite_beside(url: str, folder: Path) -> str:
    start = "sqlite+aiosqlite:///"
    if url.startswith(start) and not url.startswith(start + "/"):
        return f"{start}{folder / url.removeprefix(start)}"
    return url
