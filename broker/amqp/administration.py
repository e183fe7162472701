"""RabbitMQ's HTTP API, for the few things that AMQP cannot do."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx2

from broker.amqp.link import CONNECT_PATIENCE
from schemas.errors import QueueUnavailable


class Administration:
    """Users and their rights, on one RabbitMQ."""

    def __init__(self, url: str, *, user: str, password: str, ca: Path | None = None) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            auth=(user, password),
            verify=ssl.create_default_context(cafile=str(ca)) if ca else True,
            timeout=CONNECT_PATIENCE,
            trust_env=False,
        )

    async def apply(self, document: Mapping[str, object]) -> None:
        """Add or update what `definitions` describes; nothing is removed."""
        await self._send("POST", "/api/definitions", document)

    async def remove_user(self, name: str) -> None:
        """Remove a user and cut its connections; no error if there is none."""
        await self._send("DELETE", f"/api/users/{name}", None, also=frozenset({404}))

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        document: Mapping[str, object] | None,
        *,
        also: frozenset[int] = frozenset(),
    ) -> None:
        try:
            answer = await self._client.request(method, path, json=document)
        except (httpx2.HTTPError, OSError) as error:
            raise QueueUnavailable("the management API cannot be reached") from error
        if answer.status_code >= 300 and answer.status_code not in also:
            raise QueueUnavailable(f"the management API answered {answer.status_code}")
