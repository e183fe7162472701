"""A stand-in for a foreign system, on a port of this machine: HTTP in threads, answers from a function."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

Json: TypeAlias = Any
Given: TypeAlias = tuple[int, Mapping[str, str], Json]
"""Status, further headers, body: JSON, a text as it is, or None."""
Answers: TypeAlias = Callable[[str, str, dict[str, str], Json], Given]
"""(method, target, headers by lower-case name, body); a form comes as {"form": [(name, value)]}."""


@contextmanager
def stand_in(answers: Answers, *, content_type: str = "application/json") -> Iterator[str]:
    """Serve as long as it takes; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for an answer: else the client's TCP waits 40 ms for the second

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("content-type") == "application/x-www-form-urlencoded":
                body: Json = {"form": parse_qsl(content.decode(), keep_blank_values=True)}
            else:
                body = json.loads(content) if content else None
            status, extra, answer = answers(self.command, self.path, headers, body)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            given = b"" if answer is None else text.encode()
            self.send_response(status)
            for name, value in {"content-type": content_type, **extra}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(given)))
            self.end_headers()
            self.wfile.write(given)
            self.wfile.flush()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A killed client is what the tests are about."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()
