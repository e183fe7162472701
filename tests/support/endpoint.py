"""A country's HTTP endpoint as its developer would write it, on a real socket, that can misbehave."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

Misbehave = Callable[["Request"], None]


@dataclass(frozen=True)
class Got:
    """One request as it arrived."""

    act: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Casebook:
    """What the system behind the endpoint holds, and how it behaves next."""

    remembers: bool = True
    """It files once for one business id."""
    cases: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    page: dict[str, Any] = field(default_factory=lambda: {"items": [], "cursor": None})
    got: list[Got] = field(default_factory=list)
    before: list[Misbehave] = field(default_factory=list)
    """Done instead of acting, one for each request to come."""
    after: list[Misbehave] = field(default_factory=list)
    """Done instead of answering, once the system has acted."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def act(self, act: str, given: dict[str, Any]) -> Any:
        with self.lock:
            return getattr(self, f"_{act}")(given)

    def _check(self, _given: dict[str, Any]) -> Any:
        return {}

    def _find(self, given: dict[str, Any]) -> Any:
        for reference, (business_id, _) in self.cases.items():
            if business_id == given["business_id"]:
                return {"outcome": "filed", "reference": reference, "already": True}
        return None

    def _file(self, given: dict[str, Any]) -> Any:
        there = self._find(given) if self.remembers else None
        if there is not None:
            same = self.cases[there["reference"]][1] == given["case"]
            return there if same else {"outcome": "declined", "code": "id-conflict"}
        reference = uuid4().hex
        self.cases[reference] = (given["business_id"], given["case"])
        return {"outcome": "filed", "reference": reference}

    def _read(self, given: dict[str, Any]) -> Any:
        found = self.cases.get(given["reference"])
        return None if found is None else found[1]

    def _update(self, given: dict[str, Any]) -> Any:
        reference = given["reference"]
        if reference not in self.cases:
            return {"outcome": "declined", "code": "not-found"}
        self.cases[reference] = (self.cases[reference][0], given["case"])
        return {"outcome": "filed", "reference": reference, "already": True}

    def _erase(self, given: dict[str, Any]) -> Any:
        return {
            "outcome": "erased",
            "existed": self.cases.pop(given["reference"], None) is not None,
        }

    def _poll(self, _given: dict[str, Any]) -> Any:
        return self.page

    def _tell(self, given: dict[str, Any]) -> Any:
        self.told.setdefault(given["news"]["id"], given["case_ref"])
        return {"outcome": "declined", "code": "not-found"}


class Request(BaseHTTPRequestHandler):
    """One request; the misbehaviours below write to it what they like."""

    protocol_version = "HTTP/1.1"
    book: Casebook
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        act = self.path.rpartition("/")[2]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.book.got.append(Got(act, self.path, headers, body))
        self.close_connection = True
        if self.book.before:
            self.book.before.pop(0)(self)
            return
        value = self.book.act(act, json.loads(body))
        if self.book.after:
            self.book.after.pop(0)(self)
            return
        self.answer(200, json.dumps(value).encode())

    def answer(
        self, status: int, body: bytes, media: str = "application/json", **more: str
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(body)))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with suppress(OSError):  # the other side need not read to the end
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.book.got.append(Got("GET", self.path, {}, b""))
        self.answer(200, b"null")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what the tests are about."""


@contextmanager
def serving(book: Casebook, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a running endpoint."""
    handler = type("Handler", (Request,), {"book": book})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/cases"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- how an endpoint misbehaves ------------------------------------------------------------------


def status(
    code: int, body: bytes = b"{}", media: str = "application/json", **more: str
) -> Misbehave:
    return lambda request: request.answer(code, body, media, **more)


def hang_up(request: Request) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def cut_after_headers(request: Request) -> None:
    request.wfile.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    )
    hang_up(request)


def drip(released: threading.Event) -> Misbehave:
    """Headers that never end, a few bytes at a time, until the test is over."""

    def slowly(request: Request) -> None:
        with suppress(OSError):
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not released.wait(0.05):
                request.wfile.write(b"x-more: 1\r\n")

    return slowly


def endless(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    with suppress(OSError):
        while True:
            request.wfile.write(b" " * 65536)
