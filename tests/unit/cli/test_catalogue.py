"""What the command line says of the language, and which answers it proposes."""

from __future__ import annotations

import json

import click
import pytest

from broker.cli.commands.cases.answer import decline, followers
from broker.cli.commands.trying.catalogue import carried, described
from schemas.bodies.common import DeclineReason
from schemas.catalogue import catalogue, elsewhere


def test_each_word_is_described_in_plain_json() -> None:
    for row in catalogue.values():
        assert json.loads(json.dumps(described(row)))["type"] == row.name
    for other in elsewhere.values():
        assert json.loads(json.dumps(carried(other)))["done_by"]
    assert len(catalogue) + len(elsewhere) >= 132


def test_a_type_says_which_codes_its_fields_take() -> None:
    body = described(catalogue["referral.decline"])["body"]
    assert body["reason"].startswith("required, one of: no_capacity, ")
    assert body["note"] == "optional"
    services = described(catalogue["referral.request"])["body"]["services"]
    assert services.startswith("required, a list of: safe_house, ")


def test_the_reasons_in_the_help_of_decline_are_those_of_the_language() -> None:
    (reason,) = (option for option in decline.params if option.name == "reason")
    assert isinstance(reason, click.Option)
    assert reason.help == "One of " + ", ".join(DeclineReason) + "."


@pytest.mark.parametrize(
    ("asked", "may", "may_not"),
    [
        ("info.request", "info.refuse", "capacity.reply"),
        ("notify.presumed", "referral.received", "notify.anonymous"),
        ("referral.request", "referral.scheduled", "transfer.accept"),
        ("transfer.offer", "transfer.accept_conditional", "info.reply"),
        ("transit.assist.request", "travel.notice", "monitoring.report"),
    ],
)
def test_what_may_follow_a_message_is_what_its_thread_takes(
    asked: str, may: str, may_not: str
) -> None:
    assert may in followers(asked)
    assert may_not not in followers(asked)
