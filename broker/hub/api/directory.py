"""The TUF repository as files: whoever reads it verifies it, so anybody may read it."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from broker.hub.state import Hub
from schemas.errors import NotFound

_STEP = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$")


def router(hub: Hub) -> APIRouter:
    routes = APIRouter(prefix="/directory")
    repository = hub.settings.directory.resolve()

    @routes.api_route("/metadata/{name}", methods=["GET", "HEAD"])
    def metadata(name: str) -> Response:
        return _file(repository / "metadata", name)

    @routes.api_route("/targets/{path:path}", methods=["GET", "HEAD"])
    def target(path: str) -> Response:
        return _file(repository / "targets", path)

    return routes


def _file(folder: Path, path: str) -> Response:
    steps = path.split("/")
    if len(steps) > 3 or not all(_STEP.match(step) for step in steps):
        raise NotFound
    found = folder.joinpath(*steps)
    if not found.is_file() or not found.resolve().is_relative_to(folder.resolve()):
        raise NotFound
    return FileResponse(found, media_type="application/json", headers={"cache-control": "no-cache"})
