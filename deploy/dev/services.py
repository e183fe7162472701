"""Private PostgreSQL and RabbitMQ servers for tests, measurements and `demo --rabbitmq`.

Each server has a directory, ports, a cookie and passwords of its own, listens on loopback alone,
and is stopped by the process id that started it; an installed system service is neither used nor
touched. Durability is left as in production (`fsync` on), since that is what the tests are about.

As a library (the repository root is on the path in tests and in the development environment):

    from deploy.dev.postgres import PostgreSQL
    from deploy.dev.rabbitmq import RabbitMQ
    with PostgreSQL.temporary() as postgres, RabbitMQ.temporary(tls=True) as rabbitmq: ...

As a program, for callers that cannot import it: it prints one JSON object with what was started,
then waits until its standard input closes, and stops everything:

    python deploy/dev/services.py postgres rabbitmq --tls
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path

if __name__ == "__main__":  # as a program: find the package that this file belongs to
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from deploy.dev.postgres import PostgreSQL
from deploy.dev.rabbitmq import RabbitMQ
from deploy.dev.server import ServiceFailed, ServiceMissing


def main() -> int:
    """Start what is named, print one JSON object, and stop it all when standard input closes."""
    parser = argparse.ArgumentParser(
        description="Private PostgreSQL and RabbitMQ until stdin closes."
    )
    parser.add_argument("services", nargs="+", choices=["postgres", "rabbitmq"])
    parser.add_argument("--tls", action="store_true", help="RabbitMQ with TLS alone")
    parser.add_argument("--management", action="store_true", help="RabbitMQ with its HTTP API")
    wanted = parser.parse_args()

    def stop(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    with contextlib.ExitStack() as stack:
        told: dict[str, object] = {}
        try:
            if "postgres" in wanted.services:
                postgres = stack.enter_context(PostgreSQL.temporary())
                told["postgres"] = {
                    "url": postgres.url(),
                    "pid": postgres.pid,
                    "port": postgres.port,
                }
            if "rabbitmq" in wanted.services:
                rabbitmq = stack.enter_context(
                    RabbitMQ.temporary(tls=wanted.tls, management=wanted.management)
                )
                told["rabbitmq"] = {
                    "url": rabbitmq.url,
                    "host": rabbitmq.host,
                    "port": rabbitmq.port,
                    "vhost": rabbitmq.vhost,
                    "user": rabbitmq.user,
                    "password": rabbitmq.password,
                    "ca": str(rabbitmq.ca_file) if rabbitmq.ca_file else None,
                    "management_url": rabbitmq.management_url,
                    "pid": rabbitmq.pid,
                }
        except (ServiceMissing, ServiceFailed) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
