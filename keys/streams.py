"""Streams: attachments of up to 25 MiB, sealed and opened without holding them in memory.

Cobblestone-256 of `cryptography` (C2SP chunked-encryption): 16 KiB chunks under AES-256-GCM, each
bound to its place, the last one marked, the key committed to. Reordered, swapped, cut off or changed,
it does not open. The key travels inside a sealed part, a fresh one for each attachment, with the size
of the content, which the padding hides: zeros up to the next bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from schemas.base import Digest, b64u
from schemas.envelope import MAX_ATTACHMENT_BYTES
from schemas.errors import CannotOpen, TooLarge

STREAM_BUCKETS: tuple[int, ...] = (*(1 << n for n in range(16, 25)), MAX_ATTACHMENT_BYTES)
"""Sizes to which content is padded: doubling from 64 KiB to 16 MiB, then 25 MiB."""

_CHUNK = 16 * 1024
_TAG = 16
_HEADER = 56  # salt and key commitment
_ZEROS = bytes(64 * 1024)


def sealed_size(content_bytes: int) -> int:
    """How many bytes content of this size takes on the wire.

    Raises:
        TooLarge: More than 25 MiB.
    """
    bucket = _bucket(content_bytes)
    # Buckets are whole chunks; an empty last chunk closes them.
    return _HEADER + bucket + (bucket // _CHUNK + 1) * _TAG


def new_stream_key() -> bytes:
    """A key for one attachment."""
    return Cobblestone256Encryptor.generate_key()


class SealedStream(Iterator[bytes]):
    """The sealed bytes as they are made. Exhaust it, then ask for its digest and sizes."""

    def __init__(self, chunks: Iterable[bytes], key: bytes, context: bytes) -> None:
        """Use `seal_stream`."""
        self._hash = hashlib.sha256()
        self._output = self._run(chunks, Cobblestone256Encryptor(key, context))
        self.content_bytes = 0
        self.sealed_bytes = 0

    @property
    def digest(self) -> Digest:
        """SHA-256 of the sealed bytes so far: the attachment's name at the hub."""
        return b64u(self._hash.digest())

    def __next__(self) -> bytes:
        data = next(self._output)
        self._hash.update(data)
        self.sealed_bytes += len(data)
        return data

    def _run(self, chunks: Iterable[bytes], seal: Cobblestone256Encryptor) -> Iterator[bytes]:
        for chunk in chunks:
            self.content_bytes += len(chunk)
            if self.content_bytes > MAX_ATTACHMENT_BYTES:
                raise TooLarge(f"more than {MAX_ATTACHMENT_BYTES} bytes")
            yield seal.update(chunk)
        missing = _bucket(self.content_bytes) - self.content_bytes
        while missing:
            padding = _ZEROS[:missing]
            missing -= len(padding)
            yield seal.update(padding)
        yield seal.finalize()


def seal_stream(chunks: Iterable[bytes], *, key: bytes, context: bytes) -> SealedStream:
    """Seal a file in pieces of any size.

    Args:
        chunks: The content.
        key: From `new_stream_key`, used for nothing else.
        context: From `keys.binding.stream_context`.

    Raises:
        TooLarge: More than 25 MiB; raised while iterating.
    """
    return SealedStream(chunks, key, context)


def open_stream(
    chunks: Iterable[bytes], *, key: bytes, context: bytes, size: int, digest: Digest
) -> Iterator[bytes]:
    """Open a sealed file in pieces of any size.

    What comes out is genuine and in its place, but only a caller who reaches the end knows that it
    is whole: write to a temporary file, and keep that only then.

    Args:
        chunks: The sealed bytes, as the hub gave them.
        key: From the sealed part.
        context: From `keys.binding.stream_context`.
        size: Of the content, from the sealed part.
        digest: From the envelope's header.

    Raises:
        CannotOpen: Changed, cut off, reordered, another key or context, another size or digest.
            Raised while iterating, at the end at the latest.
    """
    try:
        sealed_bytes = sealed_size(size)
    except TooLarge:
        raise CannotOpen("size") from None
    return _open(chunks, Cobblestone256Decryptor(key, context), size, sealed_bytes, digest)


def _open(
    chunks: Iterable[bytes],
    unseal: Cobblestone256Decryptor,
    size: int,
    sealed_bytes: int,
    digest: Digest,
) -> Iterator[bytes]:
    left, hashed, seen = size, hashlib.sha256(), 0
    try:
        for chunk in chunks:
            hashed.update(chunk)
            seen += len(chunk)
            if seen > sealed_bytes:  # before anything else is spent on it
                raise CannotOpen("longer than it says")
            content = unseal.update(chunk)[:left]
            left -= len(content)
            if content:
                yield content
        content = unseal.finalize()[:left]
    except (InvalidTag, ValueError):
        raise CannotOpen from None
    left -= len(content)
    if left or seen != sealed_bytes or b64u(hashed.digest()) != digest:
        raise CannotOpen("not what the header and the sealed part say")
    if content:
        yield content


def _bucket(length: int) -> int:
    for size in STREAM_BUCKETS:
        if length <= size:
            return size
    raise TooLarge(f"{length} bytes, at most {STREAM_BUCKETS[-1]}")
