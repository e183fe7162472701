"""Plans: what a change of the directory would say, for others to look at and sign. Nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from keys.ceremony.folder import Folder
from keys.ceremony.proposal import Proposal
from keys.ceremony.roles import (
    ONLINE,
    ONLINE_LIFE,
    ROOT,
    ROOT_LIFE,
    TARGETS,
    TARGETS_LIFE,
    life_of,
    role_key,
)
from keys.trust import COUNTRY, HUB_PATH, check_entry
from schemas.base import ParticipantId
from schemas.directory import Participant, PublishedKey
from schemas.errors import (
    DirectoryOutOfScope,
    DirectoryUnsigned,
    NotFound,
)

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


class Planning(Folder):
    """A repository that can say what comes next."""

    def plan_country(self, country: str, keys: RoleKeys, now: datetime) -> Proposal:
        """Plan to give a country its own role, or its role new keys: so a country that lost its keys
        comes back. What it had published stays, and it signs that anew.

        Raises:
            DirectoryOutOfScope: Not a country's code.
            DirectoryRefused: Fewer keys than must sign.
        """
        if not COUNTRY.fullmatch(country):
            raise DirectoryOutOfScope("not a country")
        targets = self.next_of(TARGETS, Targets, now)
        delegations = targets.signed.delegations or Delegations({}, {})
        roles = dict(delegations.roles or {})
        roles[country] = DelegatedRole(country, [], keys[1], True, paths=[f"{country}/*"])
        in_use = {kid for role in roles.values() for kid in role.keyids}
        known = {kid: key for kid, key in delegations.keys.items() if kid in in_use}
        targets.signed.delegations = Delegations(known, roles)
        _check_threshold(keys)
        for key in keys[0]:
            targets.signed.add_key(role_key(key), country)
        role = self.next_of(country, Targets, now)
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
        top: Metadata[Targets] = self.load(TARGETS)
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
        new = self.next_of(ROOT, Root, now)
        changed: dict[str, Metadata[Any]] = {ROOT: new}
        _appoint(new.signed, ROOT, root)
        if online is not None:
            for name in ONLINE:
                _appoint(new.signed, name, ([online], 1))
        if targets is not None:
            _appoint(new.signed, TARGETS, targets)
            changed[TARGETS] = self.next_of(TARGETS, Targets, now)
        return self._proposal(changed)

    def plan_renewal(self, role: str, now: datetime) -> Proposal:
        """Plan to sign a role anew as it stands, before it runs out.

        Raises:
            NotFound: No such role.
        """
        self.load(role)
        kind = Root if role == ROOT else Targets
        return self._proposal({role: self.next_of(role, kind, now)})

    def next_of(self, role: str, kind: type[_Kind], now: datetime) -> Metadata[_Kind]:
        """The next version of a role's metadata, still without signatures; or its first."""
        expires = now + (ONLINE_LIFE if role in ONLINE else life_of(role))
        try:
            metadata: Metadata[_Kind] = self.load(role)
        except NotFound:
            return Metadata(kind(1, expires=expires))
        metadata.signed.version += 1
        metadata.signed.expires = expires
        metadata.signatures.clear()
        return metadata

    def _plan_entries(
        self,
        role: str,
        entries: Sequence[Participant],
        remove: Sequence[ParticipantId],
        now: datetime,
    ) -> Proposal:
        metadata = self.next_of(role, Targets, now)
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
        before = {ROOT: self.newest(ROOT), TARGETS: self.newest(TARGETS)}
        entries = dict(added or {})
        for name in changed:
            try:
                before[name] = self.newest(name)
            except NotFound:
                continue  # a country's first role
            entries |= self.entries_of(self.load(name))
        for metadata in changed.values():
            metadata.signatures.clear()
        return Proposal({name: one.to_bytes() for name, one in changed.items()}, before, entries)


def _path_of(participant: ParticipantId) -> str:
    return participant.replace(".", "/", 1) + ".json"


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
