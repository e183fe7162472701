"""What the country's case system says by itself, instead of being asked. No worker's token: this is
a machine, and it may say this and nothing else.

One decision, as JSON (`adapters.wire`), signed with the key that the settings register (RFC 9421,
`[adapter.inbound]`). Or, from a system that can send what it likes but sign nothing, as Primero's
webhooks: that something has changed. Nothing of what it sends is read; the system is asked then.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from fastapi import APIRouter, Request

from adapters import wire
from adapters.systems.rest import read_secret
from broker.gateway.lending import system_requests
from broker.gateway.parts import Parts
from broker.http import limited_body
from keys import strict_json
from schemas.errors import SchemaRefused, Unauthenticated

NEWS = "/v1/case-system/news"
CHANGED = "/v1/case-system/changed"
MAX_NEWS = 1 << 20
SHORTEST_KEY = 32
_DEPTH = 16


def router(parts: Parts) -> APIRouter:
    """The two routes, each where the settings register its key."""
    routes = APIRouter()
    settings = parts.core.settings
    if settings.adapter.wake_file is not None:
        _changed(routes, parts, settings.path(settings.adapter.wake_file))
    inbound = settings.adapter.inbound
    if inbound is None:
        return routes
    requests = system_requests(settings, inbound, parts.core.clock)
    url = inbound.url + NEWS

    @routes.post(NEWS)
    async def news(request: Request) -> dict[str, str]:
        """Take a decision, durably before the answer; the same id again changes nothing."""
        body = await limited_body(request, MAX_NEWS)
        # Not the URL that the request claims: a request for another gateway is not for us.
        requests.verify("POST", url, request.headers, body)
        if request.url.query:
            raise SchemaRefused("no parameters here")
        try:
            item = wire.news_from_json(strict_json.parse_object(body, limit=MAX_NEWS, depth=_DEPTH))
        except wire.Unreadable as error:
            raise SchemaRefused("not a decision", where=(str(error),)) from None
        await parts.polling.take(item)
        return {"id": item.id}

    return routes


def _changed(routes: APIRouter, parts: Parts, file: Path) -> None:
    @routes.post(CHANGED, status_code=204)
    async def changed(request: Request) -> None:
        """Ask the case system now. Its body may hold a whole case, and is not read."""
        given = request.headers.get("x-api-key", "")
        # Read anew for each: it can be renewed without a restart.
        if not hmac.compare_digest(given.encode(), _wake_key(file).encode()):
            raise Unauthenticated("not the case system's key")
        parts.core.wakes.case_system.set()


def _wake_key(path: Path) -> str:
    key = read_secret(path)
    if len(key) < SHORTEST_KEY:
        raise SchemaRefused("32 characters at least", where=("adapter.wake_file",))
    return key
