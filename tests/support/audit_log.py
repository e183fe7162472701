"""A log in memory and on disk, for tests of what stands outside a database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.log.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    make_log_key,
    make_log_key_mldsa,
    make_witness_key,
    sign_checkpoint,
)
from broker.audit.log.leaves import new_leaf
from broker.audit.log.merkle import evaluate, inclusion_plan, leaf_hash, tree_root
from broker.audit.log.note import NoteSigner, Verifier
from broker.audit.log.tiles import (
    HEIGHT,
    WIDTH,
    Tile,
    entries_path,
    lookup_in,
    tile_list,
    tile_path,
    write_bundle,
)
from broker.audit.proofs.offline import TrustedKey, thumbprint
from broker.audit.proofs.tlog_proof import format_proof
from keys.binding import subject_of
from schemas.audit import Event, Opening
from schemas.base import b64u
from schemas.evidence import Evidence, Fact, FactStatement

ORIGIN = "hub.example/log"
START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


class LogKeys:
    """A log's two keys."""

    def __init__(self, origin: str = ORIGIN) -> None:
        skey, self.vkey = make_log_key(origin)
        pq_skey, self.pq_vkey = make_log_key_mldsa(origin)
        self.signers = [NoteSigner.from_text(skey), NoteSigner.from_text(pq_skey)]

    @property
    def verifiers(self) -> list[Verifier]:
        return [Verifier.from_text(self.vkey), Verifier.from_text(self.pq_vkey)]


def witness(name: str) -> NoteSigner:
    """A new witness."""
    return NoteSigner.from_text(make_witness_key(name)[0])


def some_leaf(number: int = 0) -> bytes:
    """A leaf about nothing in particular."""
    return new_leaf(Event.ENVELOPE_SUBMITTED, START, number.to_bytes(32, "big"))[0]


class MemoryLog:
    """Entries in a list; everything else computed from the definition."""

    def __init__(self, keys: LogKeys | None = None, origin: str = ORIGIN) -> None:
        self.keys = keys or LogKeys(origin)
        self.origin = origin
        self.entries: list[bytes] = []

    def grow(self, by: int) -> None:
        self.entries += [some_leaf(number) for number in range(by)]

    def tiles(self, size: int) -> dict[Tile, list[bytes]]:
        leaves = [leaf_hash(body) for body in self.entries[:size]]
        found = {}
        for tile, count in tile_list(size):
            step = 1 << (HEIGHT * tile.level)
            first = tile.number * WIDTH
            found[tile] = [
                tree_root(leaves[at * step : (at + 1) * step]) for at in range(first, first + count)
            ]
        return found

    def head(self, now: datetime = START, size: int | None = None) -> SignedCheckpoint:
        size = len(self.entries) if size is None else size
        root = tree_root([leaf_hash(body) for body in self.entries[:size]])
        return sign_checkpoint(Checkpoint(self.origin, size, root), self.keys.signers, now)

    def proof(self, index: int, head: SignedCheckpoint | None = None) -> str:
        head = head or self.head()
        size = head.checkpoint.size
        path = evaluate(inclusion_plan(index, size), lookup_in(self.tiles(size)))
        return format_proof(index, path, head.note.to_text())

    def write(self, folder: Path, now: datetime = START) -> None:
        size = len(self.entries)
        for tile, hashes in self.tiles(size).items():
            path = folder / tile_path(tile, len(hashes))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(hashes))
            if tile.level == 0:
                first = tile.number * WIDTH
                path = folder / entries_path(tile.number, len(hashes))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(write_bundle(self.entries[first : first + len(hashes)]))
        (folder / "checkpoint").write_bytes(self.head(now).raw)


class Author:
    """Somebody who signs evidence."""

    def __init__(self, participant: str = "al.nrm") -> None:
        self.participant = participant
        self._key = Ed25519PrivateKey.generate()
        x = b64u(self._key.public_key().public_bytes_raw())
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": x}
        self.kid = thumbprint(self.jwk)

    @property
    def trusted(self) -> dict[str, TrustedKey]:
        return {self.kid: TrustedKey(self.participant, "Ed25519", self.jwk)}

    @property
    def published(self) -> dict[str, object]:
        return {
            "kid": self.kid,
            "participant": self.participant,
            "alg": "Ed25519",
            "jwk": self.jwk,
        }

    def evidence(self, envelope: UUID, digest: str, *, by: str | None = None) -> bytes:
        content = Evidence(
            id=UUID(int=7),
            by=by or self.participant,
            issued_at=START,
            facts=(FactStatement(fact=Fact.DELIVERED, envelope=envelope, digest=digest, at=START),),
        )
        return self.sign(content.to_json())

    def sign(self, payload: bytes, **header: str) -> bytes:
        members = {
            "alg": "Ed25519",
            "kid": self.kid,
            "typ": "referral-evidence+jws",
            **header,
        }
        protected = b64u(json.dumps(members).encode())
        signature = self._key.sign(f"{protected}.{b64u(payload)}".encode())
        jws = {"payload": b64u(payload), "protected": protected, "signature": b64u(signature)}
        return json.dumps(jws).encode()


def leaf_about(evidence: bytes) -> tuple[bytes, Opening]:
    """The leaf of one evidence."""
    return new_leaf(Event.EVIDENCE_RECEIVED, START, subject_of(evidence))
