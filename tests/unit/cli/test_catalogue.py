"""What the command line says of the language, and which answers it proposes."""

from __future__ import annotations

import json

import pytest

from broker.cli.commands.cases.answer import followers
from broker.cli.commands.trying.catalogue import carried, described
from schemas.catalogue import catalogue, elsewhere


def test_each_word_is_described_in_plain_json() -> None:
    for row in catalogue.values():
        assert json.loads(json.dumps(described(row)))["type"] == row.name
    for other in elsewhere.values():
        assert json.loads(json.dumps(carried(other)))["done_by"]
    assert len(catalogue) + len(elsewhere) >= 132


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
