"""The offline verifier: is this delivery proven, and is this log whole?

Imports the standard library, `cryptography`, and the pure modules beside it, nothing else (a test
holds it to that): an auditor can read all of it in an hour and run it on a machine without a
network, years later. It shares no parser with the code that it checks.

Both functions answer with a `Verdict`: every check with its outcome, what follows from those that
passed, up to when, and whose keys one must believe for it. Bad content never raises.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from broker.audit.checkpoint import SignedCheckpoint, open_checkpoint
from broker.audit.merkle import leaf_hash, verify_inclusion
from broker.audit.note import MAX_NOTE
from broker.audit.policy import Policy
from broker.audit.tiles import WIDTH, Edge, Tile, entries_path, read_bundle, tile_path
from broker.audit.tlog_proof import parse_proof
from schemas.errors import BrokerError

MAX_PROOF_FILE = 1024 * 1024
LEAF_LABEL = b"referral-broker/1 leaf\n"
EVIDENCE_TYP = "referral-evidence+jws"
_B64U = re.compile(r"[A-Za-z0-9_-]*")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_EVENT = re.compile(r"[a-z-]{1,40}:[a-z-]{1,40}")
_FILE_MEMBERS = {"evidence", "leaf", "opening", "proof", "directory_version", "keys"}


# --- what comes out ------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `detail` says why it failed, or what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Seen:
    """Somebody's signed statement that the log's head was this one at that time."""

    name: str
    key_id: str
    at: datetime | None
    """None for the log's plain signature, which has no date."""
    is_witness: bool


@dataclass(frozen=True)
class FactFound:
    """A fact that the evidence states."""

    fact: str
    envelope: str
    digest: str
    at: str


@dataclass
class Verdict:
    """What was proven. Only if `proven` does the rest stand; otherwise `checks` says what broke."""

    checks: list[Check] = field(default_factory=list)
    origin: str = ""
    log_size: int = 0
    index: int | None = None
    """Where the leaf stands; None for a whole log."""
    event: str = ""
    recorded_at: str = ""
    """The time in the leaf, by the log's own clock."""
    stated_by: str = ""
    """The participant that the evidence names as its author."""
    signed_by: str = ""
    """The key id (RFC 7638) that signed the evidence."""
    key_from: str = ""
    """`directory`, or `proof file`: then nobody but the file says whose key this is."""
    directory_version: int = 0
    facts: list[FactFound] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    """For a whole log: how many leaves of each event."""
    first_at: str = ""
    last_at: str = ""

    @property
    def proven(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def no_later_than(self) -> datetime | None:
        """The earliest date that anybody signed over a head which holds it."""
        return min((seen.at for seen in self.seen if seen.at), default=None)

    @property
    def up_to(self) -> datetime | None:
        """The newest date that anybody signed: nothing is proven of what came after."""
        return max((seen.at for seen in self.seen if seen.at), default=None)

    def lines(self) -> list[str]:
        """The verdict in plain words."""
        said = [
            f"{'ok  ' if check.passed else 'FAIL'} {check.name}"
            + (f": {check.detail}" if check.detail else "")
            for check in self.checks
        ]
        if not self.proven:
            return [*said, "NOT PROVEN."]
        for fact in self.facts:
            said.append(f"{self.stated_by} states: {fact.fact} {fact.envelope} at {fact.at}")
        if self.key_from == "proof file":
            said.append("whose key signed the evidence is the proof file's word alone")
        if self.index is not None:
            said.append(f"entry {self.index} of {self.log_size} in the log {self.origin}")
        else:
            said.append(f"all {self.log_size} entries of the log {self.origin}")
        for seen in self.seen:
            who = "witness" if seen.is_witness else "log"
            when = f" on {_when(seen.at)}" if seen.at else ""
            said.append(f"head signed by {who} {seen.name} (key {seen.key_id}){when}")
        until = f"up to {_when(self.up_to)}" if self.up_to else "at a time that nobody signed"
        return [*said, f"PROVEN, {until}."]

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "proven": self.proven,
            "checks": [vars(check) for check in self.checks],
            "origin": self.origin,
            "log_size": self.log_size,
            "index": self.index,
            "event": self.event,
            "recorded_at": self.recorded_at,
            "stated_by": self.stated_by,
            "signed_by": self.signed_by,
            "key_from": self.key_from,
            "directory_version": self.directory_version,
            "facts": [vars(fact) for fact in self.facts],
            "head_signed_by": [
                {
                    "name": seen.name,
                    "key_id": seen.key_id,
                    "at": _when(seen.at),
                    "witness": seen.is_witness,
                }
                for seen in self.seen
            ],
            "no_later_than": _when(self.no_later_than),
            "up_to": _when(self.up_to),
            "events": self.events,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


@dataclass(frozen=True)
class TrustedKey:
    """A participant's public key as the reader's own directory gives it."""

    participant: str
    alg: str
    jwk: Mapping[str, str]


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


class _Failed(Exception):
    """Ends a check."""


class _Steps:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """Run one check; a failure becomes a failed check, and the block's list its detail."""
        detail: list[str] = []
        try:
            yield detail
        except _Failed as failed:
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
        leaf = b""
        with self._steps.check("the leaf is about this evidence") as detail:
            leaf = self._leaf(file, detail)
        # 5.
        head: SignedCheckpoint | None = None
        with self._steps.check("the checkpoint is signed") as detail:
            proof = parse_proof(_text(file["proof"], "proof"))
            head = _head(self._verdict, proof.checkpoint, self._policy, detail)
        # 6.
        with self._steps.check("the leaf is in the log") as detail:
            if head is None or not leaf:
                raise _Failed("without a leaf and a checkpoint there is nothing to compare")
            checkpoint = head.checkpoint
            if not verify_inclusion(
                proof.index, checkpoint.size, leaf_hash(leaf), proof.path, checkpoint.root
            ):
                raise _Failed("the path does not lead to the checkpoint's root")
            self._verdict.index = proof.index
            detail.append(f"entry {proof.index} of {checkpoint.size}")
        # 7.
        if self._asked != Asked():
            with self._steps.check("the evidence states what was asked") as detail:
                self._answers(detail)

    def _members(self, data: bytes) -> dict[str, object]:
        if len(data) > MAX_PROOF_FILE:
            raise _Failed("larger than a proof can be")
        file = _object(_strict_json(data), "the file")
        if file.keys() != _FILE_MEMBERS:
            raise _Failed("its members are not those of a proof")
        version = file["directory_version"]
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise _Failed("directory_version is not a number")
        self._verdict.directory_version = version
        return file

    def _evidence(self, file: dict[str, object], detail: list[str]) -> None:
        raw = _text(file["evidence"], "evidence").encode()
        jws = _object(_strict_json(raw), "evidence")
        if jws.keys() != {"payload", "protected", "signature"}:
            raise _Failed("not a flattened JWS")
        protected, payload = _text(jws["protected"], "protected"), _text(jws["payload"], "payload")
        header = _object(_strict_json(_unb64u(protected)), "protected header")
        if header.keys() != {"alg", "kid", "typ"} or header["typ"] != EVIDENCE_TYP:
            raise _Failed("the header is not that of evidence")
        kid = _text(header["kid"], "kid")
        key = self._key(kid, file["keys"])
        if _thumbprint(key.jwk) != kid:
            raise _Failed("the key is not the one that the evidence names")
        if header["alg"] != key.alg:
            raise _Failed("the key is for another algorithm")
        signature = _unb64u(_text(jws["signature"], "signature"))
        _verify_signature(key, signature, f"{protected}.{payload}".encode())
        evidence = _object(_strict_json(_unb64u(payload)), "evidence")
        by = _text(evidence.get("by"), "by")
        if by != key.participant:
            raise _Failed("the key belongs to another participant than the evidence names")
        self._verdict.stated_by, self._verdict.signed_by = by, kid
        self._verdict.facts = _facts(evidence)
        detail.append(f"by {by}, key {kid}, known from the {self._verdict.key_from}")

    def _key(self, kid: str, in_file: object) -> TrustedKey:
        if self._trusted is not None:
            self._verdict.key_from = "directory"
            if kid not in self._trusted:
                raise _Failed("the directory does not have the key that signed it")
            return self._trusted[kid]
        self._verdict.key_from = "proof file"
        for item in _list(in_file, "keys"):
            entry = _object(item, "key")
            if entry.get("kid") == kid:
                jwk = _object(entry.get("jwk"), "jwk")
                return TrustedKey(
                    _text(entry.get("participant"), "participant"),
                    _text(entry.get("alg"), "alg"),
                    {name: _text(value, "jwk") for name, value in jwk.items()},
                )
        raise _Failed("the file does not have the key that signed it")

    def _leaf(self, file: dict[str, object], detail: list[str]) -> bytes:
        leaf = _unb64u(_text(file["leaf"], "leaf"))
        found = _read_leaf(leaf)
        opening = _object(file["opening"], "opening")
        if opening.keys() != {"salt", "subject"}:
            raise _Failed("the opening is not a salt and a subject")
        salt = _unb64u(_text(opening["salt"], "salt"))
        subject = _unb64u(_text(opening["subject"], "subject"))
        if len(salt) != 32 or len(subject) != 32:
            raise _Failed("salt or subject has another length")
        if hashlib.sha256(LEAF_LABEL + salt + subject).digest() != found.commitment:
            raise _Failed("the opening does not open the leaf")
        if subject != hashlib.sha256(_text(file["evidence"], "evidence").encode()).digest():
            raise _Failed("the leaf is about something else than this evidence")
        self._verdict.event, self._verdict.recorded_at = found.event, found.time
        detail.append(f"{found.event} at {found.time}")
        return leaf

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
            raise _Failed("it states nothing of the kind")
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
            raise _Failed("the root that follows from the entries is another")
    if kept:
        with steps.check("the earlier checkpoints are of the same history") as detail:
            for item in kept:
                if item.checkpoint.origin != head.checkpoint.origin:
                    raise _Failed("a checkpoint is of another log")
                if walker.roots.get(item.checkpoint.size) != item.checkpoint.root:
                    raise _Failed(f"the log had another history at size {item.checkpoint.size}")
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
            raise _Failed(f"{path} is cut off") from None
        if len(bodies) != count:
            raise _Failed(f"{path} holds {len(bodies)} entries and not {count}")
        return bodies

    def _entry(self, body: bytes) -> None:
        try:
            found = _read_leaf(body)
        except _Failed as failed:
            raise _Failed(f"entry {self.edge.size}: {failed}") from None
        self.events[found.event] += 1
        self.first_at = min(self.first_at or found.time, found.time)
        self.last_at = max(self.last_at, found.time)
        for full in self.edge.append(leaf_hash(body)):
            self._same(tile_path(full.tile), full.hashes)
        if self.edge.size in self._sizes:
            self.roots[self.edge.size] = self.edge.root()

    def _same(self, path: str, expected: bytes) -> None:
        if self._read(path) != expected:
            raise _Failed(f"{path} does not follow from the entries")

    def _read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except OSError:
            raise _Failed(f"{path} cannot be read") from None


# --- parts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Leaf:
    event: str
    time: str
    commitment: bytes


def _read_leaf(data: bytes) -> _Leaf:
    leaf = _object(_strict_json(data), "leaf")
    if leaf.keys() != {"v", "event", "time", "commitment"} or leaf["v"] != 1:
        raise _Failed("not a leaf of version 1")
    # All its text is ASCII, so this is its RFC 8785 form.
    if json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode() != data:
        raise _Failed("the leaf is not in its canonical form")
    event, time = _text(leaf["event"], "event"), _text(leaf["time"], "time")
    commitment = _unb64u(_text(leaf["commitment"], "commitment"))
    if not _EVENT.fullmatch(event) or not _INSTANT.fullmatch(time) or len(commitment) != 32:
        raise _Failed("the leaf holds something else than an event, a time and a commitment")
    return _Leaf(event, time, commitment)


def _head(verdict: Verdict, data: bytes, policy: Policy, detail: list[str]) -> SignedCheckpoint:
    head = open_checkpoint(data, policy.logs, policy.witness_keys)
    if not policy.is_met(head.by_witnesses):
        raise _Failed(f"the quorum of witnesses is not met ({len(head.by_witnesses)} signed)")
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
    for item in _list(evidence.get("facts"), "facts"):
        fact = _object(item, "fact")
        words = [_text(fact.get(name), name) for name in ("fact", "envelope", "digest", "at")]
        found.append(FactFound(*words))
    if not found:
        raise _Failed("the evidence states nothing")
    return found


def _verify_signature(key: TrustedKey, signature: bytes, signed: bytes) -> None:
    try:
        if key.alg == "Ed25519" and key.jwk.get("crv") == "Ed25519":
            public = Ed25519PublicKey.from_public_bytes(_unb64u(key.jwk["x"]))
            public.verify(signature, signed)
            return
        if key.alg == "ES256" and key.jwk.get("crv") == "P-256" and len(signature) == 64:
            x, y = (int.from_bytes(_unb64u(key.jwk[name]), "big") for name in ("x", "y"))
            numbers = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            der = utils.encode_dss_signature(r, s)
            numbers.public_key().verify(der, signed, ec.ECDSA(SHA256()))
            return
    except (InvalidSignature, ValueError, KeyError):
        raise _Failed("the signature does not verify") from None
    raise _Failed("not a key or signature of a kind that signs evidence")


def _thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638: the required members alone, sorted."""
    required = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y")}
    names = required.get(jwk.get("kty", ""), ())
    if not names or any(name not in jwk for name in names):
        raise _Failed("not a public signing key")
    text = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _strict_json(data: bytes) -> object:
    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("duplicate member")
        return found

    def refuse(_: str) -> object:
        raise ValueError("not a number of JSON")

    try:
        parsed: object = json.loads(
            data.decode(), object_pairs_hook=members, parse_constant=refuse, parse_float=refuse
        )
    except (ValueError, RecursionError):
        raise _Failed("not strict JSON") from None
    return parsed


def _unb64u(text: str) -> bytes:
    try:
        if not _B64U.fullmatch(text):
            raise ValueError
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise _Failed("not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise _Failed("base64url is not canonical")
    return data


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _Failed(f"{name} is not text")
    return value


def _object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _Failed(f"{name} is not an object")
    return value


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise _Failed(f"{name} is not a list")
    return value


def _when(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
