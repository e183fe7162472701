"""One private server process: start, stop, kill, freeze and start again, with a directory of its own.

Nothing here knows which server it is. A server listens on loopback alone, runs under an account
without rights when we are root, and is ended by the process id that started it; an installed
system service is neither used nor touched.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

LOOPBACK = "127.0.0.1"
INSTALL = (
    "run `deploy/dev/install.sh` (Debian, Ubuntu) or install PostgreSQL 14+ and RabbitMQ 3.10+"
)


class ServiceMissing(RuntimeError):
    """The server's programs are not installed on this machine."""


class ServiceFailed(RuntimeError):
    """The server did not start or stop; the message ends with the tail of its log."""


def free_port() -> int:
    """A TCP port on loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Account:
    """Who runs a server: PostgreSQL refuses root, and RabbitMQ has no need of it."""

    name: str
    uid: int
    gid: int

    @classmethod
    def choose(cls, *names: str) -> Account | None:
        """The first of these accounts when we are root; None means: run it as ourselves."""
        if os.geteuid() != 0:
            return None
        for name in (*names, "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(name, entry.pw_uid, entry.pw_gid)
        raise ServiceMissing(
            f"root needs one of the accounts {', '.join(names)} to run a server as"
        )


class Server:
    """One server process with a directory of its own; start, stop, kill, suspend, any number of times."""

    name = "server"

    def __init__(self, directory: Path, account: Account | None) -> None:
        self.directory = directory
        self.account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._owned: tempfile.TemporaryDirectory[str] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        # The account has to pass through our directory to reach its own below it.
        directory.chmod(0o755)

    # --- what a server says about itself -------------------------------------------------

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}

    def is_ready(self) -> bool:
        raise NotImplementedError

    # --- life ----------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, patience: float = 90) -> None:
        """Start and return when it serves; data of an earlier life is kept.

        Raises:
            ServiceFailed: It ended, or did not serve within `patience` seconds.
        """
        if self.is_running:
            return
        give_up = time.monotonic() + patience
        self._launch()
        while not self.is_ready():
            if not self.is_running:
                if time.monotonic() < give_up and self._may_try_again():
                    time.sleep(0.2)
                    self._launch()
                    continue
                raise ServiceFailed(f"{self.name} ended while starting\n{self.log_tail()}")
            if time.monotonic() > give_up:
                self.kill9()
                raise ServiceFailed(f"{self.name} does not answer\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self, *, patience: float = 30) -> None:
        """Ask it to end in order; kill it when it does not within `patience` seconds."""
        if self._process is None:
            return
        if self.is_running:
            self.resume()
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill9()
        self._process = None

    def kill9(self) -> None:
        """End it as a power cut would: SIGKILL to the server and to its children."""
        if self._process is None:
            return
        family = [self._process.pid, *_descendants(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) it and start it again with the same data and ports."""
        if kill:
            self.kill9()
        else:
            self.stop()
        self.start()

    def suspend(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal_family(signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        path = self.directory / "server.log"
        if not path.exists():
            return "(no log)"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Stop it, and remove the directory if it was a temporary one. May be called twice."""
        self.stop()
        if self._owned is not None:
            self._owned.cleanup()
            self._owned = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # --- inside --------------------------------------------------------------------------

    stop_signal = signal.SIGTERM

    def _may_try_again(self) -> bool:
        return False

    def _launch(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: a Ctrl-C in the terminal is ours to turn into an orderly stop.
                start_new_session=True,
                **self.as_account(),
            )

    def as_account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def _signal_family(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for pid in [self._process.pid, *_descendants(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def take_temporary(self, owned: tempfile.TemporaryDirectory[str]) -> Self:
        self._owned = owned
        atexit.register(self.close)
        return self


def temporary(name: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f"referral-{name}-", ignore_cleanup_errors=True)


def _descendants(pid: int) -> list[int]:
    """Children and children's children, where /proc tells (Linux); elsewhere none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = entry.read_text().rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def find_program(program: str, *more: str) -> str:
    """The path of a program, in PATH or where a distribution hides it.

    Raises:
        ServiceMissing: It is nowhere.
    """
    hidden = (
        str(path) for pattern in more for path in sorted(Path("/").glob(pattern), reverse=True)
    )
    for candidate in (*hidden, shutil.which(program) or ""):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise ServiceMissing(f"{program} is not installed: {INSTALL}")
