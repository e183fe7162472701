"""What earlier code wrote is still read, and what it refused is still refused with the same code."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from keys import binding, jwk
from keys.signing import parse_envelope, verify_envelope
from keys.trust import insecure_directory
from keys.unsealing import unseal_envelope
from schemas.base import b64u, unb64u
from schemas.directory import Participant
from schemas.errors import BrokerError

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "keys.json").read_text(encoding="utf-8")
)
NOW = datetime.fromisoformat(VECTORS["now"])
ENVELOPES = VECTORS["envelopes"]


class Keys:
    """The recipient's keys of the file."""

    def private(self, kid: str) -> object | None:
        found = VECTORS["insecure_recipient_keys"].get(kid)
        return jwk.private_key(found) if found else None


def open_(raw: bytes) -> str:
    entries = [Participant.from_json(json.dumps(entry)) for entry in VECTORS["participants"]]
    directory = insecure_directory(entries, NOW)
    try:
        verified = verify_envelope(parse_envelope(raw), directory, now=NOW)
        opened = unseal_envelope(verified, Keys(), directory.participant("al.nrm"))
    except BrokerError as error:
        return error.code
    assert [content.decode() for content in opened.values()] == [VECTORS["content"]]
    return "opened"


@pytest.mark.parametrize(
    "vector", ENVELOPES, ids=[f"suite {v['suite']}: {v['case']}" for v in ENVELOPES]
)
def test_an_envelope_is_opened_or_refused_as_it_always_was(vector: dict[str, Any]) -> None:
    assert open_(vector["envelope"].encode()) == vector["expect"]


def test_the_bindings_are_what_they_always_were() -> None:
    header, scope, leaf = (VECTORS["bindings"][n] for n in ("header", "scope", "commitment"))
    digest = binding.digest_of_header(header["header"], header["to_keys"])
    assert b64u(digest) == header["digest"]
    blinded = binding.blind_scope(unb64u(scope["grant_key"]), scope["purpose"], scope["section"])
    assert blinded == scope["scope"]
    commitment = binding.commitment(unb64u(leaf["salt"]), unb64u(leaf["subject"]))
    assert b64u(commitment) == leaf["commitment"]


def test_there_is_a_vector_for_every_way_to_refuse_an_envelope() -> None:
    expected = {vector["expect"] for vector in ENVELOPES}
    assert expected >= {
        "opened", "bad-signature", "cannot-open", "key-unknown", "malformed-json", "schema",
        "suite", "version",
    }  # fmt: skip
