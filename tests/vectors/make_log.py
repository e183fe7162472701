"""Makes `log/proofs.json`: proof files with what a verifier must say of each, for any implementation.

    .venv/bin/python -m tests.vectors.make_log

Everything is derived from fixed words, so running it again writes the same bytes (a test checks).
A proof that was good must stay good for ever: cases are added here, never changed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.log.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.log.merkle import evaluate, fold, inclusion_plan, leaf_hash, tree_root
from broker.audit.log.note import NoteSigner, SignatureType
from broker.audit.proofs.offline import thumbprint
from broker.audit.proofs.prover import LogProof, proof_file
from broker.audit.proofs.tlog_proof import format_proof
from keys.binding import commitment, subject_of
from schemas.audit import Event, Leaf, Opening
from schemas.base import b64u
from schemas.evidence import Evidence, Fact, FactStatement
from tests.support.audit_log import START

ORIGIN = "vectors.example/log"
ENVELOPE = UUID("01990000-0000-7000-8000-000000000001")
SIZE, INDEX = 11, 6
TARGET = Path(__file__).parent / "log" / "proofs.json"


def word(text: str) -> bytes:
    return hashlib.sha256(b"invented for these vectors: " + text.encode()).digest()


def make() -> dict[str, Any]:
    """The whole file's content."""
    log = NoteSigner(ORIGIN, SignatureType.ED25519, word("log"))
    witnesses = [
        NoteSigner(f"{cc}.example/w", SignatureType.DATED_ED25519, word(cc)) for cc in ("al", "it")
    ]
    policy = f"log {log.verifier.to_text()}\n"
    for signer in witnesses:
        policy += f"witness {signer.name} {signer.verifier.to_text()}\n"
    policy += f"group both all {witnesses[0].name} {witnesses[1].name}\nquorum both\n"

    key = Ed25519PrivateKey.from_private_bytes(word("al.nrm"))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(key.public_key().public_bytes_raw())}
    kid = thumbprint(jwk)
    evidence = sign(key, kid, delivered(b64u(word("envelope"))))
    other = sign(key, kid, delivered(b64u(word("another envelope"))))

    opening = Opening(salt=word("salt"), subject=subject_of(evidence))
    leaves = [leaf(number, word(f"commitment {number}")) for number in range(SIZE)]
    leaves[INDEX] = leaf(INDEX, commitment(opening.salt, opening.subject))
    hashes = [leaf_hash(body) for body in leaves]
    head = sign_checkpoint(Checkpoint(ORIGIN, SIZE, tree_root(hashes)), [log], START)
    path = evaluate(
        inclusion_plan(INDEX, SIZE),
        lambda node: fold(hashes[node.number << node.height : (node.number + 1) << node.height]),
    )
    cosigned = [signer.sign(head.checkpoint.text, START).line() for signer in witnesses]

    def text(index: int, steps: list[bytes], lines: list[str]) -> str:
        return format_proof(index, steps, head.note.to_text() + "".join(lines))

    good = json.loads(
        proof_file(
            evidence=evidence,
            opening=opening,
            proof=LogProof(INDEX, SIZE, leaves[INDEX], text(INDEX, path, cosigned)),
            directory_version=12,
            keys=[{"kid": kid, "participant": "al.nrm", "alg": "Ed25519", "jwk": jwk}],
        )
    )
    evidence_members = json.loads(evidence)
    unsigned = json.dumps({**evidence_members, "signature": b64u(bytes(64))})
    about, in_log, signed = (
        "the leaf is about this evidence",
        "the leaf is in the log",
        "the checkpoint is signed",
    )
    cases = [
        case("good", good),
        case("it answers the question", good, asked={"envelope": str(ENVELOPE)}),
        case(
            "it states another fact than was asked",
            good,
            asked={"fact": "read"},
            failed=["the evidence states what was asked"],
        ),
        case("other evidence of the same author", good | {"evidence": other.decode()}, [about]),
        case(
            "the signature of the evidence is not one",
            good | {"evidence": unsigned},
            ["the evidence is signed", about],
        ),
        case(
            "another salt",
            good | {"opening": {**good["opening"], "salt": b64u(word("other"))}},
            [about],
        ),
        case(
            "another entry of the same log",
            good | {"leaf": b64u(leaves[0])},
            [about, in_log],
        ),
        case("another index", good | {"proof": text(INDEX - 1, path, cosigned)}, [in_log]),
        case("a step too few", good | {"proof": text(INDEX, path[:-1], cosigned)}, [in_log]),
        case(
            "one witness is missing",
            good | {"proof": text(INDEX, path, cosigned[:1])},
            [signed, in_log],
        ),
        case("a member too many", good | {"more": 1}, ["the file is a proof"]),
    ]
    return {
        "policy": policy,
        "trusted_keys": {kid: {"participant": "al.nrm", "alg": "Ed25519", "jwk": jwk}},
        "cases": cases,
    }


def case(
    name: str,
    file: dict[str, Any],
    failed: list[str] | None = None,
    asked: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {"name": name, "asked": asked or {}, "failed": failed or [], "file": file}


def delivered(digest: str) -> bytes:
    fact = FactStatement(fact=Fact.DELIVERED, envelope=ENVELOPE, digest=digest, at=START)
    content = Evidence(id=UUID(int=7), by="al.nrm", issued_at=START, facts=(fact,))
    return content.to_json()


def sign(key: Ed25519PrivateKey, kid: str, payload: bytes) -> bytes:
    header = {"alg": "Ed25519", "kid": kid, "typ": "referral-evidence+jws"}
    protected = b64u(json.dumps(header, separators=(",", ":")).encode())
    signature = key.sign(f"{protected}.{b64u(payload)}".encode())
    members = {"payload": b64u(payload), "protected": protected, "signature": b64u(signature)}
    return json.dumps(members, separators=(",", ":")).encode()


def leaf(number: int, committed: bytes) -> bytes:
    event = list(Event)[number % len(Event)]
    return rfc8785.dumps(Leaf(event=event, time=START, commitment=committed).to_dict())


def written() -> str:
    """The file's text."""
    return json.dumps(make(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(written(), encoding="utf-8")
