"""How many connections there are to a hub, and what becomes of one that was closed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from broker.client.transport import KeptConnections
from deploy.dev.certificates import Certificates


@dataclass
class Server:
    """Answers every request without a body; counts connections."""

    port: int = 0
    accepted: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self.answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    made.answer.set()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    for writer in made.writers:
        writer.close()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    url = f"http://127.0.0.1:{server.port}"
    async with httpx2.AsyncClient(transport=KeptConnections(), base_url=url) as made:
        yield made


async def test_one_request_after_the_other_uses_one_connection(
    server: Server, client: httpx2.AsyncClient
) -> None:
    for _ in range(5):
        assert (await client.get("/")).text == "ok"

    assert server.accepted == 1


async def test_requests_at_once_have_a_connection_each(
    server: Server, client: httpx2.AsyncClient
) -> None:
    server.answer.clear()
    waiting = [asyncio.create_task(client.get("/")) for _ in range(8)]
    while server.accepted < 8:  # noqa: ASYNC110 (the server has no event for it)
        await asyncio.sleep(0.01)
    server.answer.set()
    assert {answer.text for answer in await asyncio.gather(*waiting)} == {"ok"}

    for _ in range(8):
        await client.get("/")

    assert server.accepted == 8


async def test_a_connection_that_the_other_side_closed_is_replaced(
    server: Server, client: httpx2.AsyncClient
) -> None:
    await client.get("/")
    server.writers[0].close()
    await asyncio.sleep(0.05)

    assert (await client.get("/")).text == "ok"
    assert server.accepted == 2


async def test_a_request_that_is_given_up_leaves_no_connection_behind(
    server: Server, client: httpx2.AsyncClient
) -> None:
    server.answer.clear()
    with pytest.raises(httpx2.ReadTimeout):
        await client.get("/", timeout=0.1)
    server.answer.set()

    assert (await client.get("/")).text == "ok"
    assert server.accepted == 2


async def test_only_a_server_that_our_authority_vouches_for_is_talked_to(tmp_path: Path) -> None:
    ours, other = Certificates.make(tmp_path / "a"), Certificates.make(tmp_path / "b")
    made = Server()
    made.answer.set()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ours.certificate, ours.key)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def ask(believed: Path | None) -> str:
        verify = None if believed is None else ssl.create_default_context(cafile=str(believed))
        async with httpx2.AsyncClient(transport=KeptConnections(verify=verify)) as asking:
            return (await asking.get(url)).text

    assert await ask(ours.ca) == "ok"
    for stranger in (other.ca, None):
        with pytest.raises(httpx2.ConnectError):
            await ask(stranger)
    assert made.accepted == 1
    listening.close()
    for writer in made.writers:
        writer.close()
