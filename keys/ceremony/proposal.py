"""A planned change of the directory: one file that travels from signer to signer.

It holds what each changed role would say, what it says now, and the entries that go with it, so that
a machine without a network can show the difference and sign it. Nothing in it is believed: a signer
sees what it signs and nothing else, and `keys.ceremony.repository.Repository.apply` verifies everything against
the repository as it stands then. A role that has moved on since makes the whole change void.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError

from keys import strict_json
from keys.ceremony.roles import ROOT, TARGETS, RoleSigner
from keys.trust import COUNTRY, HUB_PATH, read_entry
from schemas.base import b64u, unb64u
from schemas.directory import Participant
from schemas.errors import (
    DirectoryOutOfScope,
    DirectoryRefused,
    DirectoryUnsigned,
    MalformedJson,
)

FORMAT = "referral-directory-plan/1"
MAX_PLAN_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the difference."""

    what: str
    """Participant, country or role."""
    field: str
    before: str | None
    after: str | None

    def row(self) -> dict[str, str | None]:
        """For a table or JSON."""
        return {
            "what": self.what,
            "field": self.field,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Missing:
    """How far a role is from being signed."""

    role: str
    by: str
    """`before` where the present root's keys must agree to the next, else the role's own name."""
    have: int
    need: int


@dataclass(frozen=True)
class Proposal:
    """What the roles shall say next. `roles` and `before` are whole TUF files, by role."""

    roles: Mapping[str, bytes]
    before: Mapping[str, bytes]
    """What the changed roles, and those who appoint them, say now; empty for a new directory."""
    entries: Mapping[str, bytes] = field(default_factory=dict)
    """New and present entries, by the SHA-256 of their bytes."""

    # --- As a file ------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The file."""
        value = {
            "format": FORMAT,
            **{
                name: {key: b64u(data) for key, data in sorted(part.items())}
                for name, part in (
                    ("roles", self.roles),
                    ("before", self.before),
                    ("entries", self.entries),
                )
            },
        }
        return json.dumps(value, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Proposal:
        """Read a file; whether what it proposes is in order is for `check`.

        Raises:
            TooLarge, MalformedJson: Not a plan.
        """
        value = strict_json.parse_object(data, limit=MAX_PLAN_BYTES)
        try:
            if value.pop("format") != FORMAT or value.keys() != {"roles", "before", "entries"}:
                raise ValueError
            parts = {name: _bytes_of(part) for name, part in value.items()}
        except (KeyError, ValueError, TypeError):
            raise MalformedJson("not a plan") from None
        found = cls(**parts)
        if any(_digest(entry) != digest for digest, entry in found.entries.items()):
            raise MalformedJson("an entry is not what its name says")
        return found

    # --- What it would do -----------------------------------------------------------------

    def check(self) -> None:
        """Refuse what no honest plan says, before anybody puts a signature under it.

        Raises:
            DirectoryOutOfScope: A role would publish outside its own path.
            DirectoryRefused: A version that does not follow, a role that nobody appointed, an entry
                that is missing or wrong in itself.
        """
        for name in self.roles:
            new, old = self._new(name), self._old(name)
            if new.signed.version != (old.signed.version + 1 if old else 1):
                raise DirectoryRefused(f"{name}: the version does not follow")
            if name != ROOT and not isinstance(new.signed, Targets):
                raise DirectoryRefused(f"{name}: not a role")
            if isinstance(new.signed, Targets):
                self._check_targets(name, new.signed)
        self.missing()

    def _check_targets(self, name: str, targets: Targets) -> None:
        own = HUB_PATH if name == TARGETS else name
        if name != TARGETS and (not COUNTRY.fullmatch(name) or targets.delegations is not None):
            raise DirectoryRefused(f"{name}: not a country")
        for path in targets.targets:
            folder, _, file = path.partition("/")
            if folder != own or not file.endswith(".json"):
                raise DirectoryOutOfScope(f"{name} would publish {path}")
            self._entry(targets, path)
        for country, role in _delegations(targets).items():
            if role.paths != [f"{country}/*"] or not role.terminating:
                raise DirectoryOutOfScope(f"{country} would publish for others")

    def missing(self) -> tuple[Missing, ...]:
        """Whose signatures are still to be collected; empty if it can be applied."""
        found = []
        for name in self.roles:
            for by, appointer in self._appointers(name):
                new = self._new(name)
                try:
                    result = appointer.get_verification_result(
                        name, new.signed_bytes, new.signatures
                    )
                except ValueError:
                    raise DirectoryRefused(f"{name}: nobody appointed it") from None
                if not result:
                    found.append(Missing(name, by, len(result.signed), result.threshold))
        return tuple(found)

    def difference(self) -> tuple[Change, ...]:
        """Line by line, what would become different. Dates and versions of roles are among it."""
        found: list[Change] = []
        for name in sorted(self.roles):
            new, old = self._new(name), self._old(name)
            role = f"role {name}"
            found += _changes(role, _facts(old), _facts(new))
            found += self._entries_changed(old, new)
        return tuple(found)

    def _entries_changed(self, old: Metadata[Any] | None, new: Metadata[Any]) -> Iterable[Change]:
        before = old.signed.targets if old and isinstance(old.signed, Targets) else {}
        after = new.signed.targets if isinstance(new.signed, Targets) else {}
        for path in sorted({*before, *after}):
            what = path.removesuffix(".json").replace("/", ".")
            one = self._entry(old.signed, path) if old and path in before else None
            other = self._entry(new.signed, path) if path in after else None
            yield from _changes(what, _entry_facts(one), _entry_facts(other))

    # --- Signing --------------------------------------------------------------------------

    def signed_by(self, signer: RoleSigner) -> Proposal:
        """The plan with this holder's signature under every role that wants it.

        Raises:
            DirectoryUnsigned: No role of the plan wants this key.
            DirectoryRefused: See `check`; nothing that is out of order is signed.
        """
        self.check()
        roles, wanted = dict(self.roles), False
        for name in self.roles:
            keyid = signer.public_key.keyid
            if any(keyid in _keyids(one, name) for _, one in self._appointers(name)):
                metadata = self._new(name)
                metadata.sign(signer, append=True)
                roles[name] = metadata.to_bytes()
                wanted = True
        if not wanted:
            raise DirectoryUnsigned("this key signs nothing of this plan")
        return replace(self, roles=roles)

    # --- Inside ---------------------------------------------------------------------------

    def _new(self, name: str) -> Metadata[Any]:
        return _metadata(self.roles[name])

    def _old(self, name: str) -> Metadata[Any] | None:
        return _metadata(self.before[name]) if name in self.before else None

    def _appointers(self, name: str) -> list[tuple[str, Root | Targets]]:
        """Who says which keys sign this role. A new root needs the old one's keys and its own."""
        by = TARGETS if name not in (ROOT, TARGETS) else ROOT
        found = _metadata(self.roles.get(by) or self.before.get(by) or b"").signed
        appointers: list[tuple[str, Root | Targets]] = [(by if name != ROOT else "after", found)]
        old = self._old(ROOT) if name == ROOT else None
        if old is not None:
            appointers.insert(0, ("before", old.signed))
        return appointers

    def _entry(self, targets: Targets, path: str) -> Participant:
        data = self.entries.get(targets.targets[path].hashes.get("sha256", ""))
        if data is None:
            raise DirectoryRefused(f"{path}: its entry is missing")
        try:
            targets.targets[path].verify_length_and_hashes(data)
            return read_entry(data, path.removesuffix(".json").replace("/", ".", 1))
        except RepositoryError:
            raise DirectoryRefused(f"{path}: its entry is another") from None


def _bytes_of(part: object) -> dict[str, bytes]:
    if not isinstance(part, dict) or not all(isinstance(data, str) for data in part.values()):
        raise TypeError
    return {str(key): unb64u(data) for key, data in part.items()}


def _metadata(data: bytes) -> Metadata[Any]:
    try:
        return Metadata.from_bytes(data)
    except DeserializationError:
        raise DirectoryRefused("not a role's metadata") from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _delegations(targets: Targets) -> dict[str, Any]:
    found = targets.delegations
    return dict(found.roles or {}) if found is not None else {}


def _keyids(appointer: Root | Targets, name: str) -> list[str]:
    try:
        return list(appointer.get_delegated_role(name).keyids)
    except ValueError:
        return []


def _facts(metadata: Metadata[Any] | None) -> dict[str, str]:
    """What a role says beside its entries."""
    if metadata is None:
        return {}
    signed = metadata.signed
    facts = {"version": str(signed.version), "expires": f"{signed.expires:%Y-%m-%d}"}
    appointed = dict(signed.roles) if isinstance(signed, Root) else _delegations(signed)
    for name, role in appointed.items():
        facts[f"signers of {name}"] = f"{role.threshold} of {', '.join(sorted(role.keyids))}"
    return facts


def _entry_facts(entry: Participant | None) -> dict[str, str]:
    if entry is None:
        return {}
    value = entry.to_dict()
    facts = {
        name: json.dumps(item, ensure_ascii=False) if not isinstance(item, str) else item
        for name, item in value.items()
        if name != "keys" and item is not None
    }
    for key in entry.keys:
        use = f"{key.use} {key.compartment or ''}".strip()
        facts[f"key {key.kid}"] = (
            f"{use}, suite {key.suite}, {key.status} until {key.not_after:%Y-%m-%d}"
        )
    return facts


def _changes(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    names = dict.fromkeys([*before, *after])
    return [
        Change(what, name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]
