"""A real SFTP server on loopback, over a folder, whose connection can break at any step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

STEPS = ("open", "write", "fsync", "close", "rename", "posix_rename", "remove")


@dataclass
class Drop:
    """One server: where it is, whom it lets in, and when it breaks off."""

    folder: Path
    key: Path
    host_key: Path
    port: int = 0
    steps: list[str] = field(default_factory=list)
    """What it was asked to change, in order."""
    break_at: int | None = None
    """The step, counting from now, at which the connection breaks."""
    broken: list[str] = field(default_factory=list)
    """The steps at which it broke."""
    offsets: list[int] = field(default_factory=list)
    """Where each write that was done began."""
    after: bool = False
    """It breaks once the step is done, instead of before."""

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "italy",
            "key_file": str(self.key),
            "host_key_file": str(self.host_key),
            "root": "/",
            "sealed": False,
            **more,
        }

    def breaks_now(self) -> bool:
        if self.break_at is None:
            return False
        self.break_at -= 1
        if self.break_at >= 0:
            return False
        self.break_at = None
        return True


def _stepwise(name: str) -> Any:
    def step(self: Any, *given: Any) -> Any:
        drop: Drop = self.drop
        drop.steps.append(name)
        if breaks := drop.breaks_now():
            drop.broken.append(name)
        if breaks and not drop.after:
            self.connection.abort()
            if name == "close":  # the system closes what a dead server had open
                super(_Server, self).close(*given)
            raise asyncssh.SFTPConnectionLost("broken off")
        if name == "write":
            drop.offsets.append(given[1])
        try:
            return getattr(super(_Server, self), name)(*given)
        finally:
            if breaks:
                self.connection.abort()

    return step


class _Server(asyncssh.SFTPServer):
    drop: Drop

    open, write, fsync, close = map(_stepwise, STEPS[:4])
    rename, posix_rename, remove = map(_stepwise, STEPS[4:])


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A new key: the private file, for its owner alone, and the public one."""
    folder.mkdir(parents=True, exist_ok=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / name)
    (folder / name).chmod(0o600)
    key.write_public_key(folder / f"{name}.pub")
    return folder / name, folder / f"{name}.pub"


@contextmanager
def dropping(folder: Path) -> Iterator[Drop]:
    """A running server over `folder / "served"`."""
    served = folder / "served"
    served.mkdir()
    host, host_public = write_keys(folder / "keys", "host")
    ours, ours_public = write_keys(folder / "keys", "ours")
    drop = Drop(served, ours, host_public)

    connections: set[asyncssh.SSHServerConnection] = set()

    def serve(channel: Any) -> _Server:
        connections.add(channel.get_connection())
        server = _Server(channel, chroot=str(served).encode())
        server.drop = drop
        return server

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(host)],
            authorized_client_keys=str(ours_public),
            sftp_factory=serve,
            config=None,
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        for connection in connections:
            connection.abort()
            await connection.wait_closed()
        await acceptor.wait_closed()

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    drop.port = acceptor.get_port()
    try:
        yield drop
    finally:
        asyncio.run_coroutine_threadsafe(end(acceptor), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
