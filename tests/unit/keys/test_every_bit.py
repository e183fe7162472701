"""Every byte of what is signed, with one bit flipped: refused or suspect, never taken, never a crash.

Envelopes, requests, revocations, suspensions and marks are in the tests of their modules; checkpoints,
co-signatures and proofs in tests/unit/audit; a bundle in tests/integration/gateway/test_bundle.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keys.jws import sign_jws
from keys.signing import (
    countersign,
    sign_agreement,
    verify_agreement,
    verify_evidence,
    verify_grant,
)
from schemas.consent import GRANT_TYP
from schemas.directory import TrustedDirectory
from schemas.errors import BrokerError, Refused, Suspect
from schemas.evidence import EVIDENCE_TYP
from tests.support.ceremony import make_world
from tests.support.parties import NOW, Party, make_party
from tests.support.statements import agreement, evidence, grant


def bent(raw: bytes, *, step: int = 1) -> Iterator[bytes]:
    """Each byte (or every so many) with one bit of it flipped; which bit goes round."""
    for place in range(0, len(raw), step):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        yield bytes(changed)


def signed_by_both(italy: Party, albania: Party, suite: int) -> bytes:
    return countersign(sign_agreement(agreement(), italy.signer(suite)), albania.signer(suite))


SIGNED: dict[str, tuple[Callable[[Party, Party, int], bytes], Callable[..., Any]]] = {
    "evidence": (
        lambda italy, _, suite: sign_jws(
            evidence().to_json(), typ=EVIDENCE_TYP, signer=italy.signer(suite)
        ),
        verify_evidence,
    ),
    "grant": (
        lambda italy, _, suite: sign_jws(
            grant().to_json(), typ=GRANT_TYP, signer=italy.signer(suite)
        ),
        verify_grant,
    ),
    "agreement": (signed_by_both, verify_agreement),
}


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("name", SIGNED)
def test_no_byte_of_a_signed_statement_can_be_changed(
    name: str, suite: int, italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    sign, verify = SIGNED[name]
    raw = sign(italy, albania, suite)
    verify(raw, directory, now=NOW)
    for changed in bent(raw):
        with pytest.raises(BrokerError) as refusal:
            verify(changed, directory, now=NOW)
        assert isinstance(refusal.value, Refused | Suspect), refusal.value


def test_no_byte_of_the_directory_changes_what_is_read_of_it(tmp_path: Path) -> None:
    world = make_world(tmp_path, make_party("it.nrm"), make_party("al.nrm"))
    whole = world.reader().refresh(NOW)
    files = [path for path in world.repository.path.rglob("*.json") if path.is_file()]
    refused = 0
    for number, file in enumerate(files):
        kept = file.read_bytes()
        for at, changed in enumerate(bent(kept, step=max(1, len(kept) // 6))):
            file.write_bytes(changed)
            try:
                found = world.reader(f"cache-{number}-{at}").refresh(NOW)
            except (Refused, Suspect):
                refused += 1
            else:
                # An older version that nobody reads, or another spelling of the same signature.
                assert found.participants == whole.participants
                assert found.order == whole.order
        file.write_bytes(kept)
    assert refused > 2 * len(files)
    assert world.reader("cache-last").refresh(NOW).participants == whole.participants
