"""The demo's processes: real ones, started, watched, killed and ended by their process id.

Each child is `python -m broker.cli …` in a session of its own, so that a Ctrl-C at the terminal
reaches us alone and we end them in order. Their standard error goes to a file each.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from broker.cli.fetch import get

READY_SECONDS = 60.0
END_SECONDS = 8.0
TAIL_LINES = 12
Found = TypeVar("Found")


class StoryFailed(Exception):
    """Something that the story promises did not happen; the text says what and where to look."""


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(
    what: str, look: Callable[[], Found | None], *, seconds: float = 30.0, pause: float = 0.05
) -> Found:
    """Look again and again until there is something, and return it.

    Raises:
        StoryFailed: `what` did not come about within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise StoryFailed(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(pause)


class Child:
    """One process of the network."""

    def __init__(self, name: str, arguments: list[str], *, ready_url: str, log: Path) -> None:
        self.name = name
        self.arguments = arguments
        self.ready_url = ready_url
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *more: str) -> None:
        """Start it; `wait_ready` tells when it works."""
        if self.running:
            raise StoryFailed(f"{self.name} runs already")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        # Children must find the same code, also from a source tree that is not installed.
        paths = [path for path in sys.path if path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "broker.cli", *self.arguments, *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it says that it works.

        Raises:
            StoryFailed: It ended, or is not ready in time; with the last lines that it wrote.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise StoryFailed(f"{self.name} ended while starting\n{self.tail()}")
            try:
                get(self.ready_url, seconds=2)
            except OSError:  # not there yet, or there and not ready (an HTTP error is one too)
                time.sleep(0.05)
            else:
                return
        raise StoryFailed(f"{self.name} is not ready after {seconds:.0f} s\n{self.tail()}")

    def kill(self) -> None:
        """End it as a power cut would: signal 9, nothing flushed, nothing said."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """Ask it to end, wait a while, then insist."""
        if self._process is None or not self.running:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  {self.name}| {line}" for line in lines[-TAIL_LINES:])


def end_by_id(pid: int, *, expected: tuple[str, ...]) -> bool:
    """End a process of an earlier demo; a number that means another program by now is left alone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return False
    if not any(name in command for name in expected):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)
    return True


def run_cli(*arguments: str, seconds: float = 30.0) -> str:
    """Run one `referral` command to its end, as a person would, and return what it printed.

    Raises:
        StoryFailed: It ended with another code than 0.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise StoryFailed(
            f"`referral {' '.join(arguments)}` ended with {done.returncode}\n{done.stderr.strip()}"
        )
    return done.stdout
