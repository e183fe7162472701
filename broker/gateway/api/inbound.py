"""Decisions that the country's case system brings by itself, instead of being asked for them.

One decision, as JSON (`adapters.wire`), signed with the key that the settings register (RFC 9421,
`[adapter.inbound]`). No worker's token: this is a machine, and it may say this and nothing else.
"""

from __future__ import annotations

from fastapi import APIRouter, Request

from adapters import wire
from broker.gateway.lending import system_requests
from broker.gateway.parts import Parts
from broker.http import limited_body
from keys import strict_json
from schemas.errors import SchemaRefused

NEWS = "/v1/case-system/news"
MAX_NEWS = 1 << 20
_DEPTH = 16


def router(parts: Parts) -> APIRouter:
    """The one route; none, where the settings register no key."""
    routes = APIRouter()
    settings = parts.core.settings
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
