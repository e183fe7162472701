"""The vault's epoch keys, kept in custody beside the others and never in the database."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

from broker.gateway.vault.cipher import KEY_BYTES

_EPOCH = struct.Struct(f">I{KEY_BYTES}s")


class KeyProvider(Protocol):
    """The epoch keys, kept in custody and never in the database."""

    def key(self, epoch: int) -> bytes | None:
        """The key of an epoch (32 bytes), or None once it was destroyed or never was."""
        ...

    def create(self, epoch: int) -> None:
        """Make a random key for an epoch and store it durably; nothing to do if it exists."""
        ...

    def destroy(self, epoch: int) -> None:
        """Forget the key of an epoch durably; nothing to do if it is gone."""
        ...


class Secrets(Protocol):
    """Where custody keeps secrets by name (`keys.custody`)."""

    def has_secret(self, name: str) -> bool: ...
    def secret(self, name: str) -> bytes: ...
    def put_secret(self, name: str, value: bytes) -> None: ...


class EpochKeys:
    """Epoch keys in memory, handed to `save` whole after every change, before it takes effect."""

    def __init__(
        self, keys: Mapping[int, bytes], save: Callable[[Mapping[int, bytes]], None]
    ) -> None:
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError("an epoch key has 32 bytes")
        self._keys = dict(keys)
        self._save = save

    @classmethod
    def in_custody(cls, custody: Secrets, name: str = "vault-epochs") -> EpochKeys:
        """Epoch keys kept as one secret of a custody: destroyed by writing it without them."""
        stored = custody.secret(name) if custody.has_secret(name) else b""
        if len(stored) % _EPOCH.size:
            raise ValueError("not epoch keys")
        return cls(
            dict(_EPOCH.iter_unpack(stored)),
            lambda keys: custody.put_secret(
                name, b"".join(_EPOCH.pack(epoch, key) for epoch, key in sorted(keys.items()))
            ),
        )

    def __repr__(self) -> str:
        return f"<EpochKeys {sorted(self._keys)}>"

    def key(self, epoch: int) -> bytes | None:
        return self._keys.get(epoch)

    def create(self, epoch: int) -> None:
        if epoch not in self._keys:
            self._replace({**self._keys, epoch: os.urandom(KEY_BYTES)})

    def destroy(self, epoch: int) -> None:
        if epoch in self._keys:
            self._replace({at: key for at, key in self._keys.items() if at != epoch})

    def _replace(self, keys: dict[int, bytes]) -> None:
        self._save(keys)
        self._keys = keys
