"""Settings of one gateway: `gateway.toml` in its home, nothing else.

Unknown keys are errors. Secrets are paths to files, never values. Paths are relative to the home.
"""

from __future__ import annotations

import ipaddress
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.base import ParticipantId, paths_of
from schemas.errors import Refused, SchemaRefused

FILE = "gateway.toml"
_ADDRESS = r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"


class _Settings(BaseSettings):
    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """One source: what the file says. An environment that leaks in would be a second truth."""
        return (init_settings,)


class HubSettings(_Settings):
    """Which hub, and who it is."""

    url: str
    """Base URL, as `https://hub.example`."""
    id: ParticipantId = "hub.main"
    """The hub's entry in the directory: only its evidence counts as the hub's."""
    ca: Path | None = None
    """Certificates to trust for the hub; default: the system's."""
    timeout: timedelta = timedelta(seconds=10)
    """Per request. Longer than the hub's group commit under load."""


class DirectorySettings(_Settings):
    """Where the trust directory comes from."""

    url: str
    """Base URL or folder with `metadata/` and `targets/`."""
    root: Path = Path("root.json")
    """The trusted root, installed by hand."""
    cache: Path = Path("directory")
    every: timedelta = timedelta(minutes=5)
    revocations_every: timedelta = timedelta(seconds=5)
    """How often the hub is asked for keys that are in other hands."""


class KeySettings(_Settings):
    """Where the private keys are."""

    custody: str = "file:keys.json"
    """`file:`, `systemd-credential:` or `pkcs11:` (see `keys.custody`)."""
    passphrase_file: Path = Path("passphrase")
    """Of the key file, or the PIN; also `systemd-credential:NAME`."""


class ApiSettings(_Settings):
    """The local REST API."""

    host: str = "127.0.0.1"
    """Beyond loopback only with TLS."""
    port: int = Field(default=8420, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Accepted `Host` names: stops a web page that points a name at this machine."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class ChannelSettings(_Settings):
    """How messages arrive."""

    kind: Literal["mailbox", "rabbitmq"] = "mailbox"
    ca: Path | None = None
    page: int = Field(default=100, ge=1, le=500)
    """Deliveries taken at once, and messages in one transaction."""
    wait: timedelta = timedelta(seconds=20)
    """How long a mailbox request is held; at most 25 s."""


class InboundSettings(_Settings):
    """Decisions that the case system brings by itself (`POST /v1/case-system/news`)."""

    keys: tuple[Path, ...] = Field(min_length=1)
    """Public JWK files of the system: Ed25519 or P-256."""
    url: str = Field(pattern=r"^https?://[^/?#]+$")
    """Scheme, name and port by which the system calls this gateway: its signature covers them."""


class AdapterSettings(_Settings):
    """Which case system."""

    name: str = "files"
    country: str | None = None
    """Country profile of `adapters/countries/`."""
    folder: Path = Path("htcds")
    """Of the files adapter, and where rows that became no message are kept."""
    settings: dict[str, Any] = {}
    """The adapter's own table, as its page describes it."""
    answers: Literal["send", "ask"] = "send"
    """What becomes of a decision made in the case system: `send` tells the partner at once, `ask`
    waits until a worker of the gateway confirms it."""
    poll_every: timedelta = timedelta(seconds=30)
    """How often the case system is asked for decisions, and told of partners'."""
    inbound: InboundSettings | None = None
    """None: the system is asked, and cannot bring anything."""
    wake_file: Path | None = None
    """A file (mode 0600) with the key, of 32 characters at least, under which the system may say
    that something has changed (`POST /v1/case-system/changed`). None: it is asked in its time."""

    @property
    def is_folder(self) -> bool:
        """True if the case system is a folder of this machine, which does not come back by itself."""
        return self.name == "files"


class SendSettings(_Settings):
    """The outbox."""

    first_retry: timedelta = timedelta(seconds=1)
    longest_retry: timedelta = timedelta(minutes=5)
    hard_stop: timedelta = timedelta(days=3)
    """After this long without the hub's word a message is `failed`, with an alarm; replayable."""
    life: timedelta = timedelta(days=30)
    """`expires_at` of what is sent; at most 90 days."""
    parallel: int = Field(default=32, ge=1, le=256)


class ReceiveSettings(_Settings):
    """The inbox."""

    consent_fresh: timedelta = timedelta(minutes=10)
    """Nothing is unsealed under a grant whose status is older than this, safety excepted."""
    filing_retry: timedelta = timedelta(seconds=2)
    longest_filing_retry: timedelta = timedelta(minutes=10)
    overtaken: timedelta = timedelta(minutes=1)
    """How long a message waits for the one that opens its thread and that it has overtaken."""


class RetentionSettings(_Settings):
    """What the gateway forgets when, by class of data. Only what is final is ever touched."""

    payload: timedelta = timedelta(days=7)
    """The sealed bytes of what we sent, after they expired: until then they may be sent again."""
    addressing: timedelta = timedelta(days=3650)
    """Who was written to, and who wrote, when: of messages whose content is gone."""
    evidence: timedelta = timedelta(days=3650)
    """What others stated about our messages, and we about theirs."""
    technical: timedelta = timedelta(days=90)
    """Quarantine, and alarms that went out."""
    every: timedelta = timedelta(hours=1)


class VaultSettings(_Settings):
    """How long a backup of this gateway opens."""

    rotate_every: timedelta = timedelta(days=30)
    """How often a new epoch begins: what is erased lies in backups no longer than this and the
    next together."""
    old_epoch_kept: timedelta = timedelta(days=7)
    """For so long after that a backup from before it can still be put back. Make a new one meanwhile."""
    every: timedelta = timedelta(minutes=10)
    """How often keys whose time is over are looked for, epochs' and our own."""


class DeadlineSettings(_Settings):
    """When a missing receipt becomes an alarm, by urgency; longer than the retries above. By when an
    answer is due stands in the catalogue, and in the agreement with each partner."""

    emergency: timedelta = timedelta(minutes=15)
    urgent: timedelta = timedelta(hours=4)
    normal: timedelta = timedelta(hours=24)
    withdrawal: timedelta = timedelta(hours=24)
    filing: timedelta = timedelta(hours=24)
    """From *delivered* to *filed*, for what belongs into the partner's case system."""
    attestation: timedelta = timedelta(hours=72)
    """From the word that a copy's erasure is not known to the alarm that it still is not."""
    deputy: str = Field(default="deputy", pattern=r"^[a-z0-9][a-z0-9 -]{0,63}$")
    """The role to which an answer that is overdue goes, whoever had it before. Not a name."""
    every: timedelta = timedelta(seconds=30)


class WitnessSettings(_Settings):
    """How we follow the hub's log."""

    every: timedelta = timedelta(seconds=20)
    """Shorter than the period in which the hub gives everybody the same head (60 s)."""
    failures: int = Field(default=30, ge=1)
    """After so many failed steps in a row there is an alarm: ten minutes, as they stand."""


class MailSettings(_Settings):
    """The mail server: STARTTLS and a verified certificate, or nothing is sent."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    sender: str = Field(pattern=_ADDRESS)
    """Address that mail comes from. Its domain is all that a mail says of us."""
    ca: Path | None = None
    """Certificates to trust; default: the system's."""
    user: str | None = None
    password_file: Path | None = None


class RecipientSettings(_Settings):
    """One worker's address."""

    address: str = Field(pattern=_ADDRESS)
    language: Literal["en", "fr", "ar"] = "en"


class NotifySettings(_Settings):
    """Mail that says that there is something new, and nothing else."""

    mail: MailSettings
    recipients: tuple[RecipientSettings, ...] = Field(min_length=1, max_length=50)
    alarms: tuple[str, ...] = (
        "answer-overdue",
        "arrival-missing",
        "erasure-by-hand",
        "exception-received",
        "filing-failed",
        "outcome-unknown",
        "person-unclear",
        "receipt-missing",
        "recalled",
    )
    """Besides new messages: the codes of the alarms that are told about."""
    shortest: timedelta = timedelta(minutes=5)
    longest: timedelta = timedelta(minutes=30)
    """A mail goes a random while between these after the first event that it is about."""
    most_a_day: int = Field(default=6, ge=1, le=100)
    every: timedelta = timedelta(seconds=30)

    @model_validator(mode="after")
    def _in_order(self) -> NotifySettings:
        if not timedelta() <= self.shortest <= self.longest:
            raise ValueError("shortest, then longest")
        return self


class Settings(_Settings):
    """The whole file."""

    participant: ParticipantId
    home: Path
    """Where the file lies; everything relative is relative to it."""
    suite: Literal[1, 2] = 1
    hub: HubSettings
    directory: DirectorySettings
    keys: KeySettings = KeySettings()
    database: str | None = None
    """SQLAlchemy URL; default: `gateway.sqlite3` in the home."""
    api: ApiSettings = ApiSettings()
    metrics_port: int | None = None
    """Prometheus metrics on loopback; none by default."""
    channel: ChannelSettings = ChannelSettings()
    adapter: AdapterSettings = AdapterSettings()
    send: SendSettings = SendSettings()
    receive: ReceiveSettings = ReceiveSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    witness: WitnessSettings = WitnessSettings()
    vault: VaultSettings = VaultSettings()
    retention: RetentionSettings = RetentionSettings()
    notify: NotifySettings | None = None
    """None: no mail."""

    def path(self, path: Path) -> Path:
        """A path of the settings, absolute."""
        return path if path.is_absolute() else self.home / path

    @property
    def adapter_table(self) -> dict[str, Any]:
        """What the adapter's factory is given."""
        if self.adapter.is_folder:
            return {"root": str(self.path(self.adapter.folder)), **self.adapter.settings}
        return dict(self.adapter.settings)

    @property
    def custody_uri(self) -> str:
        """Where the keys are, with an absolute path."""
        scheme, _, rest = self.keys.custody.partition(":")
        return f"file:{self.path(Path(rest))}" if scheme == "file" else self.keys.custody

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite+aiosqlite:///{self.home / 'gateway.sqlite3'}"


def load_settings(path: Path) -> Settings:
    """Read `gateway.toml`, or the one in a home folder.

    Raises:
        SchemaRefused: Names what is missing, unknown or wrong.
        Refused: The file cannot be read, or would open the API to the network without TLS.
    """
    file = path / FILE if path.is_dir() else path
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{FILE} cannot be read: {type(error).__name__}") from error
    try:
        settings = Settings(**{"home": file.parent.resolve(), **values})
    except ValidationError as error:
        raise SchemaRefused(where=paths_of(error)) from None
    require_safe_address(settings.api)
    return settings


def require_safe_address(api: ApiSettings) -> None:
    """Refuse to offer plaintext beyond this machine.

    Raises:
        Refused: Not loopback, and no TLS certificate and key.
    """
    if is_loopback(api.host) or (api.tls_certificate and api.tls_key):
        return
    raise Refused("the local API beyond loopback needs tls_certificate and tls_key")


def is_loopback(host: str) -> bool:
    """True for `localhost` and loopback addresses."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
