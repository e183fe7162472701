"""Ceremonies: who may publish whose keys. Makes and changes the TUF repository that `trust` reads.

* root: a threshold of offline keys, a year; says who the other roles are.
* targets: a threshold of offline keys, six months; names the countries' roles, and the hubs.
* one role per country, `<cc>/*` only, terminating, ninety days; signed by the country's own keys.
* snapshot and timestamp: one online key at the hub, seven days.

Files are written so that a reader at any moment finds a whole older or a whole newer state: targets
first, then metadata under numbered names, the timestamp last. One ceremony at a time per repository.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from keys import jwk
from keys.custody import Custody
from keys.lifecycle import KeySet, Validity, new_keys
from keys.signing import Signer
from keys.trust import COUNTRY, HUB_PATH, check_entry
from schemas.base import ParticipantId
from schemas.directory import Participant, PublishedKey
from schemas.errors import Conflict, DirectoryRefused, NotFound, StorageUnavailable

ROOT_LIFE = timedelta(days=365)
TARGETS_LIFE = timedelta(days=182)
COUNTRY_LIFE = timedelta(days=90)
ONLINE_LIFE = timedelta(days=7)
"""Of snapshot and timestamp: some shelters are offline for days."""
OFFLINE_KEY_LIFE = timedelta(days=3650)
"""Of the keys of roles: what ends them is a new root, not a date."""

_ONLINE: Final = ("snapshot", "timestamp")
_Kind = TypeVar("_Kind", Root, Timestamp, Snapshot, Targets)


def new_role_key(now: datetime) -> tuple[KeySet, PublishedKey]:
    """Make one Ed25519 key for a role. Give the first half to `keys.custody`, the second to a role."""
    private, published = new_keys(
        compartments=(), suites=(1,), now=now, validity=Validity(sign=OFFLINE_KEY_LIFE)
    )
    return private, published[0]


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
        return self._newest("root")

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
        repository = cls(path)
        if (path / "metadata").exists():
            raise Conflict("there is a repository already")
        root = Root(
            version=1,
            expires=now + ROOT_LIFE,
            roles={
                "root": Role([], root_threshold),
                "targets": Role([], targets_threshold),
                **{name: Role([], 1) for name in _ONLINE},
            },
            consistent_snapshot=True,
        )
        for signer in root_signers:
            root.add_key(signer.public_key, "root")
        for key in root_keys:
            root.add_key(_key(key), "root")
        for signer in targets_signers:
            root.add_key(signer.public_key, "targets")
        for name in _ONLINE:
            root.add_key(online.public_key, name)
        root_metadata = _sign(Metadata(root), root_signers)
        _verify(root_metadata, "root", root_metadata.signed)
        targets = _sign(Metadata(Targets(1, expires=now + TARGETS_LIFE)), targets_signers)
        _verify(targets, "targets", root)
        repository._write_metadata("root", root_metadata)
        repository._write_metadata("targets", targets)
        repository._publish_online({"targets": targets}, online, now)
        return repository

    # --- Countries and hubs ---------------------------------------------------------------

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
        """Give a country its own role, or its role new keys. The country signs its entries again.

        Args:
            country: ISO 3166-1 alpha-2 in lower case.
            keys: The country's keys; they may publish `<country>/*` and nothing else.
            threshold: How many of them must sign.
            country_signers: At least `threshold` of them.
            targets_signers: Those who may name countries.
            online: The key of snapshot and timestamp.
            now: The country's role runs for 90 days from here.

        Raises:
            DirectoryRefused: Not a country's code, or too few signers.
        """
        if not COUNTRY.fullmatch(country):
            raise DirectoryRefused("not a country")
        targets = self._next("targets", Targets, now + TARGETS_LIFE)
        delegations = targets.signed.delegations or Delegations({}, {})
        roles = dict(delegations.roles or {})
        roles[country] = DelegatedRole(country, [], threshold, True, paths=[f"{country}/*"])
        in_use = {kid for role in roles.values() for kid in role.keyids}
        known = {kid: key for kid, key in delegations.keys.items() if kid in in_use}
        targets.signed.delegations = Delegations(known, roles)
        for key in keys:
            targets.signed.add_key(_key(key), country)
        _sign(targets, targets_signers)
        role = self._next(country, Targets, now + COUNTRY_LIFE)
        _sign(role, country_signers)
        _verify(targets, "targets", self._root().signed)
        _verify(role, country, targets.signed)
        self._commit({"targets": targets, country: role}, online, now)

    def publish_participants(
        self,
        entries: Sequence[Participant],
        *,
        country_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
        remove: Sequence[ParticipantId] = (),
    ) -> None:
        """Publish, replace or remove entries of one country, signed by that country.

        Raises:
            DirectoryRefused: Entries of two countries, an entry that is wrong in itself, or too few
                of the country's signers.
            NotFound: The country has no role.
        """
        countries = {name.partition(".")[0] for name in [*(e.id for e in entries), *remove]}
        if len(countries) != 1 or countries == {HUB_PATH}:
            raise DirectoryRefused("one country at a time")
        (country,) = countries
        top: Metadata[Targets] = self._load("targets")
        if top.signed.delegations is None or country not in (top.signed.delegations.roles or {}):
            raise NotFound("the country has no role")
        role = self._changed(country, entries, remove, now + COUNTRY_LIFE)
        _sign(role, country_signers)
        _verify(role, country, top.signed)
        self._commit({country: role}, online, now)

    def publish_participant(
        self,
        entry: Participant,
        *,
        country_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
    ) -> None:
        """Publish or replace one entry. Raises as `publish_participants` does."""
        self.publish_participants([entry], country_signers=country_signers, online=online, now=now)

    def publish_hub(
        self,
        entry: Participant,
        *,
        targets_signers: Sequence[RoleSigner],
        online: RoleSigner,
        now: datetime,
    ) -> None:
        """Publish or replace a hub's entry, signed by the top-level targets role.

        Raises:
            DirectoryRefused: Not a hub, an entry that is wrong in itself, or too few signers.
        """
        if entry.id.partition(".")[0] != HUB_PATH:
            raise DirectoryRefused("not a hub")
        targets = self._changed("targets", [entry], (), now + TARGETS_LIFE)
        _sign(targets, targets_signers)
        _verify(targets, "targets", self._root().signed)
        self._commit({"targets": targets}, online, now)

    # --- Keeping it alive -----------------------------------------------------------------

    def refresh_timestamp(self, online: RoleSigner, now: datetime) -> None:
        """Sign snapshot and timestamp anew, so that readers know that nothing is held back. Daily."""
        self._publish_online({}, online, now)

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
        """Replace the root's keys, and if asked those of the other roles. Readers follow by itself.

        A new root is signed by a threshold of the old keys and a threshold of the new (TUF, 6.1).

        Raises:
            DirectoryRefused: Too few of either.
        """
        old = self._root()
        new = self._next("root", Root, now + ROOT_LIFE)
        root = new.signed
        _replace_keys(root, "root", new_signers, threshold)
        if new_online is not None:
            for name in _ONLINE:
                _replace_keys(root, name, [new_online], 1)
        if new_targets is not None:
            _replace_keys(root, "targets", *new_targets)
        _sign(new, [*old_signers, *new_signers])
        _verify(new, "root", old.signed)
        _verify(new, "root", root)
        self._write_metadata("root", new)
        changed: dict[str, Metadata[Targets]] = {}
        if new_targets is not None:
            targets = self._next("targets", Targets, now + TARGETS_LIFE)
            _sign(targets, new_targets[0])
            _verify(targets, "targets", root)
            changed["targets"] = targets
        self._commit(changed, new_online or online, now)

    # --- Inside ---------------------------------------------------------------------------

    def _changed(
        self,
        role: str,
        entries: Sequence[Participant],
        remove: Sequence[ParticipantId],
        expires: datetime,
    ) -> Metadata[Targets]:
        metadata = self._next(role, Targets, expires)
        for entry in entries:
            check_entry(entry)
            self._check_keys_are_new(entry)
            country, _, name = entry.id.partition(".")
            data = entry.to_json()
            path = f"{country}/{name}.json"
            metadata.signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
            digest = hashlib.sha256(data).hexdigest()
            _write(self.path / "targets" / country / f"{digest}.{name}.json", data)
        for participant in remove:
            country, _, name = participant.partition(".")
            metadata.signed.targets.pop(f"{country}/{name}.json", None)
        return metadata

    def _check_keys_are_new(self, entry: Participant) -> None:
        """Readers refuse a directory in which two participants claim one key; see to it here."""
        kids = {key.kid for key in entry.keys}
        for other in self.entries():
            if other.id != entry.id and kids & {key.kid for key in other.keys}:
                raise DirectoryRefused("a key of another participant")

    def entries(self) -> list[Participant]:
        """Every entry as it stands in the folder; nothing is verified."""
        top: Metadata[Targets] = self._load("targets")
        roles = [top.signed]
        if top.signed.delegations is not None:
            roles += [self._load(name).signed for name in top.signed.delegations.roles or {}]
        found = []
        for role in roles:
            for path, info in role.targets.items():
                country, _, name = path.partition("/")
                file = self.path / "targets" / country / f"{info.hashes['sha256']}.{name}"
                found.append(Participant.from_json(file.read_bytes()))
        return found

    def _commit(
        self, changed: dict[str, Metadata[Targets]], online: RoleSigner, now: datetime
    ) -> None:
        for name, metadata in changed.items():
            self._write_metadata(name, metadata)
        self._publish_online(changed, online, now)

    def _publish_online(
        self, changed: dict[str, Metadata[Targets]], online: RoleSigner, now: datetime
    ) -> None:
        snapshot = self._next("snapshot", Snapshot, now + ONLINE_LIFE)
        for name, metadata in changed.items():
            # With its hash: a directory's digest then covers every entry in it.
            snapshot.signed.meta[f"{name}.json"] = MetaFile.from_data(
                metadata.signed.version, metadata.to_bytes(), ["sha256"]
            )
        _sign(snapshot, [online])
        timestamp = self._next("timestamp", Timestamp, now + ONLINE_LIFE)
        timestamp.signed.snapshot_meta = MetaFile.from_data(
            snapshot.signed.version, snapshot.to_bytes(), ["sha256"]
        )
        _sign(timestamp, [online])
        root = self._root().signed
        _verify(snapshot, "snapshot", root)
        _verify(timestamp, "timestamp", root)
        self._write_metadata("snapshot", snapshot)
        self._write_metadata("timestamp", timestamp)

    def _root(self) -> Metadata[Root]:
        return Metadata.from_bytes(self.root)

    def _load(self, role: str) -> Metadata[Any]:
        return Metadata.from_bytes(self._newest(role))

    def _next(self, role: str, kind: type[_Kind], expires: datetime) -> Metadata[_Kind]:
        """The next version of a role's metadata, still without signatures; or its first."""
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

    def _write_metadata(self, role: str, metadata: Metadata[Any]) -> None:
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        _write(self.path / "metadata" / name, metadata.to_bytes())


class RoleSigner(TufSigner):
    """One holder of a role's key: a signer of ours, as the library wants it."""

    def __init__(self, signer: Signer, published: PublishedKey) -> None:
        """Join a signer with its public half.

        Raises:
            DirectoryRefused: They are not one key, or not an Ed25519 one.
        """
        if signer.kid != published.kid:
            raise DirectoryRefused("not one key")
        self.published = published
        self._signer = signer
        self._key = _key(published)

    @classmethod
    def of(cls, custody: Custody) -> RoleSigner:
        """The holder whose custody has this one signing key (see `new_role_key`).

        Raises:
            DirectoryRefused: It has more, or none.
        """
        if len(custody.keys) != 1:
            raise DirectoryRefused("a role's key has a custody of its own")
        return cls(custody.signer(custody.keys[0].kid), custody.keys[0].published())

    @property
    def public_key(self) -> Key:
        """The key as the repository names it: its id is our `kid`."""
        return self._key

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: Callable[[str], str] | None = None,
    ) -> RoleSigner:
        """Not a way to get one."""
        raise DirectoryRefused("keys come from keys.custody")

    def sign(self, payload: bytes) -> Signature:
        """Sign a role's metadata."""
        return Signature(self._key.keyid, self._signer.sign(payload).hex())


def _key(published: PublishedKey) -> SSlibKey:
    public = jwk.public_key(published.jwk)
    if not isinstance(public, Ed25519PublicKey):
        raise DirectoryRefused("roles sign with Ed25519")
    return SSlibKey(
        published.kid, "ed25519", "ed25519", {"public": public.public_bytes_raw().hex()}
    )


def _replace_keys(root: Root, role: str, signers: Sequence[RoleSigner], threshold: int) -> None:
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    for signer in signers:
        root.add_key(signer.public_key, role)
    root.roles[role].threshold = threshold


def _sign(metadata: Metadata[_Kind], signers: Sequence[RoleSigner]) -> Metadata[_Kind]:
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def _verify(metadata: Metadata[Any], role: str, delegator: Root | Targets) -> None:
    """What readers would refuse is not written."""
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise DirectoryRefused(f"{role}: {type(error).__name__}") from None


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
