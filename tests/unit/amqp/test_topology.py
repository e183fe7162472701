"""What RabbitMQ is told, as data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.amqp import Cluster, QueueSpec, Reader, definitions, quarantine_queue, topology

NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=20)


def test_a_queue_refuses_when_full_and_loses_nothing_on_the_way_to_quarantine() -> None:
    assert QueueSpec("q").arguments() == {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "quarantine",
        "x-dead-letter-strategy": "at-least-once",
    }


def test_the_quarantine_leads_nowhere() -> None:
    arguments = quarantine_queue().arguments()
    assert not [name for name in arguments if name.startswith("x-dead-letter")]
    assert arguments["x-delivery-limit"] == 1_000_000


@given(st.lists(st.builds(QueueSpec, NAMES, quarantine=st.sampled_from(["a.dead", "b.dead"]))))
def test_every_quarantine_comes_before_the_queues_that_need_it_and_each_queue_once(
    queues: list[QueueSpec],
) -> None:
    names = [queue.name for queue in topology(queues)]
    assert len(names) == len(set(names))
    for queue in queues:
        assert queue.quarantine in names
        if queue.name not in {other.quarantine for other in queues}:
            assert names.index(queue.quarantine) < names.index(queue.name)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), NAMES)
def test_a_reader_may_read_exactly_its_own_queues(own: list[str], other: str) -> None:
    document: Any = definitions([], readers=[Reader("r", "secret", tuple(own))])
    (permission,) = document["permissions"]
    assert all(re.search(permission["read"], name) for name in own)
    assert bool(re.search(permission["read"], other)) == (other in own)
    assert permission["write"] == permission["configure"] == "^$"


def test_a_definitions_document_carries_a_salted_hash_and_no_password() -> None:
    document: Any = definitions([QueueSpec("q")], readers=[Reader("r", "secret", ("q",))])
    assert "secret" not in json.dumps(document)
    raw = base64.b64decode(document["users"][0]["password_hash"])
    assert raw[4:] == hashlib.sha256(raw[:4] + b"secret").digest()


def test_passwords_do_not_show_when_printed() -> None:
    assert "secret" not in repr(Reader("r", "secret", ()))
    assert "secret" not in repr(Cluster(("h:1",), "u", "secret"))


def test_an_address_survives_the_way_through_its_url() -> None:
    cluster = Cluster.from_url("amqps://u:p%40ss@mq.example:5673/%2F", ca=Path("ca"))
    assert cluster == Cluster(("mq.example:5673",), "u", "p@ss", "/", Path("ca"))
    assert Cluster.from_url("amqp://u:p@mq.example/referral").nodes == ("mq.example:5672",)


def test_tls_without_an_authority_is_refused() -> None:
    with pytest.raises(ValueError, match="authority"):
        Cluster.from_url("amqps://u:p@mq.example/")
