"""The private servers, under the name that tests use; they live in `deploy/dev/services.py`.

They live there since the demo and the measurements start them too. The repository root is on the
path in tests (`pythonpath` in pyproject.toml), which makes `deploy.dev` importable.
"""

from deploy.dev.services import (
    LOOPBACK,
    Certificates,
    PostgreSQL,
    RabbitMQ,
    Server,
    ServiceFailed,
    ServiceMissing,
    free_port,
)

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
