"""Verifying the leaves of a bundle that are not evidence: `statements.jsonl`, line by line.

A line proves that the log recorded an event about one signed object, and holds that object where
nothing in it is sealed: a grant, an agreement, a suspension, a revocation, the continuation of a log. Of the rest, a version
of the directory is found among the bundle's own files, and a withdrawal among the envelopes of
which the bundle's evidence says that they were submitted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.audit.log.checkpoint import Checkpoint
from broker.audit.log.merkle import HASH_SIZE, leaf_hash, verify_inclusion
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

MEMBERS = {"statement", "leaf", "opening", "index", "path"}
TYPES = {
    "grant:registered": "referral-grant+jws",
    "agreement:registered": "referral-agreement+jws",
    "agreement:suspended": "referral-suspension+jws",
    "key:revoked": "referral-revocation+jws",
    "log:continued": "referral-log-continued+jws",
}
"""What a statement of each event must say that it is; those of other events are not given."""


@dataclass(frozen=True)
class Stated:
    """What one line proves."""

    event: str
    time: str
    """When, as the leaf has it."""
    subject: bytes
    """The digest of what it is about."""
    signed_by: tuple[str, ...]
    """The keys under the statement, if it is given."""
    content: Mapping[str, object]
    """What the statement says; empty if it is not given."""


def verify_line(
    line: Mapping[str, object], head: Checkpoint, keys: Mapping[str, TrustedKey]
) -> Stated:
    """Verify one line.

    1. The leaf opens: its commitment is that of the opening's salt and subject.
    2. The statement, if given, is the subject, of the event's kind, and each signature verifies.
    3. The path leads from the leaf to the head.

    Raises:
        Failed: It does not prove anything; says why.
    """
    if line.keys() != MEMBERS:
        raise Failed("its members are not those of a statement")
    # 1.
    body = unb64u(text_of(line["leaf"], "leaf"))
    leaf = read_leaf(body)
    opening = object_of(line["opening"], "opening")
    if opening.keys() != {"salt", "subject"}:
        raise Failed("the opening is not a salt and a subject")
    salt, subject = (unb64u(text_of(opening[name], name)) for name in ("salt", "subject"))
    if len(salt) != 32 or len(subject) != 32:
        raise Failed("salt or subject has another length")
    if hashlib.sha256(LEAF_LABEL + salt + subject).digest() != leaf.commitment:
        raise Failed("the opening does not open the leaf")
    # 2.
    signed_by: tuple[str, ...] = ()
    content: Mapping[str, object] = {}
    if line["statement"] is not None:
        raw = text_of(line["statement"], "statement").encode()
        if hashlib.sha256(raw).digest() != subject:
            raise Failed("the leaf is about something else than this statement")
        signed_by, content = _verify_signed(raw, TYPES.get(leaf.event), keys)
    elif leaf.event in TYPES:
        raise Failed("the statement is missing")
    # 3.
    index = line["index"]
    if not isinstance(index, int) or isinstance(index, bool):
        raise Failed("index is not a number")
    path = [unb64u(text_of(step, "path")) for step in list_of(line["path"], "path")]
    if any(len(step) != HASH_SIZE for step in path):
        raise Failed("a step of the path is not a hash")
    if not 0 <= index < head.size or not verify_inclusion(
        index, head.size, leaf_hash(body), path, head.root
    ):
        raise Failed("the path does not lead to the checkpoint's root")
    return Stated(leaf.event, leaf.time, subject, signed_by, content)


def directories_in(folder: Path) -> set[bytes]:
    """What leaves say of the directory versions in a bundle: the digests of their snapshots."""
    found = (folder / "directory" / "metadata").glob("*snapshot.json")
    return {hashlib.sha256(path.read_bytes()).digest() for path in found}


def described(events: Mapping[str, int], directories: Collection[bytes], seen: set[bytes]) -> str:
    """How many of each event there are, and of how many directory versions the files are here."""
    said = ", ".join(f"{number} {event}" for event, number in sorted(events.items()))
    here = len(seen & set(directories))
    if events.get("directory:published"):
        said += f" ({here} of these versions in this bundle)"
    return said or "none"


def _verify_signed(
    raw: bytes, typ: str | None, keys: Mapping[str, TrustedKey]
) -> tuple[tuple[str, ...], Mapping[str, object]]:
    jws = object_of(strict_json(raw), "statement")
    payload = text_of(jws.get("payload"), "payload")
    if jws.keys() == {"payload", "protected", "signature"}:
        signatures: list[object] = [{name: jws[name] for name in ("protected", "signature")}]
    elif jws.keys() == {"payload", "signatures"}:
        signatures = list_of(jws["signatures"], "signatures")
    else:
        raise Failed("not a JWS")
    authors, kids = set(), []
    for item in signatures:
        one = object_of(item, "signature")
        protected = text_of(one.get("protected"), "protected")
        header = object_of(strict_json(unb64u(protected)), "protected header")
        if header.keys() != {"alg", "kid", "typ"} or header["typ"] != typ:
            raise Failed("the header is not that of such a statement")
        kid = text_of(header["kid"], "kid")
        key = keys.get(kid)
        if key is None or thumbprint(key.jwk) != kid or header["alg"] != key.alg:
            raise Failed("signed by no key that we know")
        signature = unb64u(text_of(one.get("signature"), "signature"))
        verify_signature(key, signature, f"{protected}.{payload}".encode())
        authors.add(key.participant)
        kids.append(kid)
    content = object_of(strict_json(unb64u(payload)), "payload")
    named = content.get("parties", [content.get("from", content.get("by"))])
    if not authors or authors != set(map(str, list_of(named, "parties"))):
        raise Failed("signed by others than it names")
    return tuple(kids), content
