"""Checkpoints: the signed head of a log, `origin`, size and root (C2SP tlog-checkpoint). Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from broker.audit.log.merkle import EMPTY_ROOT, HASH_SIZE
from broker.audit.log.note import (
    SEED_SIZE,
    Note,
    NoteSigner,
    SignatureType,
    Signed,
    Verifier,
    b64,
    parse_note,
    unb64,
    verify_note,
)
from schemas.errors import BadSignature, LogInconsistent, SchemaRefused

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile(r"[^\x00-\x1f]{1,1000}")


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log at one size; `text` is what gets signed."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Opaque lines of other logs; ours writes none, since nobody could audit them."""

    def __post_init__(self) -> None:
        # A plain signature over such an origin would read as somebody's cosignature.
        if not _LINE.fullmatch(self.origin) or self.origin.startswith("cosignature/"):
            raise SchemaRefused("checkpoint: bad origin")
        if self.size < 0 or len(self.root) != HASH_SIZE:
            raise SchemaRefused("checkpoint: bad size or root")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise SchemaRefused("checkpoint: an empty log has one root only")

    @property
    def text(self) -> str:
        return "".join(
            f"{line}\n" for line in (self.origin, self.size, b64(self.root), *self.extensions)
        )

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """Read a note's text.

        Raises:
            SchemaRefused: Not a checkpoint.
        """
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not text.endswith("\n") or not _SIZE.fullmatch(lines[1]):
            raise SchemaRefused("checkpoint: not origin, size and root")
        if not all(_LINE.fullmatch(line) for line in lines[3:]):
            raise SchemaRefused("checkpoint: an extension line is empty or too long")
        return cls(lines[0], int(lines[1]), unb64(lines[2]), tuple(lines[3:]))


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint that its log signed. Made by the functions below only."""

    checkpoint: Checkpoint
    note: Note
    by_log: tuple[Signed, ...]
    by_witnesses: tuple[Signed, ...]

    @property
    def raw(self) -> bytes:
        """The note as it travels."""
        return self.note.to_text().encode()

    @property
    def dated_by_log(self) -> datetime | None:
        """When the log says that this was its head; None if it did not date it."""
        return max((signed.at for signed in self.by_log if signed.at), default=None)


def sign_checkpoint(
    checkpoint: Checkpoint, signers: Sequence[NoteSigner], now: datetime
) -> SignedCheckpoint:
    """Sign with the log's keys. The first is the plain Ed25519 key; its date follows by itself."""
    if not signers or signers[0].type is not SignatureType.ED25519:
        raise ValueError("the log's first key must be a plain Ed25519 note key")
    everyone = [signers[0], signers[0].dated(), *signers[1:]]
    note = Note(checkpoint.text, tuple(signer.sign(checkpoint.text, now) for signer in everyone))
    return SignedCheckpoint(
        checkpoint,
        note,
        tuple(
            Signed(signer.verifier, None if signer.type is SignatureType.ED25519 else now)
            for signer in everyone
        ),
        (),
    )


def open_checkpoint(
    data: bytes, log: Sequence[Verifier], witnesses: Sequence[Verifier] = ()
) -> SignedCheckpoint:
    """Take a checkpoint from outside.

    1. It is a note, and its text a checkpoint.
    2. Its origin is the name of one of the log's keys.
    3. A signature by one of those keys verifies, and none by a known key fails.

    Each Ed25519 key of the log is also known as its dated form.

    Raises:
        SchemaRefused: Not a checkpoint.
        BadSignature: Not signed by the log, or a signature of a known key fails.
    """
    note = parse_note(data)
    checkpoint = Checkpoint.from_text(note.text)
    own = [key for key in log if key.name == checkpoint.origin]
    own += [key.dated() for key in own if key.type is SignatureType.ED25519]
    by_log = verify_note(note, own)
    if not by_log:
        raise BadSignature(f"checkpoint: no known key of {checkpoint.origin} signed it")
    return SignedCheckpoint(checkpoint, note, by_log, verify_note(note, witnesses))


def reopen_checkpoint(data: bytes) -> SignedCheckpoint:
    """One that was verified before it was kept: the log's key may have changed since."""
    note = parse_note(data)
    return SignedCheckpoint(Checkpoint.from_text(note.text), note, (), ())


class Contradiction(LogInconsistent):
    """Two heads of one log, both signed by it, that cannot both be true. Keep them: they prove it."""

    def __init__(self, detail: str, one: SignedCheckpoint, other: SignedCheckpoint) -> None:
        super().__init__(
            detail, where=(f"size {one.checkpoint.size}", f"size {other.checkpoint.size}")
        )
        self.checkpoints = (one.raw, other.raw)


def make_log_key(origin: str) -> tuple[str, str]:
    """A new Ed25519 key for a log: (private text, to be kept in custody; verifier key)."""
    return _make(origin, SignatureType.ED25519)


def make_log_key_mldsa(origin: str) -> tuple[str, str]:
    """A new ML-DSA-44 key, as the log's second one: it stands when Ed25519 falls."""
    return _make(origin, SignatureType.DATED_MLDSA44)


def make_witness_key(name: str) -> tuple[str, str]:
    """A new Ed25519 key for cosigning; one key, one name."""
    return _make(name, SignatureType.DATED_ED25519)


def _make(name: str, kind: SignatureType) -> tuple[str, str]:
    signer = NoteSigner(name, kind, secrets.token_bytes(SEED_SIZE))
    return signer.to_text(), signer.verifier.to_text()
