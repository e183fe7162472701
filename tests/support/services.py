"""The private servers, under the name that tests use; they live in `deploy/dev/`.

They live there since the demo and the measurements start them too. The repository root is on the
path in tests (`pythonpath` in pyproject.toml), which makes `deploy.dev` importable.
"""

from deploy.dev.certificates import Certificates
from deploy.dev.postgres import PostgreSQL
from deploy.dev.rabbitmq import RabbitMQ
from deploy.dev.server import LOOPBACK, Server, ServiceFailed, ServiceMissing, free_port

__all__ = [
    "LOOPBACK",
    "Certificates",
    "PostgreSQL",
    "RabbitMQ",
    "Server",
    "ServiceFailed",
    "ServiceMissing",
    "free_port",
]
