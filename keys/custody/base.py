"""What every custody does, wherever it keeps its keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from keys.jws import Signer
from keys.lifecycle import KeySet, PrivateKey
from schemas.base import KeyId
from schemas.directory import Compartment, KeyUse, Participant
from schemas.errors import CustodyLocked


class Custody(ABC):
    """The open keys of one participant. Safe to use from several threads.

    Every change is durable before it counts.
    """

    @property
    @abstractmethod
    def keys(self) -> tuple[PrivateKey, ...]:
        """All keys, with what is published about them."""

    @abstractmethod
    def private(self, kid: KeyId) -> object | None:
        """The private sealing key with this id, or None (`keys.unsealing.Keyring`)."""

    @abstractmethod
    def signer(self, kid: KeyId) -> Signer:
        """The signer with this id.

        Raises:
            CustodyLocked: This custody has no such signing key.
        """

    @abstractmethod
    def secret(self, name: str) -> bytes:
        """A secret that is not a key of the protocol, as the log's signing key.

        Raises:
            CustodyLocked: No such secret.
        """

    @abstractmethod
    def has_secret(self, name: str) -> bool:
        """True if `secret(name)` would answer."""

    @abstractmethod
    def put_secret(self, name: str, value: bytes) -> None:
        """Keep a secret; it replaces one with the same name."""

    @abstractmethod
    def add(self, more: KeySet) -> None:
        """Keep more keys, as after a rotation."""

    @abstractmethod
    def make(
        self, use: KeyUse, suite: int, compartment: Compartment | None, *, start: datetime
    ) -> PrivateKey:
        """Make one key here, in force from `start` on, and keep it."""

    @abstractmethod
    def destroy(self, kid: KeyId) -> None:
        """Forget a key for ever. Backups must go too."""

    @abstractmethod
    def refresh(self) -> None:
        """Look whether another process has changed what is kept here."""

    @property
    def writable(self) -> bool:
        """False if keys can neither be made nor destroyed here."""
        return True

    def opens_since(self) -> datetime | None:
        """Start of the oldest sealing key that is left: what was sealed to us before that moment
        nobody can open any more. None if there is no sealing key."""
        self.refresh()
        return min((key.not_before for key in self.keys if key.use is KeyUse.SEAL), default=None)

    def signer_for(self, suite: int, now: datetime, entry: Participant | None = None) -> Signer:
        """The newest signing key of a suite that may be used now.

        Args:
            suite: 1 or 2.
            now: Compared with the key's own dates.
            entry: If given, the key must also be current in this entry of the directory.

        Raises:
            CustodyLocked: There is none.
        """
        self.refresh()
        published = {key.kid for key in entry.keys if key.is_current(now)} if entry else None
        candidates = [
            key
            for key in self.keys
            if key.use is KeyUse.SIGN
            and key.suite == suite
            and key.not_before <= now < key.not_after
            and (published is None or key.kid in published)
        ]
        if not candidates:
            raise CustodyLocked(f"no current signing key of suite {suite}")
        return self.signer(max(candidates, key=lambda key: key.not_before).kid)

    def __repr__(self) -> str:
        return f"<Custody of {len(self.keys)} keys>"
