"""The trust directory as it was, from the files in a bundle: whose key counted when.

A participant's key is replaced, retired, and one day gone from the directory; what it signed in its
time stays proven. So an auditor starts from the one thing that was handed over in person, the first
root, and follows the bundle's own copy of the directory's history (TUF 1.0, 5.3 and 5.6): each root
by the keys of the one before, each list of countries by a root, each country's list by the keys
that were given to that country, each entry by its hash. Nothing must be current; that is the point.

When a version came into use is what the log says of it (`directory:published`). A key counts at a
moment if a version that was in use then has it, within its dates, and nobody has said since that it
was in other hands already.

The standard library and `cryptography` alone, like all of the offline verifier.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.audit.proofs.offline import (
    Failed,
    TrustedKey,
    list_of,
    object_of,
    strict_json,
    text_of,
    thumbprint,
)

MAX_FILE = 16 * 1024 * 1024
SKEW = timedelta(minutes=10)
"""How far clocks may differ; a hub uses a version a moment before the log says so."""
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
_VERSIONED = re.compile(r"([1-9][0-9]{0,8})\.([a-z]{2,8})\.json")
_GOOD = ("active", "retired")


@dataclass(frozen=True)
class KnownKey:
    """A signing key as one version of an entry has it."""

    key: TrustedKey
    status: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class _Role:
    """Who signs for a role, and how many of them must."""

    keys: Mapping[str, Ed25519PublicKey]
    threshold: int


@dataclass
class History:
    """What was verified. `versions` are the directory's, by the digest of their snapshots."""

    versions: dict[bytes, dict[str, KnownKey]] = field(default_factory=dict)
    log_keys: set[str] = field(default_factory=set)
    """Verifier keys of logs and witnesses that any entry ever had."""
    _used: list[tuple[datetime, datetime, bytes]] = field(default_factory=list)
    _stolen: dict[str, datetime] = field(default_factory=dict)

    def keys(self) -> dict[str, TrustedKey]:
        """Every signing key that was ever in the directory."""
        return {kid: one.key for keys in self.versions.values() for kid, one in keys.items()}

    def in_use(self, published: Iterable[tuple[datetime, bytes]]) -> None:
        """Take from the log when which version came into use."""
        order = sorted(one for one in published if one[1] in self.versions)
        ends = [*(at for at, _ in order[1:]), FOR_EVER]
        self._used = [(at, end, digest) for (at, digest), end in zip(order, ends, strict=True)]

    def stolen(self, keys: Iterable[str], since: datetime) -> None:
        """Somebody who may say so has said that these keys were in other hands since then."""
        for kid in keys:
            self._stolen[kid] = min(since, self._stolen.get(kid, since))

    def require(self, kid: str, at: datetime) -> None:
        """Check that a key counted at a moment.

        Raises:
            Failed: It did not; says why.
        """
        if kid in self._stolen and at >= self._stolen[kid]:
            raise Failed("the key was in other hands when it signed")
        found = [
            self.versions[digest][kid]
            for start, end, digest in self._used
            if start - SKEW <= at < end + SKEW and kid in self.versions[digest]
        ]
        if not self._used:
            raise Failed("the log does not say when which directory was in use")
        if not found:
            raise Failed("no directory that was in use then has the key that signed it")
        if not any(
            one.status in _GOOD and one.not_before - SKEW <= at < one.not_after + SKEW
            for one in found
        ):
            raise Failed("the key was not in force when it signed")


def read_history(folder: Path, trusted_root: bytes) -> History:
    """Verify a directory's history.

    1. The roots: the trusted one, and each after it signed by a threshold of the one before and of
       itself.
    2. Each version of `targets`, by a threshold of a root's; each of a country, by a threshold of
       the keys that some version of `targets` gives to that country.
    3. Each snapshot, by a root's online key; it names one version of each role.
    4. Each entry is the file with the digest that its role names, below the role's own path.

    Args:
        folder: The bundle's `directory/`.
        trusted_root: Handed over in person; no newer than what is to be verified.

    Raises:
        Failed: A step fails for something that a later one needs.
    """
    roots = _roots(folder / "metadata", trusted_root)
    roles: dict[tuple[str, int], dict[str, object]] = {}
    delegated: dict[str, list[_Role]] = {}
    for version, _, signed in _files(folder / "metadata", "targets"):
        if _signed_by_any(signed, [root["targets"] for root in roots]):
            content = _content(signed)
            roles["targets", version] = content
            for name, role in _delegations(content):
                delegated.setdefault(name, []).append(role)
    for name, appointed in delegated.items():
        for version, _, signed in _files(folder / "metadata", name):
            if _signed_by_any(signed, appointed):
                roles[name, version] = _content(signed)
    history, entries = History(), _Entries(folder / "targets")
    published: dict[tuple[str, int], dict[str, KnownKey]] = {}
    for _, raw, signed in _files(folder / "metadata", "snapshot"):
        if not _signed_by_any(signed, [root["snapshot"] for root in roots]):
            continue
        named = object_of(_content(signed).get("meta"), "meta")
        keys: dict[str, KnownKey] = {}
        for file, item in named.items():
            place = (file.removesuffix(".json"), _version(object_of(item, "meta")))
            if place not in published:
                published[place] = {}
                for entry in entries.of(place[0], roles.get(place, {})):
                    published[place] |= _keys_of(entry)
                    if isinstance(vkey := entry.get("log_vkey"), str):
                        history.log_keys.add(vkey)
            keys |= published[place]
        history.versions[hashlib.sha256(raw).digest()] = keys
    if not history.versions:
        raise Failed("no version of the directory follows from this root")
    return history


# --- TUF, as far as history needs it ---------------------------------------------------------


def _roots(folder: Path, trusted: bytes) -> list[dict[str, _Role]]:
    first = object_of(strict_json(trusted), "root")
    roles = _roles_of(_content(first))
    if not _is_signed(first, roles["root"]):
        raise Failed("the trusted root is not signed by itself")
    found, version = [roles], _version(_content(first))
    for number, _, signed in _files(folder, "root"):
        if number <= version:
            continue
        following = _roles_of(_content(signed))
        if number != version + 1 or not (
            _is_signed(signed, found[-1]["root"]) and _is_signed(signed, following["root"])
        ):
            raise Failed(f"root {number} does not follow from the one before")
        found.append(following)
        version = number
    return found


def _roles_of(root: dict[str, object]) -> dict[str, _Role]:
    roles = object_of(root.get("roles"), "roles")
    return {name: _role(roles.get(name), root) for name in ("root", "targets", "snapshot")}


def _delegations(targets: dict[str, object]) -> Iterator[tuple[str, _Role]]:
    delegations = targets.get("delegations")
    if delegations is None:
        return
    inside = object_of(delegations, "delegations")
    for item in list_of(inside.get("roles", []), "roles"):
        role = object_of(item, "role")
        name = text_of(role.get("name"), "name")
        if role.get("paths") == [f"{name}/*"]:  # a country publishes below its own path
            yield name, _role(role, inside)


def _role(value: object, keys_in: Mapping[str, object]) -> _Role:
    role, known = object_of(value, "role"), object_of(keys_in.get("keys"), "keys")
    threshold = role.get("threshold")
    if not isinstance(threshold, int) or isinstance(threshold, bool) or threshold < 1:
        raise Failed("a role without a threshold")
    keys = {}
    for keyid in {text_of(one, "key") for one in list_of(role.get("keyids"), "keyids")}:
        public = object_of(object_of(known.get(keyid), "key").get("keyval"), "key")
        try:
            raw = bytes.fromhex(text_of(public.get("public"), "key"))
            keys[keyid] = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError:
            raise Failed("a role's key is none") from None
    return _Role(keys, threshold)


def _signed_by_any(signed: dict[str, object], roles: Sequence[_Role]) -> bool:
    return any(_is_signed(signed, role) for role in roles)


def _is_signed(signed: dict[str, object], role: _Role) -> bool:
    try:
        data, good = canonical(signed.get("signed")).encode(), set()
    except (RecursionError, UnicodeEncodeError):
        raise Failed("nothing that is signed") from None
    for item in list_of(signed.get("signatures"), "signatures"):
        one = object_of(item, "signature")
        key = role.keys.get(text_of(one.get("keyid"), "keyid"))
        if key is None:
            continue
        try:
            key.verify(bytes.fromhex(text_of(one.get("sig"), "sig")), data)
        except (InvalidSignature, ValueError):
            continue
        # By the key and not by its name: one key under two names is one.
        good.add(key.public_bytes_raw())
    return len(good) >= role.threshold


def _files(folder: Path, role: str) -> Iterator[tuple[int, bytes, dict[str, object]]]:
    """Versions of a role in their order: number, bytes, parsed."""
    found = []
    for path in folder.glob(f"*.{role}.json"):
        match = _VERSIONED.fullmatch(path.name)
        if match is not None and match[2] == role:
            found.append((int(match[1]), path))
    for number, path in sorted(found):
        with path.open("rb") as file:
            raw = file.read(MAX_FILE)
        signed = object_of(strict_json(raw), role)
        if _version(_content(signed)) == number:
            yield number, raw, signed


def _content(signed: Mapping[str, object]) -> dict[str, object]:
    return object_of(signed.get("signed"), "signed")


def _version(content: Mapping[str, object]) -> int:
    version = content.get("version")
    return version if isinstance(version, int) and not isinstance(version, bool) else 0


class _Entries:
    """Entries by their hashes; each file is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, dict[str, object]] = {}

    def of(self, role: str, content: Mapping[str, object]) -> Iterator[dict[str, object]]:
        for path, item in object_of(content.get("targets", {}), "targets").items():
            place, _, name = path.partition("/")
            if role not in ("targets", place) or "/" in name or ".." in path:
                raise Failed("an entry outside the path of whoever publishes it")
            hashes = object_of(object_of(item, "entry").get("hashes"), "hashes")
            digest = text_of(hashes.get("sha256"), "digest")
            entry = self._entry(self._folder / place / f"{digest}.{name}", digest)
            if entry.get("id") != f"{place}.{name.removesuffix('.json')}":
                raise Failed("an entry of another participant")
            yield entry

    def _entry(self, path: Path, digest: str) -> dict[str, object]:
        if digest not in self._read:
            try:
                raw = path.read_bytes()
            except (OSError, ValueError):  # a name with a zero in it is a ValueError
                raise Failed("an entry is missing") from None
            if hashlib.sha256(raw).hexdigest() != digest:
                raise Failed("an entry is not what its role names")
            self._read[digest] = object_of(strict_json(raw), "entry")
        return self._read[digest]


def _keys_of(entry: Mapping[str, object]) -> dict[str, KnownKey]:
    participant = text_of(entry.get("id"), "id")
    found = {}
    for item in list_of(entry.get("keys", []), "keys"):
        one = object_of(item, "key")
        if one.get("use") != "sign":
            continue
        jwk = {
            name: text_of(value, "jwk") for name, value in object_of(one.get("jwk"), "jwk").items()
        }
        key = TrustedKey(participant, text_of(one.get("alg"), "alg"), jwk)
        found[thumbprint(jwk)] = KnownKey(
            key,
            text_of(one.get("status"), "status"),
            moment(text_of(one.get("not_before"), "not_before")),
            moment(text_of(one.get("not_after"), "not_after")),
        )
    return found


def moment(text: str) -> datetime:
    """A time as the log and the directory write it.

    Raises:
        Failed: Not one.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Failed("not a time") from None
    if found.tzinfo is None:
        raise Failed("a time without a zone")
    return found


def canonical(value: object) -> str:
    """The bytes that a role's signature covers: canonical JSON as TUF uses it (OLPC), in which a
    string escapes quote and backslash and nothing else.

    Raises:
        Failed: A value that it has no form for.
    """
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        members = (f"{canonical(name)}:{canonical(one)}" for name, one in sorted(value.items()))
        return "{" + ",".join(members) + "}"
    raise Failed("nothing that is signed")
