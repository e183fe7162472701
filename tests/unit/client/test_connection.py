"""What one connection makes of servers that answer early, late, too much, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from broker.client.transport import MAX_HEAD_BYTES, KeptConnections

PIECE = 256 * 1024

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def talking_to(serve: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server that does to each connection what it is told."""

    closed: list[asyncio.Future[None]] = []

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed.append(asyncio.get_running_loop().create_future())
        ours = closed[-1]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ours.set_result(None)

    listening = await asyncio.start_server(guarded, "127.0.0.1", 0, limit=PIECE)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with (
        listening,
        httpx2.AsyncClient(transport=KeptConnections(), base_url=url) as client,
    ):
        yield client
    await asyncio.gather(*closed)


def saying(*answers: bytes) -> Serve:
    """Answers each request of a connection with the next of these, then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return serve


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_without_a_length_is_sent_in_chunks() -> None:
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")

    async with talking_to(serve) as client:
        answer = await client.post("/", content=pieces(b"one", b"", b"sixteen bytes..."))

    assert answer.status_code == 202
    assert heard[0].partition(b"\r\n\r\n")[2] == b"3\r\none\r\n10\r\nsixteen bytes...\r\n0\r\n\r\n"


async def test_an_answer_comes_in_chunks_or_ends_with_the_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    until_the_end = b"HTTP/1.1 200 OK\r\n\r\nrest"
    async with talking_to(saying(chunked, until_the_end)) as client:
        assert (await client.get("/")).text == "abc"
        assert (await client.get("/")).text == "rest"


async def test_who_is_refused_while_sending_hears_why_and_sends_no_more() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000:
            sent += 1
            yield bytes(1000)
            await asyncio.sleep(0)

    async with talking_to(saying(refusal)) as client:
        answer = await client.post("/", content=endless())

    assert (answer.status_code, answer.text) == (413, "no")
    assert sent < 10_000


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nx: " + bytes(b"y" * (MAX_HEAD_BYTES + 1)) + b"\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=[
        "nothing",
        "half-a-head",
        "short-of-its-length",
        "short-of-a-chunk",
        "two-lengths",
        "a-head-too-long",
        "not-http",
    ],
)
async def test_what_is_not_one_whole_answer_is_an_error(answer: bytes) -> None:
    async with talking_to(saying(answer)) as client:
        with pytest.raises(httpx2.TransportError):
            await client.get("/")


async def test_what_follows_an_answer_unasked_is_no_answer_to_the_next_request() -> None:
    first, unasked = (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % n for n in (1, 2))
    async with talking_to(saying(first + unasked, first)) as client:
        assert [(await client.get("/")).text for _ in range(2)] == ["1", "1"]


async def test_an_interim_answer_is_passed_over() -> None:
    both = b"HTTP/1.1 103 Early Hints\r\nx: 1\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with talking_to(saying(both)) as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.text, "x" in answer.headers) == (200, "ok", False)


async def test_a_reader_who_is_slow_makes_the_server_wait() -> None:
    size = 64 * PIECE
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(bytes(PIECE))
            await writer.drain()
            written += PIECE

    async with talking_to(serve) as client, client.stream("GET", "/") as answer:
        chunks = answer.aiter_raw()
        read = len(await anext(chunks))
        before = -1
        while before < written:  # until it gets no further
            before = written
            await asyncio.sleep(0.05)
        assert written < size
        async for chunk in chunks:
            read += len(chunk)

    assert read == size


async def test_nobody_there_and_nobody_answering_are_told_apart() -> None:
    silence = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await silence.wait()

    async with talking_to(serve) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/", timeout=0.05)
        silence.set()
    async with httpx2.AsyncClient(transport=KeptConnections()) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://127.0.0.1:1/")
