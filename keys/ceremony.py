"""Ceremonies: who may publish whose keys. Plans changes of the TUF repository that `trust` reads, and
carries them out.

A change is planned (`plan_…`), signed by as many holders as its roles want, each where they are
(`keys.proposal`), and applied by the hub's operator, whose online key says that this is now the
newest state. `delegate_country` and its like do all three at once, where everybody is present.

Files are written so that a reader at any moment finds a whole older or a whole newer state: entries
first, then metadata under numbered names, the timestamp last. One change at a time per repository.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from keys.proposal import Proposal
from keys.roles import (
    ONLINE,
    ONLINE_LIFE,
    ROOT,
    ROOT_LIFE,
    TARGETS,
    TARGETS_LIFE,
    RoleSigner,
    life_of,
    new_role_key,
    role_key,
)
from keys.trust import COUNTRY, HUB_PATH, check_entry
from schemas.base import ParticipantId
from schemas.directory import Participant, PublishedKey
from schemas.errors import (
    Conflict,
    DirectoryMoved,
    DirectoryOutOfScope,
    DirectoryRefused,
    DirectoryUnsigned,
    NotFound,
    StorageUnavailable,
)

__all__ = ["Repository", "RoleSigner", "first_plan", "new_role_key"]

_Kind = TypeVar("_Kind", Root, Timestamp, Snapshot, Targets)
RoleKeys = tuple[Sequence[PublishedKey], int]
"""The keys of a role, and how many of them must sign."""


def first_plan(
    *, root: RoleKeys, targets: RoleKeys, online: PublishedKey, now: datetime
) -> Proposal:
    """Plan an empty directory.

    Raises:
        DirectoryRefused: Fewer keys than must sign.
    """
    first = Root(version=1, expires=now + ROOT_LIFE, consistent_snapshot=True)
    _appoint(first, ROOT, root)
    _appoint(first, TARGETS, targets)
    for name in ONLINE:
        _appoint(first, name, ([online], 1))
    return Proposal(
        roles={
            ROOT: Metadata(first).to_bytes(),
            TARGETS: Metadata(Targets(1, expires=now + TARGETS_LIFE)).to_bytes(),
        },
        before={},
    )


class Repository:
    """A repository in a folder: `metadata/` and `targets/`."""

    def __init__(self, path: Path) -> None:
        """Open a folder; `create` makes the repository in it."""
        self.path = path

    @property
    def root(self) -> bytes:
        """The newest root. Give the first one to every participant by a trusted way.

        Raises:
            NotFound: There is no repository.
        """
        return self._newest(ROOT)

    # --- Planning: nothing is written -----------------------------------------------------

    def plan_country(self, country: str, keys: RoleKeys, now: datetime) -> Proposal:
        """Plan to give a country its own role, or its role new keys: so a country that lost its keys
        comes back. What it had published stays, and it signs that anew.

        Raises:
            DirectoryOutOfScope: Not a country's code.
            DirectoryRefused: Fewer keys than must sign.
        """
        if not COUNTRY.fullmatch(country):
            raise DirectoryOutOfScope("not a country")
        targets = self._next(TARGETS, Targets, now)
        delegations = targets.signed.delegations or Delegations({}, {})
        roles = dict(delegations.roles or {})
        roles[country] = DelegatedRole(country, [], keys[1], True, paths=[f"{country}/*"])
        in_use = {kid for role in roles.values() for kid in role.keyids}
        known = {kid: key for kid, key in delegations.keys.items() if kid in in_use}
        targets.signed.delegations = Delegations(known, roles)
        _check_threshold(keys)
        for key in keys[0]:
            targets.signed.add_key(role_key(key), country)
        role = self._next(country, Targets, now)
        return self._proposal({TARGETS: targets, country: role})

    def plan_participants(
        self,
        entries: Sequence[Participant],
        now: datetime,
        *,
        remove: Sequence[ParticipantId] = (),
    ) -> Proposal:
        """Plan to publish, replace or remove entries of one country.

        Raises:
            DirectoryOutOfScope: Entries of two countries.
            DirectoryRefused: An entry that is wrong in itself.
            NotFound: The country has no role, or there is no such entry.
        """
        countries = {name.partition(".")[0] for name in [*(e.id for e in entries), *remove]}
        if len(countries) != 1 or countries == {HUB_PATH}:
            raise DirectoryOutOfScope("one country at a time")
        (country,) = countries
        top: Metadata[Targets] = self._load(TARGETS)
        if top.signed.delegations is None or country not in (top.signed.delegations.roles or {}):
            raise NotFound("the country has no role")
        return self._plan_entries(country, entries, remove, now)

    def plan_hub(self, entry: Participant, now: datetime) -> Proposal:
        """Plan to publish or replace a hub's entry.

        Raises:
            DirectoryOutOfScope: Not a hub.
            DirectoryRefused: An entry that is wrong in itself.
        """
        if entry.id.partition(".")[0] != HUB_PATH:
            raise DirectoryOutOfScope("not a hub")
        return self._plan_entries(TARGETS, [entry], (), now)

    def plan_root(
        self,
        root: RoleKeys,
        now: datetime,
        *,
        targets: RoleKeys | None = None,
        online: PublishedKey | None = None,
    ) -> Proposal:
        """Plan to replace the root's keys, and if asked those of the other roles.

        The new root wants a threshold of the old keys and one of the new (TUF, 6.1); readers follow
        by themselves. A new online key is how a stolen one is made worthless, and how readers come
        back from versions that a thief has pushed ahead.

        Raises:
            DirectoryRefused: Fewer keys than must sign.
        """
        new = self._next(ROOT, Root, now)
        changed: dict[str, Metadata[Any]] = {ROOT: new}
        _appoint(new.signed, ROOT, root)
        if online is not None:
            for name in ONLINE:
                _appoint(new.signed, name, ([online], 1))
        if targets is not None:
            _appoint(new.signed, TARGETS, targets)
            changed[TARGETS] = self._next(TARGETS, Targets, now)
        return self._proposal(changed)

    def plan_renewal(self, role: str, now: datetime) -> Proposal:
        """Plan to sign a role anew as it stands, before it runs out.

        Raises:
            NotFound: No such role.
        """
        self._load(role)
        kind = Root if role == ROOT else Targets
        return self._proposal({role: self._next(role, kind, now)})

    # --- Applying -------------------------------------------------------------------------

    def apply(self, proposal: Proposal, online: RoleSigner, now: datetime) -> None:
        """Carry out a plan that is signed by everybody it needs.

        Raises:
            DirectoryMoved: A role has changed since the plan was made.
            DirectoryUnsigned: Signatures are missing, or are by keys that count no more.
            DirectoryOutOfScope, DirectoryRefused: See `Proposal.check`.
            StorageUnavailable: The folder cannot be written.
        """
        with self._alone():
            self._check_base(proposal)
            proposal.check()
            missing = proposal.missing()
            if missing:
                raise DirectoryUnsigned(
                    "; ".join(f"{one.role}: {one.have} of {one.need}" for one in missing)
                )
            changed: dict[str, Metadata[Any]] = {
                name: Metadata.from_bytes(data) for name, data in proposal.roles.items()
            }
            if any(metadata.signed.is_expired(now) for metadata in changed.values()):
                raise DirectoryMoved("it has run out while it waited for signatures")
            self._check_keys_are_new(proposal)
            for metadata in changed.values():
                self._write_entries(metadata, proposal.entries)
            for name, metadata in changed.items():
                self._write(name, metadata.signed.version, proposal.roles[name])
            new_targets = {name: one for name, one in changed.items() if name != ROOT}
            self._publish_online(new_targets, online, now)

    def refresh_timestamp(self, online: RoleSigner, now: datetime) -> None:
        """Sign snapshot and timestamp anew, so that readers know that nothing is held back. Daily."""
        with self._alone():
            self._publish_online({}, online, now)

    # --- All at once, where everybody is present ------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        root_signers: Sequence[RoleSigner],
        root_threshold: int,
        targets_signers: Sequence[RoleSigner],
        targets_threshold: int,
        online: RoleSigner,
        root_keys: Sequence[PublishedKey] = (),
        now: datetime,
    ) -> Repository:
        """Make an empty repository, signed by everybody present.

        Args:
            path: The folder.
            root_signers: At least `root_threshold`.
            root_threshold: How many of the root's keys must sign a new root.
            targets_signers: At least `targets_threshold`.
            targets_threshold: How many must sign a new country or hub.
            online: The key of snapshot and timestamp, at the hub.
            root_keys: Further keys of the root, whose holders are absent today.
            now: Everything expires counted from here.

        Raises:
            Conflict: There is a repository already.
            DirectoryRefused: Fewer signers than the threshold.
            StorageUnavailable: The folder cannot be written.
        """
        plan = first_plan(
            root=([*_published(root_signers), *root_keys], root_threshold),
            targets=(_published(targets_signers), targets_threshold),
            online=online.published,
            now=now,
        )
        repository = cls(path)
        repository._at_once(plan, [*root_signers, *targets_signers], online, now)
        return repository

    def delegate_country(
        self,
        country: str,
        keys: Sequence[PublishedKey],
        threshold: int,
        *,
        country_signers: Sequence[RoleSigner],
        targets_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
    ) -> None:
        """See `plan_country`."""
        plan = self.plan_country(country, (keys, threshold), now)
        self._at_once(plan, [*country_signers, *targets_signers], online, now)

    def publish_participants(
        self,
        entries: Sequence[Participant],
        *,
        country_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
        remove: Sequence[ParticipantId] = (),
    ) -> None:
        """See `plan_participants`."""
        plan = self.plan_participants(entries, now, remove=remove)
        self._at_once(plan, country_signers, online, now)

    def publish_participant(
        self,
        entry: Participant,
        *,
        country_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
    ) -> None:
        """The same for one entry."""
        self.publish_participants([entry], country_signers=country_signers, online=online, now=now)

    def publish_hub(
        self,
        entry: Participant,
        *,
        targets_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
    ) -> None:
        """See `plan_hub`."""
        self._at_once(self.plan_hub(entry, now), targets_signers, online, now)

    def rotate_root(
        self,
        *,
        old_signers: Sequence[RoleSigner],
        new_signers: Sequence[RoleSigner],
        threshold: int,
        online: RoleSigner,
        now: datetime,
        new_online: RoleSigner | None = None,
        new_targets: tuple[Sequence[RoleSigner], int] | None = None,
    ) -> None:
        """See `plan_root`."""
        plan = self.plan_root(
            (_published(new_signers), threshold),
            now,
            targets=new_targets and (_published(new_targets[0]), new_targets[1]),
            online=new_online.published if new_online else None,
        )
        signers = [*old_signers, *new_signers, *(new_targets[0] if new_targets else ())]
        self._at_once(plan, signers, new_online or online, now)

    def _at_once(
        self, plan: Proposal, signers: Sequence[RoleSigner], online: RoleSigner, now: datetime
    ) -> None:
        for signer in signers:
            plan = plan.signed_by(signer)
        self.apply(plan, online, now)

    # --- Inside: planning -----------------------------------------------------------------

    def _plan_entries(
        self,
        role: str,
        entries: Sequence[Participant],
        remove: Sequence[ParticipantId],
        now: datetime,
    ) -> Proposal:
        metadata = self._next(role, Targets, now)
        added: dict[str, bytes] = {}
        for entry in entries:
            check_entry(entry)
            data = entry.to_json()
            path = _path_of(entry.id)
            metadata.signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
            added[hashlib.sha256(data).hexdigest()] = data
        for participant in remove:
            if metadata.signed.targets.pop(_path_of(participant), None) is None:
                raise NotFound(participant)
        return self._proposal({role: metadata}, added)

    def _proposal(
        self, changed: Mapping[str, Metadata[Any]], added: Mapping[str, bytes] | None = None
    ) -> Proposal:
        """The plan, with all that a signer far from here needs to see what it changes."""
        before = {ROOT: self._newest(ROOT), TARGETS: self._newest(TARGETS)}
        entries = dict(added or {})
        for name in changed:
            try:
                before[name] = self._newest(name)
            except NotFound:
                continue  # a country's first role
            entries |= self._entries_of(self._load(name))
        for metadata in changed.values():
            metadata.signatures.clear()
        return Proposal({name: one.to_bytes() for name, one in changed.items()}, before, entries)

    def _entries_of(self, metadata: Metadata[Any]) -> dict[str, bytes]:
        if not isinstance(metadata.signed, Targets):
            return {}
        found = {}
        for path, info in metadata.signed.targets.items():
            data = self._file_of(path, info.hashes["sha256"]).read_bytes()
            found[info.hashes["sha256"]] = data
        return found

    # --- Inside: applying -----------------------------------------------------------------

    def _check_base(self, proposal: Proposal) -> None:
        for name in {ROOT, TARGETS, *proposal.roles}:
            try:
                present: bytes | None = self._newest(name)
            except NotFound:
                present = None
            # What was cut off in the middle of being applied is applied again.
            if present in (proposal.before.get(name), proposal.roles.get(name)):
                continue
            if not proposal.before:
                raise Conflict("there is a repository already")
            raise DirectoryMoved(f"{name} is not what it was when this was planned")

    def _check_keys_are_new(self, proposal: Proposal) -> None:
        """Readers refuse a directory in which two participants claim one key; see to it here."""
        owner: dict[str, ParticipantId] = {}
        standing = self.entries() if proposal.before else []
        changed = [Participant.from_json(data) for data in proposal.entries.values()]
        for entry in [*standing, *changed]:
            for key in entry.keys:
                if owner.setdefault(key.kid, entry.id) != entry.id:
                    raise DirectoryRefused("a key of another participant")

    def entries(self) -> list[Participant]:
        """Every entry as it stands in the folder; nothing is verified."""
        top: Metadata[Targets] = self._load(TARGETS)
        roles = [top]
        if top.signed.delegations is not None:
            roles += [self._load(name) for name in top.signed.delegations.roles or {}]
        return [
            Participant.from_json(data)
            for role in roles
            for data in self._entries_of(role).values()
        ]

    def _write_entries(self, metadata: Metadata[Any], entries: Mapping[str, bytes]) -> None:
        if not isinstance(metadata.signed, Targets):
            return
        for path, info in metadata.signed.targets.items():
            file = self._file_of(path, info.hashes["sha256"])
            if not file.exists():
                _write(file, entries[info.hashes["sha256"]])

    def _file_of(self, path: str, digest: str) -> Path:
        folder, _, name = path.partition("/")
        return self.path / "targets" / folder / f"{digest}.{name}"

    def _publish_online(
        self, changed: dict[str, Metadata[Targets]], online: RoleSigner, now: datetime
    ) -> None:
        snapshot = self._next("snapshot", Snapshot, now)
        for name, metadata in changed.items():
            # With its hash: a directory's digest then covers every entry in it.
            data = self._newest(name)
            snapshot.signed.meta[f"{name}.json"] = MetaFile.from_data(
                metadata.signed.version, data, ["sha256"]
            )
        snapshot.sign(online)
        data = snapshot.to_bytes()
        timestamp = self._next("timestamp", Timestamp, now)
        timestamp.signed.snapshot_meta = MetaFile.from_data(
            snapshot.signed.version, data, ["sha256"]
        )
        timestamp.sign(online)
        root: Root = self._load(ROOT).signed
        _verify(snapshot, "snapshot", root)
        _verify(timestamp, "timestamp", root)
        self._write("snapshot", snapshot.signed.version, data)
        self._write("timestamp", timestamp.signed.version, timestamp.to_bytes())

    def _load(self, role: str) -> Metadata[Any]:
        return Metadata.from_bytes(self._newest(role))

    def _next(self, role: str, kind: type[_Kind], now: datetime) -> Metadata[_Kind]:
        """The next version of a role's metadata, still without signatures; or its first."""
        expires = now + (ONLINE_LIFE if role in ONLINE else life_of(role))
        try:
            metadata: Metadata[_Kind] = self._load(role)
        except NotFound:
            return Metadata(kind(1, expires=expires))
        metadata.signed.version += 1
        metadata.signed.expires = expires
        metadata.signatures.clear()
        return metadata

    def _newest(self, role: str) -> bytes:
        folder = self.path / "metadata"
        if role == "timestamp":
            names = ["timestamp.json"] if (folder / "timestamp.json").exists() else []
        else:
            files = folder.glob(f"*.{role}.json")
            names = sorted((f.name for f in files), key=lambda name: int(name.partition(".")[0]))
        if not names:
            raise NotFound(role)
        return (folder / names[-1]).read_bytes()

    def _write(self, role: str, version: int, data: bytes) -> None:
        name = "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
        _write(self.path / "metadata" / name, data)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time: two operators at once must not both build on one state."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageUnavailable(f"repository: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _path_of(participant: ParticipantId) -> str:
    return participant.replace(".", "/", 1) + ".json"


def _published(signers: Sequence[RoleSigner]) -> list[PublishedKey]:
    return [signer.published for signer in signers]


def _check_threshold(keys: RoleKeys) -> None:
    if not 1 <= keys[1] <= len({key.kid for key in keys[0]}):
        raise DirectoryUnsigned("fewer keys than must sign")


def _appoint(root: Root, role: str, keys: RoleKeys) -> None:
    _check_threshold(keys)
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    for key in keys[0]:
        root.add_key(role_key(key), role)
    root.roles[role].threshold = keys[1]


def _verify(metadata: Metadata[Any], role: str, delegator: Root | Targets) -> None:
    """What readers would refuse is not written."""
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise DirectoryUnsigned(f"{role}: {type(error).__name__}") from None


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageUnavailable(f"repository: {error.strerror}") from None
