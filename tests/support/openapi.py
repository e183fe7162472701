"""OpenAPI 3.1 of hub and gateway: FastAPI's own, with what FastAPI cannot see put in.

It cannot see bodies that are read through the strict parser, problem documents, and who may ask.
The routers are built on nothing: only their paths and parameters are looked at.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

from fastapi import FastAPI

import broker.gateway.api
from broker.gateway.api.app import create_api
from broker.gateway.parts import Parts
from broker.hub.api import (
    attachments,
    consents,
    directory,
    envelopes,
    find,
    health,
    log,
    mailbox,
    revocations,
)
from broker.hub.api.mailbox import Acknowledgements, Incarnation
from schemas.base import WireModel
from tests.support import answers

JSON_BODIES: Mapping[str, type[WireModel]] = MappingProxyType(
    {"/mailbox/acknowledgements": Acknowledgements, "/incarnation": Incarnation}
)
OPEN = ("/livez", "/readyz", "/startupz")
OPEN_FOLDERS = ("/directory", "/find")
SIGNED_BODY = frozenset(
    {"/envelopes", "/evidence", "/grants", "/agreements", "/suspensions", "/revocations"}
)
PARSED = re.compile(r"parse\(request, (\w+)\)")
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `where` names paths and rules, never a value.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "From the list in docs/protocol.md."},
        "family": {"type": "string"},
        "detail": {"type": "string"},
        "where": {"type": "array", "items": {"type": "string"}},
        "evidence": {"type": "string", "description": "The hub's signed refusal."},
    },
    "required": ["type", "status", "code"],
}


class _Nothing:
    """Stands for what a router is built on and only uses when it is asked something."""

    def __getattr__(self, _name: str) -> Any:
        return _Nothing()

    def __call__(self, *_args: object, **_more: object) -> Any:
        return _Nothing()

    def __add__(self, text: str) -> str:
        return text

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def hub() -> dict[str, Any]:
    """The hub's."""
    app, nothing = FastAPI(title="Referral hub", version="1"), cast(Any, _Nothing())
    for made in (
        health.router(nothing),
        envelopes.router(nothing, nothing, nothing, nothing, nothing),
        mailbox.router(nothing, nothing, nothing),
        consents.router(nothing, nothing, nothing),
        revocations.router(nothing, nothing),
        attachments.router(nothing, nothing, nothing),
        log.router(nothing, nothing),
        directory.router(nothing),
        find.router(nothing),
    ):
        app.include_router(made)
    document = _of(app)
    for path, summary in (
        ("/envelopes", "Submit an envelope"),
        ("/evidence", "Hand in receipts"),
    ):
        document["paths"][path] = {"post": {"summary": summary}}
    schemes = {
        "participant": {
            "type": "apiKey",
            "in": "header",
            "name": "Signature",
            "description": "RFC 9421 by the participant's key; docs/protocol.md, section 6.",
        }
    }
    return _complete(document, "hub", schemes, answers.HUB, JSON_BODIES)


def gateway() -> dict[str, Any]:
    """A gateway's local API."""
    app = create_api(cast(Parts, _Nothing()), not_ready=tuple)
    schemes = {"worker": {"type": "http", "scheme": "bearer", "description": "A worker's token."}}
    return _complete(_of(app), "gateway", schemes, answers.GATEWAY, _bodies())


def _bodies() -> dict[str, type[WireModel]]:
    """What each request's body is parsed into, as its route says in the code."""
    found = {}
    for info in pkgutil.iter_modules(broker.gateway.api.__path__):
        module = importlib.import_module(f"broker.gateway.api.{info.name}")
        if not hasattr(module, "router"):
            continue
        for route in module.router(cast(Parts, _Nothing())).routes:
            if parsed := PARSED.search(inspect.getsource(route.endpoint)):
                found[route.path] = getattr(module, parsed[1])
    return found


def _of(app: FastAPI) -> dict[str, Any]:
    with warnings.catch_warnings():
        # A route for GET and HEAD has one function; the identifiers are written anew below.
        warnings.filterwarnings("ignore", message="Duplicate Operation ID")
        return app.openapi()


def _complete(
    document: dict[str, Any],
    side: str,
    schemes: dict[str, Any],
    answered: Mapping[str, Mapping[int, answers.Shape]],
    bodies: Mapping[str, type[WireModel]] = MappingProxyType({}),
) -> dict[str, Any]:
    document["info"]["version"] = "1"
    components = document.setdefault("components", {})
    # FastAPI's shape of a validation error is replaced by problem documents here.
    shapes = components.get("schemas", {})
    kept = {n: one for n, one in shapes.items() if not n.endswith("ValidationError")}
    components["schemas"] = {**kept, "Problem": PROBLEM}
    components["securitySchemes"] = schemes
    [scheme] = schemes
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation["operationId"] = f"{side}-{method}-{path.strip('/').replace('/', '-')}"
            name = f"{method.upper()} {path}"
            if name not in answered:
                raise LookupError(f"{name}: say in tests/support/answers.py what it answers")
            operation["responses"] = answers.responses(answered[name])
            operation["responses"]["default"] = {
                "description": "Refused, not now, or not there.",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                },
            }
            signed = side == "hub" and path in SIGNED_BODY and method == "post"
            if path not in OPEN and not signed and not path.startswith(OPEN_FOLDERS):
                operation["security"] = [{scheme: []}]
            if signed:
                operation["requestBody"] = {
                    "required": True,
                    "description": "A signed object, JWS; schemas in wire/.",
                    "content": {"application/jose+json": {"schema": {"type": "object"}}},
                }
            elif method == "post" and path in bodies:
                operation["requestBody"] = {
                    "required": True,
                    "content": {"application/json": {"schema": _body(bodies[path], components)}},
                }
    document["paths"] = {
        path: dict(sorted(methods.items())) for path, methods in sorted(document["paths"].items())
    }
    return document


def _body(model: type[WireModel], components: dict[str, Any]) -> dict[str, str]:
    made = model.model_json_schema(
        by_alias=True, mode="validation", ref_template="#/components/schemas/{model}"
    )
    components["schemas"] |= made.pop("$defs", {})
    components["schemas"][model.__name__] = made
    return {"$ref": f"#/components/schemas/{model.__name__}"}
