"""A hub as a real process, started and ended by its own id."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import httpx2

SETTINGS = """
hub = "hub.main"
database = "{database}"
port = {port}
custody = "file:hub.json"
passphrase_file = "passphrase"
directory = "repository"
directory_root = "root.json"
state = "state"

[limits]
lease_seconds = 1.0

[log]
origin = "hub.test/log"
"""
START = "from broker.hub.app import run; from broker.hub.settings import load_settings; " + (
    "import sys, pathlib; run(load_settings(pathlib.Path(sys.argv[1])))"
)


class HubProcess:
    """One hub process; started and killed by its own id."""

    def __init__(self, folder: Path, database: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.settings = folder / f"hub-{self.port}.toml"
        self.settings.write_text(SETTINGS.format(database=database, port=self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, str(self.settings), stderr=asyncio.subprocess.DEVNULL
        )
        async with httpx2.AsyncClient() as http, asyncio.timeout(30):
            while True:
                try:
                    if (await http.get(self.url + "/readyz")).status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        assert self._process is not None
        os.kill(self._process.pid, how)
        async with asyncio.timeout(20):
            return await self._process.wait()
