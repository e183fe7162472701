"""Fixtures of all tests, and the rule that nothing is skipped.

A service that is missing fails the tests that need it and says how to install it. A skipped test
is a promise that nobody checked, so it counts as a failure, here and in continuous integration.

Servers are started once a session, when the first test asks, and shared; a test that kills one
leaves it running again (the fixtures see to that). `./run test` has two workers, and each has a
session and servers of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.services import PostgreSQL, RabbitMQ, ServiceMissing

# A law does not depend on how busy the machine is, so no example is timed. Under continuous
# integration the same examples are tried each time; elsewhere others are looked for.
settings.register_profile(
    "here",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="full counts instead of a sample")


@pytest.fixture(scope="session")
def soaking(request: pytest.FixtureRequest) -> bool:
    """Whether this is `./run soak`: the same tests, with the full counts and more seeds."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgreSQL]:
    """The session's private PostgreSQL; use `postgres_url` unless the test kills the server."""
    try:
        server = PostgreSQL.temporary()
    except ServiceMissing as missing:
        pytest.fail(str(missing))
    with server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgreSQL) -> Iterator[str]:
    """An empty database of the test's own, `postgresql+asyncpg://...`; dropped afterwards."""
    postgres_server.start()
    url = postgres_server.create_database()
    yield url
    postgres_server.start()
    postgres_server.resume()
    postgres_server.drop_database(url.rsplit("/", 1)[1])


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database file that does not exist yet, `sqlite+aiosqlite:///...`."""
    return f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each test that asks runs on both databases; an empty one of its own."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQ]:
    """The session's private RabbitMQ with its HTTP API."""
    try:
        server = RabbitMQ.temporary(management=True)
    except ServiceMissing as missing:
        pytest.fail(str(missing))
    with server:
        yield server


@pytest.fixture
def rabbitmq(rabbitmq_server: RabbitMQ) -> Iterator[RabbitMQ]:
    """The session's RabbitMQ, serving; tests use queue names of their own, and may kill it."""
    rabbitmq_server.start()
    yield rabbitmq_server
    rabbitmq_server.resume()
    rabbitmq_server.start()


@pytest.fixture(scope="session")
def rabbitmq_tls() -> Iterator[RabbitMQ]:
    """A private RabbitMQ that speaks TLS alone, with a throw-away authority (`.ca_file`)."""
    try:
        server = RabbitMQ.temporary(tls=True)
    except ServiceMissing as missing:
        pytest.fail(str(missing))
    with server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn a skip into a failure."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which is not allowed here: {report.longrepr}"
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """A module that skips itself when imported fails too."""
    report: pytest.CollectReport = yield  # type: ignore[assignment]
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which is not allowed here: {report.longrepr}"
    return report  # type: ignore[return-value]
