"""An auditor's bundle: a folder with everything about a period, and how to check it offline.

contents.jws        the table of contents, signed by the hub: each file and its SHA-256
checkpoint          the log's head, co-signed, that every proof leads to
evidence.jsonl      each evidence with its leaf, what opens it, and its path to that head
statements.jsonl    the same for what is not evidence: grants, agreements … and, whatever the period, which
                    directory was in use when and which keys were said to be in other hands
envelopes.json      the clear part of each envelope: who, to whom, which kind
keys.json           the participants' public keys, of now and of before
policy              who must have signed the head (C2SP tlog-policy), as the hub states it
directory/          every version of the trust directory that the hub still serves (TUF)
report.html, .pdf   what it adds up to, for people; also .fr and .ar

Verifying needs the standard library and `cryptography` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from broker.audit.bundle.figures import Figures, Sent, count
from broker.audit.log.checkpoint import open_checkpoint
from broker.audit.log.merkle import HASH_SIZE
from broker.audit.log.note import MAX_NOTE, Verifier
from broker.audit.proofs.history import History, moment, read_history
from broker.audit.proofs.offline import (
    Failed,
    TrustedKey,
    list_of,
    object_of,
    strict_json,
    text_of,
    thumbprint,
    unb64u,
    verify_signature,
)
from broker.audit.proofs.policy import Policy, parse_policy
from broker.audit.proofs.statements import Stated, described, directories_in, verify_line
from broker.audit.proofs.tlog_proof import format_proof
from broker.audit.proofs.verdict import Check, Verdict
from broker.audit.proofs.verify import verify_proof
from schemas.errors import BrokerError, SchemaRefused

CONTENTS = "contents.jws"
TYP = "referral-bundle+jws"
MAX_LINE = 1024 * 1024


def verify_bundle(
    folder: Path,
    policy: Policy | None,
    *,
    trusted_keys: Mapping[str, TrustedKey] | None = None,
    trusted_root: bytes | None = None,
) -> Verdict:
    """Verify a bundle.

    1. The table of contents is signed by a key of the hub that it names.
    2. The folder holds exactly the files that it lists, with these digests.
    3. Each evidence is proven by itself (`verify_proof`), all by the one checkpoint.
    4. So is each statement (`broker.audit.proofs.statements`).

    Without `trusted_keys` those of the bundle are believed, and the verdict says so. With
    `trusted_root`, the directory's first root, keys are those of the bundle's own history of the
    directory (`broker.audit.proofs.history`), each judged at the time that the log gives: also
    when it has long been replaced, or is gone with its participant.

    Args:
        policy: None takes the bundle's, if all its keys are in that history.

    Raises:
        OSError: The folder has no table of contents.
    """
    verdict = Verdict()
    keys, history = trusted_keys, None
    try:
        if trusted_root is not None:
            history = read_history(folder / "directory", trusted_root)
            keys = history.keys()
            detail = f"{len(history.versions)} versions from the trusted root"
            verdict.checks.append(Check("the directory's history is whole", True, detail))
        if policy is None:
            policy = _stated_policy(folder, history)
        if keys is None:
            keys = read_keys(folder / "keys.json")
        contents = _signed((folder / CONTENTS).read_bytes(), keys, verdict)
        verdict.checks.append(Check("the contents are signed", True, f"by {verdict.stated_by}"))
        _compare(folder, contents)
        verdict.checks.append(Check("the files are those of the contents", True, ""))
    except Failed as failed:
        name = "the files are those of the contents" if verdict.checks else "the contents"
        verdict.checks.append(Check(name, False, str(failed)))
        return verdict
    checkpoint = (folder / "checkpoint").read_bytes()[:MAX_NOTE].decode(errors="replace")
    # First: they say when which directory was in use.
    statements = _statements(folder, checkpoint, policy, keys, history)
    proven = 0
    for number, line in enumerate(lines_of(folder / "evidence.jsonl"), start=1):
        one = _one(line, checkpoint, policy, keys)
        if history is not None and one.proven:
            try:
                history.require(one.signed_by, moment(one.recorded_at))
            except Failed as failed:
                one.checks.append(Check("the key counted then", False, str(failed)))
        if not one.proven:
            failed_checks = [check for check in one.checks if not check.passed]
            for check in failed_checks:
                verdict.checks.append(Check(check.name, False, f"line {number}: {check.detail}"))
            return verdict
        proven += 1
        verdict.seen, verdict.origin, verdict.log_size = one.seen, one.origin, one.log_size
        verdict.events[one.event] = verdict.events.get(one.event, 0) + 1
        verdict.first_at = min(verdict.first_at or one.recorded_at, one.recorded_at)
        verdict.last_at = max(verdict.last_at, one.recorded_at)
    trusted = trusted_keys is not None or history is not None
    verdict.key_from = "directory" if trusted else "proof file"
    verdict.checks.append(Check("every evidence is proven", True, f"{proven} of {proven}"))
    verdict.checks.append(statements.check)
    for event, number in statements.events.items():
        verdict.events[event] = verdict.events.get(event, 0) + number
    return verdict


@contextmanager
def unpacked(target: Path) -> Iterator[Path]:
    """The bundle's folder; a .zip is unpacked beside nothing else, and forgotten afterwards.

    Raises:
        SchemaRefused: Not a zip file.
    """
    if target.is_dir():
        yield target
        return
    with TemporaryDirectory() as folder:
        try:
            with ZipFile(target) as packed:
                packed.extractall(folder)  # drops what would lead out of the folder
        except BadZipFile:
            raise SchemaRefused("not a zip file") from None
        yield Path(folder)


def figures_of(folder: Path) -> Figures:
    """Count a bundle again, from its evidence.

    Raises:
        Failed: A file is not what it should be.
    """
    listed = object_of(strict_json((folder / "envelopes.json").read_bytes()), "envelopes")
    envelopes = {}
    for envelope, item in listed.items():
        entry = object_of(item, "envelope")
        envelopes[envelope] = Sent(
            sender=text_of(entry.get("sender"), "sender"),
            recipient=text_of(entry.get("recipient"), "recipient"),
            kind=text_of(entry.get("kind"), "kind"),
            has_grant=entry.get("grant") is True,
        )
    return count((payload_of(line) for line in lines_of(folder / "evidence.jsonl")), envelopes)


def payload_of(line: Mapping[str, object]) -> dict[str, object]:
    """What one line's evidence states; its signature is checked elsewhere."""
    jws = object_of(strict_json(text_of(line.get("evidence"), "evidence").encode()), "evidence")
    return object_of(strict_json(unb64u(text_of(jws.get("payload"), "payload"))), "payload")


def lines_of(path: Path) -> Iterator[dict[str, object]]:
    """The lines of `evidence.jsonl`, one at a time."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            yield object_of(strict_json(line), "line")


def read_keys(path: Path) -> dict[str, TrustedKey]:
    """Keys by their thumbprints, as `referral directory keys` writes them."""
    found = {}
    for kid, item in object_of(strict_json(path.read_bytes()), "keys").items():
        entry = object_of(item, "key")
        jwk = object_of(entry.get("jwk"), "jwk")
        found[kid] = TrustedKey(
            text_of(entry.get("participant"), "participant"),
            text_of(entry.get("alg"), "alg"),
            {name: text_of(value, "jwk") for name, value in jwk.items()},
        )
    return found


def _signed(raw: bytes, keys: Mapping[str, TrustedKey], verdict: Verdict) -> dict[str, object]:
    jws = object_of(strict_json(raw), "contents")
    if jws.keys() != {"payload", "protected", "signature"}:
        raise Failed("not a flattened JWS")
    parts = {name: text_of(value, name) for name, value in jws.items()}
    header = object_of(strict_json(unb64u(parts["protected"])), "protected header")
    if header.keys() != {"alg", "kid", "typ"} or header["typ"] != TYP:
        raise Failed("the header is not that of a table of contents")
    kid = text_of(header["kid"], "kid")
    key = keys.get(kid)
    if key is None or thumbprint(key.jwk) != kid or header["alg"] != key.alg:
        raise Failed("signed by no key that we know")
    signed = f"{parts['protected']}.{parts['payload']}".encode()
    verify_signature(key, unb64u(parts["signature"]), signed)
    contents = object_of(strict_json(unb64u(parts["payload"])), "contents")
    if contents.get("version") != 1 or contents.get("hub") != key.participant:
        raise Failed("the hub that it names did not sign it")
    verdict.stated_by, verdict.signed_by = key.participant, kid
    return contents


def _compare(folder: Path, contents: Mapping[str, object]) -> None:
    listed = object_of(contents.get("files"), "files")
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    } - {CONTENTS}
    for name in sorted(there ^ listed.keys()):
        raise Failed(f"{name} is {'not listed' if name in there else 'missing'}")
    for name, digest in listed.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise Failed(f"{name} was changed")


@dataclass(frozen=True)
class _Statements:
    check: Check
    events: Mapping[str, int]


def _statements(
    folder: Path,
    checkpoint: str,
    policy: Policy,
    keys: Mapping[str, TrustedKey],
    history: History | None,
) -> _Statements:
    name, events = "every statement is proven", Counter[str]()
    found: list[Stated] = []
    try:
        head = open_checkpoint(checkpoint.encode(), policy.logs).checkpoint
        for line in lines_of(folder / "statements.jsonl"):
            found.append(verify_line(line, head, keys))
            events[found[-1].event] += 1
    except (Failed, BrokerError) as error:
        detail = f"line {events.total() + 1}: {error}"
        return _Statements(Check(name, False, detail), {})
    versions = {one.subject for one in found if one.event == "directory:published"}
    if history is not None:
        try:
            _judge(found, history)
        except Failed as failed:
            return _Statements(Check(name, False, str(failed)), {})
    detail = described(events, directories_in(folder), versions)
    return _Statements(Check(name, True, detail), events)


def _judge(found: Sequence[Stated], history: History) -> None:
    """Teach the history what the log says of keys, and judge these statements' own."""
    history.in_use(
        (moment(one.time), one.subject) for one in found if one.event == "directory:published"
    )
    for one in found:
        if one.event == "key:revoked":
            # Whoever loses the only key says so with that very key: it need not count any more.
            kids = [text_of(kid, "key") for kid in list_of(one.content.get("keys"), "keys")]
            history.stolen(kids, moment(text_of(one.content.get("since"), "since")))
    for number, one in enumerate(found, start=1):
        for kid in () if one.event == "key:revoked" else one.signed_by:
            try:
                history.require(kid, moment(one.time))
            except Failed as failed:
                raise Failed(f"line {number}: {failed}") from None


def _stated_policy(folder: Path, history: History | None) -> Policy:
    if history is None:
        raise Failed("without a policy or a trusted root nobody's word counts")
    try:
        policy = parse_policy((folder / "policy").read_bytes())
        known = [Verifier.from_text(vkey) for vkey in history.log_keys]
    except BrokerError as error:
        raise Failed(f"the policy: {error}") from None
    for key in (*policy.logs, *policy.witness_keys):
        # The directory names a country's key once; its votes are in the dated form.
        if (key.name, key.public) not in {(one.name, one.public) for one in known}:
            raise Failed("the policy names a key that the directory never had")
    return policy


def _one(
    line: dict[str, object], checkpoint: str, policy: Policy, keys: Mapping[str, TrustedKey]
) -> Verdict:
    try:
        index = line["index"]
        if not isinstance(index, int) or isinstance(index, bool):
            raise Failed("index is not a number")
        path = [unb64u(text_of(step, "path")) for step in list_of(line["path"], "path")]
        if any(len(step) != HASH_SIZE for step in path):
            raise Failed("a step of the path is not a hash")
    except (Failed, KeyError) as error:
        return Verdict(checks=[Check("the line is a proof", False, str(error))])
    members = {name: line.get(name) for name in ("evidence", "leaf", "opening")}
    members["directory_version"] = line.get("directory_version")
    members["proof"] = format_proof(index, path, checkpoint)
    return verify_proof(json.dumps(members).encode(), policy, trusted_keys=keys)
