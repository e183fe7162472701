"""Sealed messages to try things on: made, forged, signed anew, and opened."""

from __future__ import annotations

from typing import Any

from keys.sealing import seal_envelope
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import Keyring, unseal_envelope
from schemas.base import KeyId
from schemas.directory import Compartment
from tests.support.jose import jws
from tests.support.parties import NOW, Party, directory_of, make_draft

CONTENT = {Compartment.CASEWORK: b'{"a":1}', Compartment.HEALTH: b'{"b":2}'}


def seal(sender: Party, recipient: Party, suite: int = 1) -> bytes:
    return seal_envelope(
        make_draft(suite), CONTENT, recipient=recipient.entry, signer=sender.signer(suite), now=NOW
    ).raw


def open_(payload: dict[str, Any], signer: Party, keyring: Keyring, *others: Party) -> Any:
    """Sign a (forged) payload and let the addressee verify and open it."""
    raw = jws(payload, signer.signer(payload["suite"]))
    directory = directory_of(signer, *others)
    return unseal_envelope(verify_envelope(parse_envelope(raw), directory, now=NOW), keyring, None)


class Only:
    """A keyring that holds some keys only, as a health worker's station would."""

    def __init__(self, party: Party, *kids: KeyId) -> None:
        self._party, self._kids = party, kids

    def private(self, kid: KeyId) -> object | None:
        return self._party.private(kid) if kid in self._kids else None
