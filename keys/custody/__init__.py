"""Where private keys live, by URI. Nothing is ever read from the environment but a folder's name.

file:keys.json               an encrypted key file (Argon2id), `keys.custody.file`
systemd-credential:keys      the same file, handed over by systemd, read only
pkcs11:token=…?module-path=… a hardware module (RFC 7512), `keys.custody.hardware`; extra `[hsm]`
"""

from __future__ import annotations

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
from schemas.errors import CustodyLocked

__all__ = ["STRONG", "Custody", "KdfCost", "create_custody", "credential", "open_custody"]


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
    if uri.startswith("pkcs11:"):
        try:
            from keys.custody.hardware import open_hardware
        except ImportError:
            raise CustodyLocked("pkcs11: needs the extra [hsm]") from None
        return open_hardware(uri, passphrase)
    raise CustodyLocked("a custody URI begins with file:, systemd-credential: or pkcs11:")
