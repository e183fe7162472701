"""The life of a key: made, published, used, retired, destroyed.

A private key never leaves `KeySet`, and `KeySet` never prints one. Sealing keys live 90 days, as
what was sealed to a stolen one is lost; signing keys a year. A retired key still verifies, and still
opens, what was under way; a compromised one verifies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keys import jwk
from schemas.base import KeyId, b64u, instant_text, unb64u
from schemas.directory import Compartment, KeyStatus, KeyUse, PublishedKey
from schemas.errors import MalformedJson, NotPermitted

MOVES: dict[KeyStatus, frozenset[KeyStatus]] = {
    KeyStatus.PENDING: frozenset({KeyStatus.ACTIVE, KeyStatus.RETIRED, KeyStatus.COMPROMISED}),
    KeyStatus.ACTIVE: frozenset({KeyStatus.RETIRED, KeyStatus.COMPROMISED}),
    KeyStatus.RETIRED: frozenset({KeyStatus.DESTROYED, KeyStatus.COMPROMISED}),
    KeyStatus.DESTROYED: frozenset({KeyStatus.COMPROMISED}),
    KeyStatus.COMPROMISED: frozenset(),
}
"""Which status may follow which. Nothing comes back: a key that is needed again is a new key."""


@dataclass(frozen=True, slots=True)
class Validity:
    """How long new keys live."""

    sign: timedelta = timedelta(days=365)
    seal: timedelta = timedelta(days=90)


STANDARD_VALIDITY = Validity()


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """One private key with what is published about it."""

    use: KeyUse
    suite: int
    alg: str
    compartment: Compartment | None
    not_before: datetime
    not_after: datetime
    jwk: dict[str, str]
    """Private JWK."""

    @property
    def kid(self) -> KeyId:
        """The id that both halves share."""
        return jwk.thumbprint(self.jwk)

    def published(self, status: KeyStatus = KeyStatus.ACTIVE) -> PublishedKey:
        """The public half, as the directory shows it."""
        return PublishedKey.model_validate(
            {
                "kid": self.kid,
                "use": self.use,
                "suite": self.suite,
                "alg": self.alg,
                "jwk": jwk.public_half(self.jwk),
                "compartment": self.compartment,
                "status": status,
                "not_before": self.not_before,
                "not_after": self.not_after,
            }
        )

    def __repr__(self) -> str:
        return f"<PrivateKey {self.kid} {self.use}>"


@dataclass(frozen=True, slots=True, repr=False)
class KeySet:
    """The private keys of one participant, and other secrets by name (as the log's signing key)."""

    keys: tuple[PrivateKey, ...] = ()
    secrets: dict[str, bytes] = field(default_factory=dict)

    def plus(self, other: KeySet) -> KeySet:
        """Both sets together; of two secrets with one name, the other's."""
        return KeySet(self.keys + other.keys, {**self.secrets, **other.secrets})

    def with_secret(self, name: str, value: bytes) -> KeySet:
        """The set with one more secret."""
        return replace(self, secrets={**self.secrets, name: value})

    def without(self, kid: KeyId) -> KeySet:
        """The set after a key was destroyed. What was sealed to it can never be opened again."""
        return replace(self, keys=tuple(key for key in self.keys if key.kid != kid))

    def to_json_value(self) -> dict[str, object]:
        """For custody alone: it encrypts this at once."""
        return {
            "keys": [
                {
                    "use": key.use.value,
                    "suite": key.suite,
                    "alg": key.alg,
                    "compartment": key.compartment and key.compartment.value,
                    "not_before": instant_text(key.not_before),
                    "not_after": instant_text(key.not_after),
                    "jwk": key.jwk,
                }
                for key in self.keys
            ],
            "secrets": {name: b64u(value) for name, value in self.secrets.items()},
        }

    @classmethod
    def from_json_value(cls, value: object) -> KeySet:
        """Read what `to_json_value` wrote.

        Raises:
            MalformedJson: Something else wrote it.
        """
        try:
            return cls._read(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            # `from None`: the cause would carry the secret that could not be read.
            raise MalformedJson("not a key set") from None

    @classmethod
    def _read(cls, value: object) -> KeySet:
        if not isinstance(value, dict):
            raise TypeError
        keys = tuple(
            PrivateKey(
                use=KeyUse(item["use"]),
                suite=int(item["suite"]),
                alg=str(item["alg"]),
                compartment=Compartment(item["compartment"]) if item["compartment"] else None,
                not_before=datetime.fromisoformat(item["not_before"]),
                not_after=datetime.fromisoformat(item["not_after"]),
                jwk={str(name): str(member) for name, member in item["jwk"].items()},
            )
            for item in value["keys"]
        )
        return cls(keys, {str(k): unb64u(v) for k, v in value["secrets"].items()})

    def __repr__(self) -> str:
        return f"<KeySet of {len(self.keys)} keys, {len(self.secrets)} secrets>"


def new_keys(
    *,
    compartments: Sequence[Compartment],
    suites: Sequence[int],
    now: datetime,
    validity: Validity = STANDARD_VALIDITY,
) -> tuple[KeySet, tuple[PublishedKey, ...]]:
    """Make the keys of a participant: for each suite one to sign and one per compartment to seal.

    A hub has no compartments and so gets nothing that opens.

    Returns:
        The private keys, for custody, and their public halves, active, for the directory.

    Raises:
        SchemaRefused: A suite that does not exist.
    """
    made: list[PrivateKey] = []
    for suite in suites:
        made.append(_new(KeyUse.SIGN, suite, None, now, validity.sign))
        for compartment in compartments:
            made.append(_new(KeyUse.SEAL, suite, compartment, now, validity.seal))
    return KeySet(tuple(made)), tuple(key.published() for key in made)


def new_key(
    use: KeyUse,
    suite: int,
    compartment: Compartment | None,
    *,
    start: datetime,
    validity: Validity = STANDARD_VALIDITY,
) -> PrivateKey:
    """Make one key that is in force from a moment on, as the successor of another.

    Raises:
        SchemaRefused: A suite that does not exist.
    """
    life = validity.sign if use is KeyUse.SIGN else validity.seal
    return _new(use, suite, compartment, start, life)


def move(key: PublishedKey, to: KeyStatus) -> PublishedKey:
    """The key in its next status.

    Raises:
        NotPermitted: This status cannot follow the present one.
    """
    if to not in MOVES[key.status]:
        raise NotPermitted(f"{key.status} does not become {to}")
    return key.model_copy(update={"status": to})


def ended(key: PublishedKey, to: KeyStatus) -> PublishedKey:
    """The key at its end, destroyed or compromised, whatever lies between; one that is there stays."""
    if key.status in (to, KeyStatus.COMPROMISED):
        return key
    if to is KeyStatus.DESTROYED and key.status is not KeyStatus.RETIRED:
        key = move(key, KeyStatus.RETIRED)
    return move(key, to)


def _new(
    use: KeyUse, suite: int, compartment: Compartment | None, now: datetime, life: timedelta
) -> PrivateKey:
    algs = jwk.SIGNING_ALG if use is KeyUse.SIGN else jwk.SEALING_ALG
    alg = algs.get(suite, "")
    return PrivateKey(use, suite, alg, compartment, now, now + life, jwk.generate(alg))
