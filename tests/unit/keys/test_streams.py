"""An attachment comes out whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.binding import stream_context
from keys.streams import STREAM_BUCKETS, new_stream_key, open_stream, seal_stream, sealed_size
from schemas.envelope import MAX_ATTACHMENT_BYTES
from schemas.errors import CannotOpen, TooLarge

KEY = bytes(range(32))
THREAD = UUID("01938f5e-0000-4000-8000-000000000003")
CONTEXT = stream_context(THREAD, "A" * 22)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[n : n + size] for n in range(0, len(data), size))


def seal(content: bytes, context: bytes = CONTEXT) -> tuple[bytes, str]:
    stream = seal_stream(pieces(content, 30_000), key=KEY, context=context)
    sealed = b"".join(stream)
    assert stream.content_bytes == len(content)
    assert stream.sealed_bytes == len(sealed)
    return sealed, stream.digest


def unseal(sealed: Iterable[bytes], digest: str, size: int, **changes: bytes) -> bytes:
    given_ = {"key": KEY, "context": CONTEXT, **changes}
    return b"".join(open_stream(sealed, size=size, digest=digest, **given_))


@settings(deadline=None, max_examples=40)
@given(
    content=st.integers(0, 200_000).map(lambda n: bytes(n % 251 for n in range(n))),
    piece=st.integers(1000, 70_000),
)
def test_what_is_sealed_opens_in_pieces_of_any_size(content: bytes, piece: int) -> None:
    sealed, digest = seal(content)
    assert unseal(pieces(sealed, piece), digest, len(content)) == content


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 2**20, 2**24, MAX_ATTACHMENT_BYTES])
def test_the_size_says_no_more_than_the_bucket(size: int) -> None:
    stream = seal_stream(pieces(bytes(size), 2**16), key=KEY, context=CONTEXT)
    total = sum(len(data) for data in stream)
    assert total == sealed_size(size)
    assert total in {sealed_size(bucket) for bucket in STREAM_BUCKETS}


def test_more_than_25_mib_is_refused() -> None:
    with pytest.raises(TooLarge):
        for _ in seal_stream(pieces(bytes(MAX_ATTACHMENT_BYTES + 1), 2**20), key=KEY, context=b""):
            pass
    with pytest.raises(TooLarge):
        sealed_size(MAX_ATTACHMENT_BYTES + 1)


CONTENT = bytes(n % 251 for n in range(150_000))


@pytest.mark.parametrize("position", [0, 23, 24, 39, 40, 55, 56, 16_500, 80_000, -17, -1])
def test_one_changed_bit_anywhere_shows(position: int) -> None:
    sealed, digest = seal(CONTENT)
    forged = bytearray(sealed)
    forged[position] ^= 1
    with pytest.raises(CannotOpen):
        unseal([bytes(forged)], digest, len(CONTENT))


def test_a_stream_that_was_cut_off_shows() -> None:
    sealed, digest = seal(CONTENT)
    chunk = 16 * 1024 + 16
    for end in (0, 10, 56, 56 + chunk, 56 + 5 * chunk, len(sealed) - 16, len(sealed) - 1):
        with pytest.raises(CannotOpen):
            unseal([sealed[:end]], digest, len(CONTENT))


def test_chunks_in_another_order_show() -> None:
    sealed, digest = seal(CONTENT)
    chunk, head = 16 * 1024 + 16, 56
    first, second = sealed[head : head + chunk], sealed[head + chunk : head + 2 * chunk]
    with pytest.raises(CannotOpen):
        unseal([sealed[:head], second, first, sealed[head + 2 * chunk :]], digest, len(CONTENT))


def test_more_than_the_stated_size_is_not_read_on() -> None:
    sealed, digest = seal(CONTENT)
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield sealed
        for _ in range(1000):
            read += 1
            yield bytes(1000)

    with pytest.raises(CannotOpen):
        unseal(endless(), digest, len(CONTENT))
    assert read == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"key": bytes(32)},
        {"context": stream_context(THREAD, None)},
        {"context": stream_context(UUID(int=1), "A" * 22)},
    ],
    ids=["key", "scope", "thread"],
)
def test_another_key_thread_or_scope_does_not_open(changes: dict[str, bytes]) -> None:
    sealed, digest = seal(CONTENT)
    with pytest.raises(CannotOpen):
        unseal([sealed], digest, len(CONTENT), **changes)


def test_another_size_or_digest_does_not_open() -> None:
    sealed, digest = seal(CONTENT)
    for size in (10, 2**19, MAX_ATTACHMENT_BYTES + 1):
        with pytest.raises(CannotOpen):
            unseal([sealed], digest, size)
    with pytest.raises(CannotOpen):
        unseal([sealed], "A" * 43, len(CONTENT))


def test_sealing_runs_in_flat_memory() -> None:
    stream = seal_stream((bytes(2**16) for _ in range(400)), key=new_stream_key(), context=b"")
    assert max(len(data) for data in islice(stream, 400)) < 3 * 2**16
