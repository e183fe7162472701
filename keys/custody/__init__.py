"""Where private keys live, by URI. Nothing is ever read from the environment but a folder's name.

file:keys.json               an encrypted key file (Argon2id), `keys.custody.file`
systemd-credential:keys      the same file, handed over by systemd, read only
pkcs11:token=…?module-path=… a hardware module (RFC 7512), `keys.custody.hardware`; extra `[hsm]`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keys.custody.base import Custody
from keys.custody.credentials import CREDENTIAL, credential
from keys.custody.file import (
    FILE,
    STRONG,
    FileCustody,
    KdfCost,
    create_custody,
    open_file,
)
from keys.lifecycle import STANDARD_VALIDITY, new_keys
from schemas.directory import Compartment, PublishedKey
from schemas.errors import Conflict, CustodyLocked, NotPermitted

if TYPE_CHECKING:
    from keys.custody.hardware import HardwareCustody

__all__ = [
    "STRONG",
    "Custody",
    "KdfCost",
    "NewCustody",
    "create_custody",
    "credential",
    "new_custody",
    "open_custody",
]


HARDWARE = "pkcs11:"


@dataclass(frozen=True, slots=True)
class NewCustody:
    """Where somebody wants new keys to live, other than in a file of their home."""

    uri: str
    pin_file: Path
    """The module's PIN; it stays where it is."""


def new_custody(
    uri: str,
    passphrase: bytes,
    *,
    compartments: Sequence[Compartment],
    suites: Sequence[int],
    secrets: Mapping[str, bytes],
    now: datetime,
    cost: KdfCost = STRONG,
) -> tuple[PublishedKey, ...]:
    """Make a participant's first keys where they are to live.

    Args:
        uri: `file:` or `pkcs11:`. In a hardware module the keys are made inside.

    Returns:
        The public halves, for the directory.

    Raises:
        Conflict: There are keys already. Nothing was changed.
        NotPermitted: The custody makes no keys of these suites, or makes none at all.
        CustodyLocked: No such module or token, or a wrong PIN.
    """
    if uri.startswith(FILE):
        private, published = new_keys(compartments=compartments, suites=suites, now=now)
        create_custody(uri, replace(private, secrets=dict(secrets)), passphrase, cost=cost)
        return published
    if not uri.startswith(HARDWARE):
        raise NotPermitted("keys are made in a custody of file: or pkcs11:")
    if tuple(suites) != (2,):
        raise NotPermitted("a hardware module has keys of suite 2 only: choose --suite 2")
    custody = _hardware(uri, passphrase)
    if custody.keys:
        raise Conflict("the token holds keys of a participant already")
    made = custody.generate(compartments=tuple(compartments), now=now, validity=STANDARD_VALIDITY)
    for name, value in secrets.items():
        custody.put_secret(name, value)
    return made


def open_custody(uri: str, passphrase: bytes) -> Custody:
    """Open a custody.

    Args:
        uri: One of the above; a relative path is relative to where the process runs.
        passphrase: Of the key file, or the module's PIN; a line feed at its end does not count.

    Raises:
        CustodyLocked: Not there, a wrong passphrase, changed by somebody, or open to others.
        MalformedJson: Not a key file.
    """
    if uri.startswith(FILE):
        return open_file(uri, passphrase)
    if uri.startswith(CREDENTIAL):
        return FileCustody.read_only(credential(uri), passphrase)
    if uri.startswith(HARDWARE):
        return _hardware(uri, passphrase)
    raise CustodyLocked("a custody URI begins with file:, systemd-credential: or pkcs11:")


def _hardware(uri: str, passphrase: bytes) -> HardwareCustody:
    try:
        from keys.custody.hardware import open_hardware
    except ImportError:
        raise CustodyLocked("pkcs11: needs the extra [hsm]") from None
    return open_hardware(uri, passphrase)
