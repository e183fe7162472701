"""The keys behind the directory's roles, and how long what they sign is believed.

* root: a threshold of offline keys, a year; says who the other roles are.
* targets: a threshold of offline keys, six months; names the countries' roles, and the hubs.
* one role per country, `<cc>/*` only, terminating, ninety days; signed by the country's own keys.
* snapshot and timestamp: one online key at the hub, seven days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSigner

from keys import jwk
from keys.custody import Custody
from keys.jws import Signer
from keys.lifecycle import KeySet, Validity, new_keys
from keys.rotation import WARN_DAYS
from schemas.directory import PublishedKey
from schemas.errors import DirectoryRefused

ROOT_LIFE = timedelta(days=365)
TARGETS_LIFE = timedelta(days=182)
COUNTRY_LIFE = timedelta(days=90)
ONLINE_LIFE = timedelta(days=7)
"""Of snapshot and timestamp: some shelters are offline for days."""
ONLINE_WARN_DAYS = 3
OFFLINE_KEY_LIFE = timedelta(days=3650)
"""Of the keys of roles: what ends them is a new root, not a date."""

ROOT, TARGETS = "root", "targets"
ONLINE: Final = ("snapshot", "timestamp")


def life_of(role: str) -> timedelta:
    """How long a new version of a role is believed."""
    if role in ONLINE:
        return ONLINE_LIFE
    return {ROOT: ROOT_LIFE, TARGETS: TARGETS_LIFE}.get(role, COUNTRY_LIFE)


def ending_roles(ends: Mapping[str, datetime], now: datetime) -> dict[str, int]:
    """Roles that must be signed anew soon, each with the step of days that it has reached.

    As with keys, a step counts only in the second half of a life; what lives for a week is signed
    daily, so with three days left somebody has not done so for four.
    """
    found = {}
    for role, end in ends.items():
        left, half = end - now, life_of(role) / 2
        steps = [days for days in (*WARN_DAYS, ONLINE_WARN_DAYS) if timedelta(days=days) <= half]
        reached = [days for days in steps if left <= timedelta(days=days)]
        if reached:
            found[role] = min(reached)
    return found


def new_role_key(now: datetime) -> tuple[KeySet, PublishedKey]:
    """Make one Ed25519 key for a role. Give the first half to `keys.custody`, the second to a role."""
    private, published = new_keys(
        compartments=(), suites=(1,), now=now, validity=Validity(sign=OFFLINE_KEY_LIFE)
    )
    return private, published[0]


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
        self._key = role_key(published)

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


def role_key(published: PublishedKey) -> SSlibKey:
    """A published key as the repository writes it.

    Raises:
        DirectoryRefused: Not an Ed25519 key.
    """
    public = jwk.public_key(published.jwk)
    if not isinstance(public, Ed25519PublicKey):
        raise DirectoryRefused("roles sign with Ed25519")
    return SSlibKey(
        published.kid, "ed25519", "ed25519", {"public": public.public_bytes_raw().hex()}
    )
