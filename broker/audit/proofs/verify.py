"""The offline verifier: is this delivery proven, and is this log whole?

Imports the standard library, `cryptography`, and the pure modules beside it, nothing else (a test
holds it to that): an auditor can read all of it in an hour and run it on a machine without a
network, years later. It shares no parser with the code that it checks.

Both functions answer with a `Verdict`: every check with its outcome, what follows from those that
passed, up to when, and whose keys one must believe for it. Bad content never raises.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.audit.log.checkpoint import SignedCheckpoint, open_checkpoint
from broker.audit.log.merkle import leaf_hash, verify_inclusion
from broker.audit.log.note import MAX_NOTE
from broker.audit.log.tiles import WIDTH, Edge, Tile, entries_path, read_bundle, tile_path
from broker.audit.proofs.offline import (
    LEAF_LABEL,
    Failed,
    TrustedKey,
    list_of,
    object_of,
    read_leaf,
    strict_json,
    text_of,
    thumbprint,
    unb64u,
    verify_signature,
)
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.tlog_proof import parse_proof
from broker.audit.proofs.verdict import Check, FactFound, Seen, Verdict
from schemas.errors import BrokerError

__all__ = [
    "Asked",
    "Check",
    "FactFound",
    "Seen",
    "TrustedKey",
    "Verdict",
    "verify_log",
    "verify_proof",
    "verify_proof_file",
]

MAX_PROOF_FILE = 1024 * 1024
EVIDENCE_TYP = "referral-evidence+jws"
_FILE_MEMBERS = {"evidence", "leaf", "opening", "proof", "directory_version"}


@dataclass(frozen=True)
class Asked:
    """What the proof must be about; None asks nothing."""

    envelope: str | None = None
    """The envelope's id."""
    digest: str | None = None
    """SHA-256 of the envelope's signed payload, base64url."""
    fact: str | None = None
    """`submitted`, `delivered`, `filed`, `read` ..."""


# --- one delivery --------------------------------------------------------------------------


def verify_proof_file(
    path: Path,
    policy: Policy,
    *,
    trusted_keys: Mapping[str, TrustedKey] | None = None,
    asked: Asked | None = None,
) -> Verdict:
    """Verify a proof file. See `verify_proof`.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_PROOF_FILE + 1)
    return verify_proof(data, policy, trusted_keys=trusted_keys, asked=asked)


def verify_proof(
    data: bytes,
    policy: Policy,
    *,
    trusted_keys: Mapping[str, TrustedKey] | None = None,
    asked: Asked | None = None,
) -> Verdict:
    """Verify that a signed fact is in a log, and since when.

    1. The file has exactly the members of a proof.
    2. The evidence is a JWS whose signature verifies; with `trusted_keys` (by RFC 7638 thumbprint)
       by a key of the participant that it names, otherwise by a key from the file.
    3. The leaf opens: its commitment is that of the opening's salt and subject.
    4. The subject is this evidence and no other.
    5. The checkpoint is signed by a log of the policy, and its quorum of witnesses.
    6. The path leads from the leaf to the checkpoint's root.
    7. The evidence states what was asked.
    """
    verdict = Verdict()
    steps = _Steps(verdict)
    _ProofReader(steps, policy, trusted_keys, asked or Asked()).read(data)
    return verdict


class _Steps:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """Run one check; a failure becomes a failed check, and the block's list its detail."""
        detail: list[str] = []
        try:
            yield detail
        except Failed as failed:
            self.verdict.checks.append(Check(name, False, str(failed)))
        except BrokerError as error:
            self.verdict.checks.append(Check(name, False, error.describe()))
        else:
            self.verdict.checks.append(Check(name, True, "; ".join(detail)))


class _ProofReader:
    def __init__(
        self,
        steps: _Steps,
        policy: Policy,
        trusted_keys: Mapping[str, TrustedKey] | None,
        asked: Asked,
    ) -> None:
        self._steps = steps
        self._verdict = steps.verdict
        self._policy = policy
        self._trusted = trusted_keys
        self._asked = asked
        self._body = b""
        """The leaf's bytes."""

    def read(self, data: bytes) -> None:
        # 1.
        file: dict[str, object] = {}
        with self._steps.check("the file is a proof"):
            file = self._members(data)
        if not file:
            return
        # 2.
        with self._steps.check("the evidence is signed") as detail:
            self._evidence(file, detail)
        # 3., 4.
        with self._steps.check("the leaf is about this evidence") as detail:
            self._leaf(file, detail)
        # 5.
        head: SignedCheckpoint | None = None
        with self._steps.check("the checkpoint is signed") as detail:
            proof = parse_proof(text_of(file["proof"], "proof"))
            head = _head(self._verdict, proof.checkpoint, self._policy, detail)
        # 6.
        with self._steps.check("the leaf is in the log") as detail:
            if head is None or not self._body:
                raise Failed("without a leaf and a checkpoint there is nothing to compare")
            checkpoint = head.checkpoint
            if not verify_inclusion(
                proof.index, checkpoint.size, leaf_hash(self._body), proof.path, checkpoint.root
            ):
                raise Failed("the path does not lead to the checkpoint's root")
            self._verdict.index = proof.index
            detail.append(f"entry {proof.index} of {checkpoint.size}")
        # 7.
        if self._asked != Asked():
            with self._steps.check("the evidence states what was asked") as detail:
                self._answers(detail)

    def _members(self, data: bytes) -> dict[str, object]:
        if len(data) > MAX_PROOF_FILE:
            raise Failed("larger than a proof can be")
        file = object_of(strict_json(data), "the file")
        if file.keys() - {"keys"} != _FILE_MEMBERS:
            raise Failed("its members are not those of a proof")
        version = file["directory_version"]
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise Failed("directory_version is not a number")
        self._verdict.directory_version = version
        return file

    def _evidence(self, file: dict[str, object], detail: list[str]) -> None:
        raw = text_of(file["evidence"], "evidence").encode()
        jws = object_of(strict_json(raw), "evidence")
        if jws.keys() != {"payload", "protected", "signature"}:
            raise Failed("not a flattened JWS")
        protected, payload = (
            text_of(jws["protected"], "protected"),
            text_of(jws["payload"], "payload"),
        )
        header = object_of(strict_json(unb64u(protected)), "protected header")
        if header.keys() != {"alg", "kid", "typ"} or header["typ"] != EVIDENCE_TYP:
            raise Failed("the header is not that of evidence")
        kid = text_of(header["kid"], "kid")
        key = self._key(kid, file.get("keys", []))
        if thumbprint(key.jwk) != kid:
            raise Failed("the key is not the one that the evidence names")
        if header["alg"] != key.alg:
            raise Failed("the key is for another algorithm")
        signature = unb64u(text_of(jws["signature"], "signature"))
        verify_signature(key, signature, f"{protected}.{payload}".encode())
        evidence = object_of(strict_json(unb64u(payload)), "evidence")
        by = text_of(evidence.get("by"), "by")
        if by != key.participant:
            raise Failed("the key belongs to another participant than the evidence names")
        self._verdict.stated_by, self._verdict.signed_by = by, kid
        self._verdict.facts = _facts(evidence)
        detail.append(f"by {by}, key {kid}, known from the {self._verdict.key_from}")

    def _key(self, kid: str, in_file: object) -> TrustedKey:
        if self._trusted is not None:
            self._verdict.key_from = "directory"
            if kid not in self._trusted:
                raise Failed("the directory does not have the key that signed it")
            return self._trusted[kid]
        self._verdict.key_from = "proof file"
        for item in list_of(in_file, "keys"):
            entry = object_of(item, "key")
            if entry.get("kid") == kid:
                jwk = object_of(entry.get("jwk"), "jwk")
                return TrustedKey(
                    text_of(entry.get("participant"), "participant"),
                    text_of(entry.get("alg"), "alg"),
                    {name: text_of(value, "jwk") for name, value in jwk.items()},
                )
        raise Failed("the file does not have the key that signed it")

    def _leaf(self, file: dict[str, object], detail: list[str]) -> None:
        self._body = unb64u(text_of(file["leaf"], "leaf"))
        found = read_leaf(self._body)
        opening = object_of(file["opening"], "opening")
        if opening.keys() != {"salt", "subject"}:
            raise Failed("the opening is not a salt and a subject")
        salt = unb64u(text_of(opening["salt"], "salt"))
        subject = unb64u(text_of(opening["subject"], "subject"))
        if len(salt) != 32 or len(subject) != 32:
            raise Failed("salt or subject has another length")
        if hashlib.sha256(LEAF_LABEL + salt + subject).digest() != found.commitment:
            raise Failed("the opening does not open the leaf")
        if subject != hashlib.sha256(text_of(file["evidence"], "evidence").encode()).digest():
            raise Failed("the leaf is about something else than this evidence")
        self._verdict.event, self._verdict.recorded_at = found.event, found.time
        detail.append(f"{found.event} at {found.time}")

    def _answers(self, detail: list[str]) -> None:
        asked = self._asked
        answers = [
            fact
            for fact in self._verdict.facts
            if asked.envelope in (None, fact.envelope)
            and asked.digest in (None, fact.digest)
            and asked.fact in (None, fact.fact)
        ]
        if not answers:
            raise Failed("it states nothing of the kind")
        self._verdict.facts = answers
        detail.append(f"{len(answers)} of its facts")


# --- a whole log ---------------------------------------------------------------------------


def verify_log(folder: Path, policy: Policy, *, earlier: Sequence[bytes] = ()) -> Verdict:
    """Verify an exported log from its first entry to its checkpoint.

    1. The checkpoint is signed by a log of the policy, and its quorum of witnesses.
    2. Every entry is a leaf: an event, a time and a commitment, in its one canonical form.
    3. Every tile in the folder holds the hashes that follow from the entries.
    4. The root that follows from the entries is the one that was signed.
    5. Every earlier checkpoint that the auditor kept was a head of this same history.

    Reads one bundle at a time: memory stays small whatever the size.

    Raises:
        OSError: The folder has no checkpoint.
    """
    verdict = Verdict()
    steps = _Steps(verdict)
    with (folder / "checkpoint").open("rb") as file:
        data = file.read(MAX_NOTE + 1)
    head: SignedCheckpoint | None = None
    with steps.check("the checkpoint is signed") as detail:
        head = _head(verdict, data, policy, detail)
    if head is None:
        return verdict
    kept: list[SignedCheckpoint] = []
    if earlier:
        with steps.check("the earlier checkpoints are signed"):
            kept = [open_checkpoint(item, policy.logs) for item in earlier]
    walker = _Walker(folder, head.checkpoint.size, {item.checkpoint.size for item in kept})
    with steps.check("every entry is a leaf, and every tile follows from the entries") as detail:
        walker.walk()
        detail.append(f"{walker.edge.size} entries")
    verdict.events = dict(sorted(walker.events.items()))
    verdict.first_at, verdict.last_at = walker.first_at, walker.last_at
    with steps.check("the entries are those that were signed"):
        if walker.edge.size != head.checkpoint.size or walker.edge.root() != head.checkpoint.root:
            raise Failed("the root that follows from the entries is another")
    if kept:
        with steps.check("the earlier checkpoints are of the same history") as detail:
            for item in kept:
                if item.checkpoint.origin != head.checkpoint.origin:
                    raise Failed("a checkpoint is of another log")
                if walker.roots.get(item.checkpoint.size) != item.checkpoint.root:
                    raise Failed(f"the log had another history at size {item.checkpoint.size}")
            detail.append(f"{len(kept)} checkpoints")
    return verdict


class _Walker:
    """Goes through entry bundles in order, rebuilding the tree beside the tiles on disk."""

    def __init__(self, folder: Path, size: int, sizes: set[int]) -> None:
        self.edge = Edge()
        self.roots: dict[int, bytes] = {0: Edge().root()}
        self.events: Counter[str] = Counter()
        self.first_at = self.last_at = ""
        self._folder = folder
        self._size = size
        self._sizes = sizes

    def walk(self) -> None:
        while self.edge.size < self._size:
            count = min(WIDTH, self._size - self.edge.size)
            path = entries_path(self.edge.size // WIDTH, count)
            for body in self._bundle(path, count):
                self._entry(body)
        for level, row in enumerate(self.edge.levels):
            if row:
                tile = Tile(level, self._size >> (8 * (level + 1)))
                self._same(tile_path(tile, len(row)), b"".join(row))

    def _bundle(self, path: str, count: int) -> list[bytes]:
        try:
            bodies = read_bundle(self._read(path))
        except ValueError:
            raise Failed(f"{path} is cut off") from None
        if len(bodies) != count:
            raise Failed(f"{path} holds {len(bodies)} entries and not {count}")
        return bodies

    def _entry(self, body: bytes) -> None:
        try:
            found = read_leaf(body)
        except Failed as failed:
            raise Failed(f"entry {self.edge.size}: {failed}") from None
        self.events[found.event] += 1
        self.first_at = min(self.first_at or found.time, found.time)
        self.last_at = max(self.last_at, found.time)
        for full in self.edge.append(leaf_hash(body)):
            self._same(tile_path(full.tile), full.hashes)
        if self.edge.size in self._sizes:
            self.roots[self.edge.size] = self.edge.root()

    def _same(self, path: str, expected: bytes) -> None:
        if self._read(path) != expected:
            raise Failed(f"{path} does not follow from the entries")

    def _read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except OSError:
            raise Failed(f"{path} cannot be read") from None


def _head(verdict: Verdict, data: bytes, policy: Policy, detail: list[str]) -> SignedCheckpoint:
    head = open_checkpoint(data, policy.logs, policy.witness_keys)
    if not policy.is_met(head.by_witnesses):
        raise Failed(f"the quorum of witnesses is not met ({len(head.by_witnesses)} signed)")
    verdict.origin, verdict.log_size = head.checkpoint.origin, head.checkpoint.size
    verdict.seen = [
        Seen(signed.by.name, signed.by.key_id.hex(), signed.at, is_witness)
        for signatures, is_witness in ((head.by_log, False), (head.by_witnesses, True))
        for signed in signatures
    ]
    detail.append(f"by {head.checkpoint.origin} and {len(head.by_witnesses)} witnesses")
    return head


def _facts(evidence: dict[str, object]) -> list[FactFound]:
    found = []
    for item in list_of(evidence.get("facts"), "facts"):
        fact = object_of(item, "fact")
        words = [text_of(fact.get(name), name) for name in ("fact", "envelope", "digest", "at")]
        found.append(FactFound(*words))
    if not found:
        raise Failed("the evidence states nothing")
    return found
