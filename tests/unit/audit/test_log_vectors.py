"""Proofs that were good stay good, and bad ones stay bad for the reason that is written down."""

from __future__ import annotations

import json

import pytest

from broker.audit.proofs.policy import parse_policy
from broker.audit.proofs.verify import Asked, TrustedKey, verify_proof
from tests.vectors.make_log import TARGET, written

CONTENT = json.loads(TARGET.read_text("utf-8"))


@pytest.mark.parametrize("case", CONTENT["cases"], ids=lambda case: str(case["name"]))
def test_the_verifier_says_of_each_vector_what_is_written_beside_it(
    case: dict[str, object],
) -> None:
    verdict = verify_proof(
        json.dumps(case["file"]).encode(),
        parse_policy(CONTENT["policy"]),
        trusted_keys={kid: TrustedKey(**key) for kid, key in CONTENT["trusted_keys"].items()},
        asked=Asked(**case["asked"]),  # type: ignore[arg-type]
    )
    assert [check.name for check in verdict.checks if not check.passed] == case["failed"]
    assert verdict.proven == (not case["failed"])


def test_the_vectors_are_what_their_script_makes() -> None:
    assert TARGET.read_text("utf-8") == written()
