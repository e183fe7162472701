"""TLS to one endpoint: whose certificates are believed, and which of ours shows who calls.

The files are looked at before each request and read when one has changed: certificates that live
for days are renewed beside a running gateway. TLS 1.2 or later (RFC 8446, RFC 5246).
"""

from __future__ import annotations

import ssl
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import CaseSystemUnavailable

_State = tuple[tuple[int, int, int], ...]


@dataclass
class Tls:
    """The context of the next request. Safe to use from several threads."""

    ca: Path | None = None
    """Authorities to believe; None: the system's."""
    certificate: Path | None = None
    """Ours, with its chain; None: the endpoint does not ask for one."""
    key: Path | None = None
    """Its private key, for the owner alone."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _made: tuple[_State, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """As the files say now.

        Raises:
            CaseSystemUnavailable: One cannot be read, or is not what it should be.
        """
        with self._lock:
            state = tuple(map(_state, filter(None, (self.ca, self.certificate, self.key))))
            if self._made is None or self._made[0] != state:
                self._made = (state, self._read())
            return self._made[1]

    def _read(self) -> ssl.SSLContext:
        if self.key is not None and self.key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CaseSystemUnavailable("the key file is open to others; chmod 600")
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            if self.certificate is not None:
                # A key with a passphrase would be asked for on the terminal; none is believed.
                context.load_cert_chain(self.certificate, self.key, password=b"")
        except (OSError, ssl.SSLError):
            raise CaseSystemUnavailable("a certificate or key that is none") from None
        return context


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise CaseSystemUnavailable(f"a certificate file: errno {error.errno}") from None
    return found.st_mtime_ns, found.st_size, found.st_mode
