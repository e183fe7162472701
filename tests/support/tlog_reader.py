"""A reader of a whole C2SP tiled log that shares no code with ours, as an auditor might write one.

Written from the texts of C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-tiles, with
the standard library and `cryptography`. It fetches the checkpoint, every entry bundle and every
tile of a log from where they are served as files, and computes the rest.

    python tests/support/tlog_reader.py http://127.0.0.1:8000 VKEYS

`VKEYS` holds verifier keys, one a line; each of them must have signed.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

Get = Callable[[str], bytes]


@dataclass(frozen=True)
class Log:
    """What was read, and agrees with itself."""

    origin: str
    size: int
    root: bytes
    entries: list[bytes]
    fetched: int
    """Resources, the checkpoint included."""


class Contradiction(Exception):
    """What is served does not fit together, or is not signed."""


def read_log(get: Get, vkeys: Iterable[str]) -> Log:
    """Read all of it.

    Args:
        get: The bytes of a resource of the log, by its path; raises if there is none.

    Raises:
        Contradiction: See there.
    """
    body, blank, lines = get("checkpoint").decode().rpartition("\n\n")
    text = body + "\n"
    if not blank or not all(_signed_by(vkey, text, lines.splitlines()) for vkey in vkeys):
        raise Contradiction("checkpoint")
    origin, decimal, encoded = text.split("\n")[:3]
    size, root, fetched = int(decimal), base64.b64decode(encoded, validate=True), 1
    entries: list[bytes] = []
    for number, width in _tiles(size):
        entries += _bundle(get(_path("entries", number, width)), width)
        fetched += 1
    hashes, level = [_sha256(b"\0", entry) for entry in entries], 0
    if _root(hashes) != root:
        raise Contradiction("the entries are not those that were signed")
    while hashes:
        for number, width in _tiles(len(hashes)):
            tile = get(_path(str(level), number, width))
            if tile != b"".join(hashes[256 * number : 256 * number + width]):
                raise Contradiction(f"a tile of level {level}")
            fetched += 1
        # The hashes of the next level are the roots of this one's full tiles.
        hashes = [_root(hashes[at : at + 256]) for at in range(0, len(hashes) // 256 * 256, 256)]
        level += 1
    return Log(origin, size, root, entries, fetched)


def _tiles(count: int) -> list[tuple[int, int]]:
    """The tiles over so many hashes: number, and how many hashes are in it."""
    return [(number, min(256, count - 256 * number)) for number in range((count + 255) // 256)]


def _path(level: str, number: int, width: int) -> str:
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == 256 else f".p/{width}")


def _bundle(data: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        length = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + length])
        if len(found[-1]) != length:
            raise Contradiction("an entry bundle is cut off")
        data = data[2 + length :]
    if data:
        raise Contradiction("an entry bundle has more than its entries")
    return found


def _sha256(*pieces: bytes) -> bytes:
    return hashlib.sha256(b"".join(pieces)).digest()


def _root(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else _sha256()
    left = 1 << (len(hashes) - 1).bit_length() - 1
    return _sha256(b"\1", _root(hashes[:left]), _root(hashes[left:]))


def _signed_by(vkey: str, text: str, lines: list[str]) -> bool:
    name, identifier, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    key_id = _sha256(name.encode(), b"\n", key)[:4]
    if key_id.hex() != identifier:
        raise Contradiction("a verifier key")
    for line in lines:
        dash, who, value = line.split(" ")
        signature = base64.b64decode(value, validate=True)
        if (dash, who, signature[:4]) == ("\u2014", name, key_id):
            _verify(key[0], key[1:], name, text, signature[4:])
            return True
    return False


def _verify(kind: int, public: bytes, name: str, text: str, signature: bytes) -> None:
    if kind == 0x01:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text.encode())
        return
    timestamp, signature = signature[:8], signature[8:]
    if kind == 0x04:
        seconds = int.from_bytes(timestamp, "big")
        message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return
    origin, size, root = text.split("\n")[:3]
    message = b"".join(
        (
            b"subtree/v1\n\0",
            *(bytes([len(name.encode())]), name.encode(), timestamp),
            *(bytes([len(origin.encode())]), origin.encode()),
            *((0).to_bytes(8, "big"), int(size).to_bytes(8, "big")),
            base64.b64decode(root, validate=True),
        )
    )
    MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)


def over_http(url: str) -> Get:
    """Fetch from a server of plain files."""

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"{url}/{path}", timeout=30) as answer:  # noqa: S310
            data: bytes = answer.read()
            return data

    return get


if __name__ == "__main__":
    seen = read_log(over_http(sys.argv[1]), Path(sys.argv[2]).read_text().split())
    sys.stdout.write(
        f"{seen.origin}: {seen.size} entries in {seen.fetched} files, all signed for\n"
    )
