"""`referral keys rotate`: what is made, from when on it counts, and what the country is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.cli.commands.trust.keys import renew
from broker.client import KnownRevocations
from broker.telemetry import logger
from keys.custody import Custody, KdfCost, create_custody
from keys.lifecycle import ended, new_keys
from keys.rotation import STANDARD
from schemas.directory import Compartment, KeyStatus, KeyUse, Participant
from schemas.envelope import MAX_SKEW_SECONDS
from tests.support.parties import NOW, make_party


@pytest.fixture
def custody(tmp_path: Path) -> Custody:
    private, _ = new_keys(compartments=(Compartment.CASEWORK,), suites=(1,), now=NOW)
    return create_custody(f"file:{tmp_path}/keys.json", private, b"pw", cost=KdfCost(64, 1, 1))


@pytest.fixture
def entry(custody: Custody) -> Participant:
    keys = tuple(key.published() for key in custody.keys)
    return make_party("it.nrm").entry.model_copy(update={"keys": keys})


def test_a_successor_of_a_key_that_is_in_force_waits_until_everybody_knows_it(
    custody: Custody, entry: Participant
) -> None:
    now = NOW + timedelta(days=90) - STANDARD.overlap
    _, (made,), renewed = renew(custody, entry, now)
    assert (made.use, made.not_before) == (KeyUse.SEAL, now + STANDARD.lead)
    assert made.published() in renewed.keys
    _, again, _ = renew(custody, entry, now + timedelta(days=1))
    assert [key.kid for key in again] == [made.kid], "until it is published it is offered again"


@pytest.mark.parametrize("use", [KeyUse.SIGN, KeyUse.SEAL])
def test_where_a_key_is_in_other_hands_its_successor_is_in_force_at_once(
    custody: Custody, entry: Participant, use: KeyUse
) -> None:
    keys = tuple(ended(key, KeyStatus.COMPROMISED) if key.use is use else key for key in entry.keys)
    _, (made,), renewed = renew(custody, entry.model_copy(update={"keys": keys}), NOW)
    assert made.use is use
    assert made.not_before == NOW - timedelta(seconds=MAX_SKEW_SECONDS)
    assert {key.status for key in renewed.keys if key.kid != made.kid and key.use is use} == {
        KeyStatus.COMPROMISED
    }


def test_a_key_that_was_made_for_later_is_not_offered_for_now(
    custody: Custody, entry: Participant
) -> None:
    now = NOW + timedelta(days=90) - STANDARD.overlap
    _, (waiting,), _ = renew(custody, entry, now)
    keys = tuple(
        ended(key, KeyStatus.COMPROMISED) if key.use is KeyUse.SEAL else key for key in entry.keys
    )
    _, (made,), _ = renew(custody, entry.model_copy(update={"keys": keys}), now)
    assert made.kid != waiting.kid
    assert made.not_before < now


def test_what_a_command_logs_is_not_among_its_results(capsys: pytest.CaptureFixture[str]) -> None:
    logger().warning("directory:not-refreshed", code="hub-unreachable")
    said = capsys.readouterr()
    assert said.out == ""
    assert "hub-unreachable" in said.err


def test_what_was_heard_of_revocations_is_read_without_a_complaint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    KnownRevocations(tmp_path).add([(1, b"{}"), (2, b"[]")])
    assert KnownRevocations(tmp_path).position == 2
    assert capsys.readouterr().err == ""
