"""A witness: signs a log's heads, each only if it is the grown form of the one signed before.

The decision is that of C2SP tlog-witness, whoever asks: a log that posts `add-checkpoint` to a
witness's server, or a country's gateway that pulls the same words from its hub. Once enough
countries sign, the log cannot show two histories without two of them noticing.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from broker.audit.log.checkpoint import (
    Contradiction,
    SignedCheckpoint,
    open_checkpoint,
    reopen_checkpoint,
)
from broker.audit.log.merkle import HASH_SIZE, verify_consistency
from broker.audit.log.note import MAX_NOTE, NoteSigner, SignatureType, Verifier, b64, unb64
from schemas.errors import (
    Conflict,
    LogInconsistent,
    NotFound,
    SchemaRefused,
    StorageUnavailable,
)

MAX_PROOF = 63
MAX_REQUEST = MAX_NOTE + 64 * 64
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class OldSize(Conflict):
    """Not the size that this witness signed last."""

    def __init__(self, size: int) -> None:
        super().__init__("the witness signed another size last")
        self.size = size


class ProofRefused(LogInconsistent):
    """The proof does not lead from the last head to this one; it may be the sender's fault."""


@dataclass(frozen=True)
class AddCheckpoint:
    """What a witness is asked: this head, grown from that size, by this proof. Not verified."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def format_request(old: int, proof: Sequence[bytes], checkpoint: str) -> bytes:
    """The body of `add-checkpoint`. `checkpoint` is a whole signed note."""
    lines = [f"old {old}", *map(b64, proof), "", checkpoint]
    return "\n".join(lines).encode()


def parse_request(body: bytes) -> AddCheckpoint:
    """Read the body of `add-checkpoint`.

    Raises:
        SchemaRefused: Not one.
    """
    if len(body) > MAX_REQUEST:
        raise SchemaRefused("add-checkpoint: too large")
    head, blank, checkpoint = body.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise SchemaRefused("add-checkpoint: not ASCII before the checkpoint") from None
    match = _OLD.fullmatch(first)
    if match is None or not blank or len(rest) > MAX_PROOF:
        raise SchemaRefused("add-checkpoint: not an old size, a proof and a checkpoint")
    proof = tuple(unb64(line) for line in rest)
    if any(len(step) != HASH_SIZE for step in proof):
        raise SchemaRefused("add-checkpoint: a line of the proof is not a hash")
    return AddCheckpoint(int(match[1]), proof, checkpoint)


@dataclass(frozen=True)
class Cosigned:
    """A head that was verified and made durable, and this witness's lines under it."""

    head: SignedCheckpoint
    lines: tuple[str, ...]


class Witness:
    """Follows any number of logs, and answers for each with its own signatures."""

    def __init__(
        self,
        logs: Mapping[str, Sequence[Verifier]],
        signers: Sequence[NoteSigner],
        memory: WitnessMemory,
    ) -> None:
        """
        Args:
            logs: The keys of each log, by origin.
            signers: Keys that date; each signs every head.
        """
        if not signers or any(signer.type is SignatureType.ED25519 for signer in signers):
            raise ValueError("a witness needs keys that date")
        self._logs = logs
        self._signers = signers
        self._memory = memory
        self._turn = asyncio.Lock()

    async def add_checkpoint(self, body: bytes, now: datetime) -> Cosigned:
        """Verify, remember, sign; in the order and with the outcomes of tlog-witness.

        The head is durable before a signature exists: after a crash we may have signed nothing,
        but never something that we do not remember.

        Raises:
            SchemaRefused: Not a request, or the old size is larger than the new (400).
            NotFound: A log that this witness does not follow (404).
            BadSignature: None of the log's keys signed it (403).
            OldSize: The old size is not the one signed last, which it tells (409).
            Contradiction: Same size, another root: a fork, signed by the log. Both are kept, and
                nothing of this log is signed any more (409).
            ProofRefused: The proof does not verify (422).
            LogInconsistent: This log has contradicted itself before.
            StorageUnavailable: It could not be remembered; nothing was signed.
        """
        asked = parse_request(body)
        origin = _origin_of(asked.checkpoint)
        if origin not in self._logs:
            raise NotFound("a log that this witness does not follow")
        head = open_checkpoint(asked.checkpoint, self._logs[origin])
        if asked.old > head.checkpoint.size:
            raise SchemaRefused("add-checkpoint: the old size is larger than the new")
        async with self._turn:
            return await asyncio.to_thread(self._sign, asked, head, now)

    async def pull(self, body: bytes, now: datetime) -> Cosigned | None:
        """The same for an answer that the log itself gave us, when we asked for its growth.

        Nobody else had a hand in it, so a head that is smaller, or that it cannot prove to be
        grown, is the log's own contradiction too.

        Returns:
            None if we signed exactly this head already.

        Raises:
            Contradiction: Fork or shrink; both heads are kept.
            As `add_checkpoint`.
        """
        asked = parse_request(body)
        origin = _origin_of(asked.checkpoint)
        head = open_checkpoint(asked.checkpoint, self._logs.get(origin, ()))
        last = await asyncio.to_thread(self.last, origin)
        if last is not None and last.raw == head.raw:
            return None
        try:
            if last is not None and head.checkpoint.size < last.checkpoint.size:
                raise ProofRefused("the log has shrunk")
            return await self.add_checkpoint(body, now)
        except ProofRefused as error:
            if last is None:
                raise
            await asyncio.to_thread(self._memory.keep_contradiction, origin, last.raw, head.raw)
            raise Contradiction(error.detail, last, head) from None

    def _sign(self, asked: AddCheckpoint, head: SignedCheckpoint, now: datetime) -> Cosigned:
        new = head.checkpoint
        if self._memory.contradicted(new.origin):
            raise LogInconsistent("this log has contradicted itself; a person must look")
        last = self.last(new.origin)
        size = 0 if last is None else last.checkpoint.size
        if asked.old != size:
            raise OldSize(size)
        if last is not None:
            if size == new.size and last.checkpoint.root != new.root:
                self._memory.keep_contradiction(new.origin, last.raw, head.raw)
                raise Contradiction("the log has another history now", last, head)
            if not verify_consistency(size, new.size, asked.proof, last.checkpoint.root, new.root):
                raise ProofRefused("the proof does not lead from the last head to this one")
        elif asked.proof:
            raise ProofRefused("there is nothing to prove from an empty log")
        self._memory.keep(new.origin, head.raw)
        return Cosigned(head, tuple(signer.sign(new.text, now).line() for signer in self._signers))

    def last(self, origin: str) -> SignedCheckpoint | None:
        """The head that was signed last. Blocking."""
        raw = self._memory.last(origin)
        return None if raw is None else reopen_checkpoint(raw)


def _origin_of(checkpoint: bytes) -> str:
    try:
        return checkpoint.partition(b"\n")[0].decode()
    except UnicodeDecodeError:
        raise SchemaRefused("add-checkpoint: the origin is not UTF-8") from None


class WitnessMemory:
    """A folder of what was signed last, and of what must never be forgotten: contradictions.

    One process at a time; each file is on disk before the call returns. All calls block.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[str] | None = None

    def open(self) -> WitnessMemory:
        """Make the folder and take it for this process.

        Raises:
            StorageUnavailable: Another process has it, or it cannot be written.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise StorageUnavailable("another process has the witness's memory") from error
        return self

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def last(self, origin: str) -> bytes | None:
        """The checkpoint that was kept last, as it came."""
        try:
            return (self._of(origin) / "checkpoint").read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable("the witness's memory") from error

    def keep(self, origin: str, checkpoint: bytes) -> None:
        """Make a checkpoint the last one."""
        self._write(self._of(origin) / "checkpoint", checkpoint)

    def contradicted(self, origin: str) -> bool:
        """True from the first contradiction on, until a person moves the evidence away."""
        return any(self._of(origin).glob("contradiction-*"))

    def keep_contradiction(self, origin: str, one: bytes, other: bytes) -> Path:
        """Keep two heads that cannot both be true: with the log's signatures, they prove it."""
        name = hashlib.sha256(one + b"\n" + other).hexdigest()[:16]
        folder = self._of(origin) / f"contradiction-{name}"
        self._write(folder / "one", one)
        self._write(folder / "other", other)
        return folder

    def _of(self, origin: str) -> Path:
        return self._folder / hashlib.sha256(origin.encode()).hexdigest()

    def _write(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise StorageUnavailable("the witness's memory") from error
