"""Applying: a plan that everybody has signed becomes what readers see.

Files are written so that a reader at any moment finds a whole older or a whole newer state: entries
first, then metadata under numbered names, the timestamp last. One change at a time per repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from keys.ceremony.planning import Planning, first_plan
from keys.ceremony.proposal import Proposal
from keys.ceremony.roles import ROOT, TARGETS, RoleSigner
from schemas.base import ParticipantId
from schemas.directory import Participant, PublishedKey
from schemas.errors import (
    Conflict,
    DirectoryMoved,
    DirectoryRefused,
    DirectoryUnsigned,
    NotFound,
)


class Repository(Planning):
    """A repository in a folder: plans, applied."""

    def apply(self, proposal: Proposal, online: RoleSigner, now: datetime) -> None:
        """Carry out a plan that is signed by everybody it needs.

        Raises:
            DirectoryMoved: A role has changed since the plan was made.
            DirectoryUnsigned: Signatures are missing, or are by keys that count no more.
            DirectoryOutOfScope, DirectoryRefused: See `Proposal.check`.
            StorageUnavailable: The folder cannot be written.
        """
        with self.alone():
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
                self.write_entries(metadata, proposal.entries)
            for name, metadata in changed.items():
                self.write(name, metadata.signed.version, proposal.roles[name])
            new_targets = {name: one for name, one in changed.items() if name != ROOT}
            self._publish_online(new_targets, online, now)

    def refresh_timestamp(self, online: RoleSigner, now: datetime) -> None:
        """Sign snapshot and timestamp anew, so that readers know that nothing is held back. Daily."""
        with self.alone():
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

    # --- Inside ---------------------------------------------------------------------------

    def _check_base(self, proposal: Proposal) -> None:
        for name in {ROOT, TARGETS, *proposal.roles}:
            try:
                present: bytes | None = self.newest(name)
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

    def _publish_online(
        self, changed: dict[str, Metadata[Targets]], online: RoleSigner, now: datetime
    ) -> None:
        snapshot = self.next_of("snapshot", Snapshot, now)
        for name, metadata in changed.items():
            # With its hash: a directory's digest then covers every entry in it.
            data = self.newest(name)
            snapshot.signed.meta[f"{name}.json"] = MetaFile.from_data(
                metadata.signed.version, data, ["sha256"]
            )
        snapshot.sign(online)
        data = snapshot.to_bytes()
        timestamp = self.next_of("timestamp", Timestamp, now)
        timestamp.signed.snapshot_meta = MetaFile.from_data(
            snapshot.signed.version, data, ["sha256"]
        )
        timestamp.sign(online)
        root: Root = self.load(ROOT).signed
        _verify(snapshot, "snapshot", root)
        _verify(timestamp, "timestamp", root)
        self.write("snapshot", snapshot.signed.version, data)
        self.write("timestamp", timestamp.signed.version, timestamp.to_bytes())


def _published(signers: Sequence[RoleSigner]) -> list[PublishedKey]:
    return [signer.published for signer in signers]


def _verify(metadata: Metadata[Any], role: str, delegator: Root | Targets) -> None:
    """What readers would refuse is not written."""
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise DirectoryUnsigned(f"{role}: {type(error).__name__}") from None
