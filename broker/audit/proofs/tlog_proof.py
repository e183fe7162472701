"""The text of an inclusion proof (C2SP tlog-proof): index, path, and a signed checkpoint. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from broker.audit.log.merkle import HASH_SIZE
from broker.audit.log.note import MAX_NOTE, b64, unb64
from schemas.errors import SchemaRefused

FIRST_LINE = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class TlogProof:
    """What the text says; nothing of it is verified."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""
    """Anybody's words; nothing vouches for them. We write none."""


def format_proof(index: int, path: Sequence[bytes], checkpoint: str) -> str:
    """Write the text. `checkpoint` is a whole signed note."""
    lines = [FIRST_LINE, f"index {index}", *map(b64, path), ""]
    return "\n".join(lines) + "\n" + checkpoint


def parse_proof(text: str) -> TlogProof:
    """Read the text.

    Raises:
        SchemaRefused: Not a proof.
    """
    if len(text) > MAX_NOTE:
        raise SchemaRefused("proof: too large")
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or len(lines) < 2 or lines[0] != FIRST_LINE:
        raise SchemaRefused("proof: not a tlog-proof")
    extra = b""
    if lines[1].startswith("extra "):
        extra = unb64(lines.pop(1).removeprefix("extra "))
    match = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    path = tuple(unb64(line) for line in lines[2:])
    if match is None or len(path) > 63 or any(len(step) != HASH_SIZE for step in path):
        raise SchemaRefused("proof: bad index or path")
    try:
        return TlogProof(int(match[1]), path, checkpoint.encode(), extra)
    except UnicodeEncodeError:
        raise SchemaRefused("proof: half a surrogate pair is not text") from None
