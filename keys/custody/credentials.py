"""What systemd hands to a service and to nobody else: `LoadCredentialEncrypted=` (systemd.exec(5)).

The folder's name is the one thing that is read from the environment; what is in it never is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from schemas.errors import CustodyLocked

CREDENTIAL = "systemd-credential:"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def credential(source: str | Path) -> Path:
    """The file that a setting names: `systemd-credential:NAME`, or any path as it is.

    Raises:
        CustodyLocked: Not a credential's name, or systemd gave none to this process.
    """
    name = Path(source).name if isinstance(source, Path) else source
    if not name.startswith(CREDENTIAL):
        return Path(source)
    name = name.removeprefix(CREDENTIAL)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not _NAME.fullmatch(name) or not folder:
        raise CustodyLocked("no such systemd credential")
    return Path(folder) / name
