"""Whose word counts: a C2SP tlog-policy file names logs, witnesses, and how many must agree. Pure.

One vote per country is a matter of groups: put the keys of one country into a group with `any`,
and the countries' groups into one with a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.audit.log.note import SignatureType, Signed, Verifier
from schemas.errors import SchemaRefused

MAX_LINES = 1000
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Policy:
    """A checkpoint is good if one of `logs` signed it and the quorum's witnesses dated it."""

    logs: tuple[Verifier, ...]
    witnesses: dict[str, Verifier] = field(default_factory=dict)
    groups: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    quorum: str = "none"

    @classmethod
    def of_logs(cls, *vkeys: str) -> Policy:
        """Trust these logs' keys alone, without witnesses."""
        return cls(tuple(Verifier.from_text(vkey) for vkey in vkeys))

    @property
    def witness_keys(self) -> tuple[Verifier, ...]:
        return tuple(self.witnesses.values())

    def to_text(self) -> str:
        """The policy as a file, each name before it is used."""
        lines = [f"log {key.to_text()}" for key in self.logs]
        lines += [f"witness {name} {key.to_text()}" for name, key in self.witnesses.items()]
        lines += [
            f"group {name} {needed} {' '.join(members)}"
            for name, (needed, members) in self.groups.items()
        ]
        return "\n".join([*lines, f"quorum {self.quorum}"]) + "\n"

    def is_met(self, signed: Sequence[Signed]) -> bool:
        """True if the witnesses who signed make the quorum."""
        keys = {item.by for item in signed}
        return self.quorum == "none" or self._counts(self.quorum, keys)

    def _counts(self, name: str, keys: set[Verifier]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name] in keys
        needed, members = self.groups[name]
        return sum(self._counts(member, keys) for member in members) >= needed


def parse_policy(data: str | bytes) -> Policy:
    """Read a policy file. Bytes beyond ASCII are opaque, whatever their encoding.

    Raises:
        SchemaRefused: Not a policy: an unknown line or name, a name or key given twice, a group
            that cannot be met, or not exactly one quorum. Says the number of the line.
    """
    reader = _Reader()
    text = data if isinstance(data, str) else data.decode(errors="surrogateescape")
    lines = text.split("\n")
    if len(lines) > MAX_LINES or any((c < " " and c not in "\n\t") or c == "\x7f" for c in text):
        raise SchemaRefused("policy: too long, or control characters")
    for number, line in enumerate(lines, start=1):
        words = line.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reader.read(words)
        except SchemaRefused as error:
            raise SchemaRefused(error.detail, where=(f"policy, line {number}",)) from None
    if reader.quorum is None:
        raise SchemaRefused("policy: no quorum line")
    return Policy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


class _Reader:
    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Verifier] = {}
        self.groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def read(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(Verifier.from_text(vkey))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._new_name(name)
                self.witnesses[name] = self._witness(Verifier.from_text(vkey))
            case ["group", name, threshold, *members] if members:
                self._new_name(name)
                self.groups[name] = self._group(threshold, members)
            case ["quorum", name]:
                if self.quorum is not None or (name != "none" and not self._known(name)):
                    raise SchemaRefused("a second quorum, or of an unknown name")
                self.quorum = name
            case _:
                raise SchemaRefused("not a line of a policy")

    def _log(self, key: Verifier) -> None:
        # Two keys of one log (Ed25519, ML-DSA-44) are two lines; the same key twice is a mistake.
        if any(key.public == other.public for other in self.logs):
            raise SchemaRefused("the log's key came before")
        self.logs.append(key)

    def _witness(self, key: Verifier) -> Verifier:
        if key.type is SignatureType.ED25519:
            raise SchemaRefused("a witness needs a key that dates")
        if any(key.public == other.public for other in self.witnesses.values()):
            raise SchemaRefused("the witness's key came before")
        return key

    def _group(self, threshold: str, members: list[str]) -> tuple[int, tuple[str, ...]]:
        if not all(self._known(member) for member in members):
            raise SchemaRefused("a member that was not defined before")
        if len(set(members)) != len(members) or self._members & set(members):
            raise SchemaRefused("a member counts twice")
        self._members |= set(members)
        words = {"all": len(members), "any": 1}
        if threshold not in words and not _NUMBER.fullmatch(threshold):
            raise SchemaRefused("the threshold is not all, any or a number")
        needed = words[threshold] if threshold in words else int(threshold)
        if not 1 <= needed <= len(members):
            raise SchemaRefused("the threshold cannot be met")
        return needed, tuple(members)

    def _known(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _new_name(self, name: str) -> None:
        if name == "none" or self._known(name):
            raise SchemaRefused("the name came before")
