"""A participant's home on this machine: who it is, its keys, its hub.

The home of a gateway, or of an auditor who runs none: `gateway.toml`, the encrypted keys, the
passphrase file, the trusted root of the directory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from adapters.base import Tools
from broker.cli.homes.passphrase import read_passphrase
from broker.cli.terminal.output import current
from broker.client.hub import HubClient
from broker.clock import SystemClock
from broker.gateway.lending import lend
from broker.gateway.settings import Settings, load_settings
from keys.custody import Custody, NewCustody, open_custody
from keys.custody.credentials import CREDENTIAL
from keys.jws import Signer
from keys.trust import DirectoryClient
from schemas.directory import TrustedDirectory
from schemas.errors import HubUnreachable


@dataclass(frozen=True, slots=True)
class Identity:
    """Opened with its passphrase; able to sign."""

    settings: Settings
    custody: Custody

    @property
    def participant(self) -> str:
        return self.settings.participant

    def signer(self) -> Signer:
        """The newest signing key of the participant's suite."""
        return self.custody.signer_for(self.settings.suite, SystemClock().now())

    def hub(self) -> HubClient:
        """The participant's hub; use it with `async with`."""
        hub = self.settings.hub
        return HubClient(
            hub.url, signer=self.signer(), clock=SystemClock(), timeout=hub.timeout, ca=hub.ca
        )

    def directory(self) -> TrustedDirectory:
        """Fetch and verify the trust directory, from the trusted root of this home."""
        return trusted_directory(self.settings)


def trusted_directory(settings: Settings) -> TrustedDirectory:
    """The trust directory as one home sees it now; needs no key.

    Raises:
        HubUnreachable: It cannot be fetched.
        DirectoryRefused: It does not verify.
    """
    return _client(settings).refresh(SystemClock().now())


def known_directory(settings: Settings) -> TrustedDirectory:
    """The same for whoever only reads: where nobody can be asked, as it was verified last, as long
    as it is still good. It is said that it is not of today.

    Raises:
        HubUnreachable: Nor is there one that is still good.
        DirectoryRefused: It does not verify.
    """
    client = _client(settings)
    try:
        return client.refresh(SystemClock().now())
    except HubUnreachable:
        kept = client.cached(SystemClock().now())
        current().say(
            "The directory cannot be asked for now; this is what was verified last, "
            f"version {kept.version}, good until {kept.ends_at.date()}."
        )
        return kept


def _client(settings: Settings) -> DirectoryClient:
    return DirectoryClient(
        settings.directory.url,
        settings.path(settings.directory.cache),
        settings.path(settings.directory.root).read_bytes(),
    )


def open_identity(home: Path, passphrase_file: str | None = None) -> Identity:
    """Open a home. Without a given source the passphrase comes from the file the settings name.

    Raises:
        CustodyLocked: Wrong passphrase or no keys.
        SchemaRefused: The settings are wrong.
    """
    settings = load_settings(home)
    source = passphrase_file
    own = settings.path(settings.keys.passphrase_file)
    if source is None and own.name.startswith(CREDENTIAL):
        source = own.name
    elif source is None and own.is_file():
        source = str(own)
    passphrase = read_passphrase(source)
    return Identity(settings, open_custody(settings.custody_uri, passphrase))


def custody_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the new keys are made, if not in a file of the new home."""
    pin = click.option(
        "--pin-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="With --custody: the module's PIN, in a file of mode 0600 that stays where it is.",
    )
    uri = click.option(
        "--custody",
        metavar="URI",
        help="Make the keys in a hardware module: pkcs11:token=...?module-path=... (suite 2).",
    )
    return uri(pin(command))


def chosen_custody(uri: str | None, pin_file: Path | None) -> NewCustody | None:
    """What `custody_options` chose.

    Raises:
        click.UsageError: One without the other, or a PIN's file that others may read.
    """
    if uri is None and pin_file is None:
        return None
    if uri is None or pin_file is None:
        raise click.UsageError("--custody and --pin-file go together")
    if pin_file.stat().st_mode & 0o077:
        raise click.UsageError("the PIN's file is open to others; chmod 600")
    return NewCustody(uri, pin_file)


def lent_tools(home: Path, passphrase_file: str | None = None) -> Tools:
    """What the gateway of a home lends its adapter, for a command that opens the adapter itself.

    Raises:
        CustodyLocked, SchemaRefused: See `open_identity`.
    """
    identity = open_identity(home, passphrase_file)
    return lend(identity.settings, identity.custody, identity.signer, SystemClock())


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--home`, the folder with `gateway.toml`."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        envvar="REFERRAL_HOME",
        default=".",
        show_default="REFERRAL_HOME or here",
        help="The participant's home folder.",
    )(command)


def passphrase_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--passphrase-file`."""
    return click.option(
        "--passphrase-file",
        metavar="FILE",
        help="Where the passphrase is; - for standard input. Asked for otherwise.",
    )(command)
