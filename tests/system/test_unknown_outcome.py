"""A hub that dies between its commit and its answer: nobody knows, it is said so, and then asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from broker.cli.demo.processes import until
from broker.clock import SystemClock
from tests.support.processes import Running, running


class Line:
    """The sender's way to its hub, in a thread of its own: every byte goes through unchanged, until
    `kill` is set; then the hub dies when it begins to answer an envelope, and the answer is lost.
    """

    def __init__(self) -> None:
        self.hub = ("127.0.0.1", 0)
        self.kill: Any = None
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._carry, "127.0.0.1", 0)
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
        self._loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_hub, to_hub = await asyncio.open_connection(*self.hub)
        except OSError:
            writer.close()
            return
        asked = bytearray()

        async def there() -> None:
            while data := await reader.read(65536):
                asked[:] = data if data.startswith((b"GET ", b"POST ", b"PUT ")) else asked
                to_hub.write(data)
            to_hub.close()

        async def back() -> None:
            while data := await from_hub.read(65536):
                if self.kill is not None and asked.startswith(b"POST /envelopes "):
                    self.kill()
                    self.kill = None
                    break
                writer.write(data)
            writer.close()

        going = asyncio.ensure_future(there())
        with suppress(OSError):
            await back()
        going.cancel()
        to_hub.close()
        with suppress(OSError, asyncio.CancelledError):
            await going


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.fixture
def net(tmp_path: Path, line: Line) -> Iterator[Running]:
    def before(made: Running) -> None:
        line.hub = ("127.0.0.1", urlsplit(made.network.url).port or 0)
        file = made.home("it.nrm") / "gateway.toml"
        text = file.read_text().replace(f'url = "{made.network.url}"', f'url = "{line.url}"')
        assert line.url in text
        file.write_text(text + '\n[send]\nhard_stop = "PT1S"\n')

    with running(tmp_path / "made", before=before) as made:
        yield made


def refer(net: Running, grant: str) -> str:
    draft = {
        "type": "referral.request",
        "to": "al.nrm",
        "case_ref": "X-1",
        "grant": grant,
        "purpose": "protection",
        "sections": {"case_admin": {"status": "Active", "case_owner": "Invented worker"}},
        "body": {"services": ["safe_house"]},
    }
    return str(net.network.worker("it.nrm").post("/v1/messages", draft)["id"])


def test_a_hub_killed_between_commit_and_answer_leaves_an_unknown_outcome_until_it_is_asked(
    net: Running, line: Line
) -> None:
    api = net.network.worker("it.nrm")
    consent = {
        "to": "al.nrm",
        "case_ref": "X-1",
        "scopes": [{"purpose": "protection", "section": "case_admin"}],
        "principal": f"p-{uuid4()}",
        "valid_until": str((SystemClock().now() + timedelta(days=30)).date()),
        "language": "sqi",
        "notice": "n-1",
    }
    grant = str(api.post("/v1/consents", consent)["grant"])

    def state(message: str) -> str:
        return str(api.get(f"/v1/messages/{message}")["state"])

    first = refer(net, grant)
    until("a message goes through the line", lambda: state(first) == "filed")

    line.kill = net.hub.kill
    taken = refer(net, grant)
    until("the hub is dead", lambda: not net.hub.running)
    never_came = refer(net, grant)
    both = {taken, never_came}
    until("we gave up", lambda: {state(one) for one in both} == {"unknown"})
    listed = api.items("/v1/messages", "messages", box="outbox", state="unknown")
    counted = api.get("/v1/recount")["outbox"]
    failed = api.items("/v1/messages", "messages", box="outbox", state="failed")

    net.hub.start()
    net.hub.wait_ready()
    until("the hub was asked", lambda: "unknown" not in {state(one) for one in both})
    until("what it had is filed", lambda: state(taken) == "filed")

    assert {one["id"] for one in listed} == both
    assert counted["unknown"] == 2
    assert failed == []
    assert state(never_came) == "failed"
    inbox = net.network.worker("al.nrm").items("/v1/messages", "messages", box="inbox")
    arrived = [one["id"] for one in inbox if one["type"] == "referral.request"]
    assert sorted(arrived) == sorted((first, taken))
