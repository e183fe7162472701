"""A way to a server that can fall silent: connections stay open and nothing comes through any more."""

from __future__ import annotations

import contextlib
import socket
import threading


class Silence:
    """Passes bytes on, on loopback, until it falls silent; what connects afterwards passes again."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._open: list[socket.socket] = []
        self._silent: set[socket.socket] = set()
        threading.Thread(target=self._let_in, daemon=True).start()

    def fall(self) -> None:
        """Forget all connections that there are, and tell nobody."""
        self._silent.update(self._open)

    def close(self) -> None:
        """Cut everything."""
        for one in (self._door, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._silent:
                    sink.sendall(data)
        if source not in self._silent:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)
