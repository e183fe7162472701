"""Kill any process at any moment: nothing is lost, nothing is filed twice (I-4, I-7)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from broker.cli.demo.processes import until
from tests.support.services import PostgreSQL, RabbitMQ
from tests.support.storm import Storm, make_storm

SEEDS = (20261122,)
SOAK_SEEDS = tuple(range(1, 9))


@pytest.fixture
def storm(tmp_path: Path, postgres_server: PostgreSQL, rabbitmq: RabbitMQ) -> Iterator[Storm]:
    postgres_server.start()
    made = make_storm(tmp_path, postgres_server, rabbitmq)
    made.start()
    yield made
    made.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        soaking = metafunc.config.getoption("--soak")
        metafunc.parametrize("seed", SOAK_SEEDS if soaking else SEEDS)


@pytest.mark.timeout(1500)
def test_random_kills_lose_nothing_and_file_nothing_twice(
    storm: Storm, seed: int, soaking: bool
) -> None:
    count, kills = (2000, 40) if soaking else (300, 8)
    grant = storm.consent()
    killer = threading.Thread(
        target=storm.kill_at_random, args=(seed,), kwargs={"times": kills, "pause": (0.2, 1.5)}
    )
    killer.start()
    sent = storm.send(count, grant=grant)
    killer.join()
    storm.revive()

    assert storm.wait_filed(sent, seconds=300) == set()
    assert storm.wait_receipts(seconds=120) == []
    books = storm.books()
    assert (books.lost, books.duplicated) == ([], [])
    assert storm.files() == {str(one): 1 for one in sent}
    # Each acceptance is an entry, receipts share theirs, and the log tells one story of all of it.
    assert storm.verified_log_size() > count
    assert set(storm.killed) == {name for name, _ in storm.victims()}


def _consumers(rabbitmq: RabbitMQ) -> int:
    listed = rabbitmq.ctl("list_queues", "--silent", "consumers").split()
    return sum(int(number) for number in listed if number.isdigit())


@pytest.mark.timeout(400)
def test_after_a_broker_restart_under_load_the_consumers_really_consume(
    storm: Storm, rabbitmq: RabbitMQ
) -> None:
    """peers.md names it: a robust connection that looks alive and consumes nothing."""
    grant = storm.consent()
    before = storm.send(50, grant=grant)
    during: list[UUID] = []
    load = threading.Thread(target=lambda: during.extend(storm.send(150, grant=grant)))
    load.start()
    time.sleep(0.3)
    rabbitmq.restart(kill=True)
    load.join()
    after = storm.send(50, grant=grant)

    assert len(during) == 150
    assert storm.wait_filed([*before, *during, *after], seconds=120) == set()
    # Consumed for real, not counted by the broker: what is sent now, long after, arrives too.
    last = storm.send(10, grant=grant)
    assert storm.wait_filed(last, seconds=60) == set()
    assert storm.files() == {str(one): 1 for one in [*before, *during, *after, *last]}
    # And the broker agrees. Asked for a while: an idle consumer renews its channel now and then.
    until("somebody consumes", lambda: _consumers(rabbitmq) > 0, seconds=30)


@pytest.mark.timeout(400)
def test_while_the_queue_is_away_messages_wait_and_then_arrive(
    storm: Storm, rabbitmq: RabbitMQ
) -> None:
    grant = storm.consent()
    rabbitmq.kill9()
    sent = storm.send(20, grant=grant)
    until("the hub to have all", lambda: storm.states(sent) == {"submitted"}, seconds=60)
    filed = storm.files()
    rabbitmq.start()

    assert not filed.keys() & {str(one) for one in sent}
    assert storm.wait_filed(sent, seconds=90) == set()


@pytest.mark.timeout(400)
def test_while_the_hub_is_away_messages_wait_and_then_arrive(storm: Storm) -> None:
    grant = storm.consent()
    storm.stop("api")
    sent = storm.send(20, grant=grant)
    states = storm.states(sent)
    storm.go_on("api")

    assert states <= {"queued", "sending"}
    assert storm.wait_filed(sent, seconds=90) == set()
