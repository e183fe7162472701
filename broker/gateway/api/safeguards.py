"""`/v1/safeguards`: what protects a person. For workers who may know, and nobody else.

Case numbers are no part of a URL, so everything is asked in a body.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from broker.gateway.api.guard import KnowingWorker
from broker.gateway.api.messages import parse
from broker.gateway.cases.naming import BY_BUSINESS_ID, require_named
from broker.gateway.parts import Parts
from broker.gateway.receive.opening import why_not
from broker.gateway.safeguards import keeping
from broker.gateway.safeguards.known import written_about
from broker.gateway.safeguards.words import Safeguards
from broker.gateway.send.drafts import MessageDraft
from broker.rules.content import Decision
from schemas.base import ProtectedModel
from schemas.errors import NotFound

_About = Annotated[str, Field(min_length=1, max_length=64)]


class Shown(ProtectedModel):
    """Whose safeguards."""

    about: _About
    """A case number of ours, or the business id of a referral that we received."""


class Changed(Shown):
    """What is known now; what is not named stays, null takes back."""

    safeguards: dict[str, Any]
    ours: bool = False
    """It is our case number, although a partner has used the same."""


class Why(ProtectedModel):
    """Which rules refuse: a message that is to be sent, or one that came."""

    draft: MessageDraft | None = None
    message: UUID | None = None

    @model_validator(mode="after")
    def _one(self) -> Why:
        if (self.draft is None) == (self.message is None):
            raise ValueError("a draft or a message")
        return self


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.post("/safeguards")
    async def change(request: Request, worker: KnowingWorker) -> dict[str, Any]:
        """Write down what protects a person, or take it back."""
        wanted = await parse(request, Changed)
        await require_named(core, wanted.about, ours=wanted.ours, otherwise=BY_BUSINESS_ID)
        after = await keeping.change(core, wanted.about, wanted.safeguards, worker=worker)
        return {"about": wanted.about, "safeguards": after.to_dict()}

    @routes.post("/safeguards/show")
    async def show(request: Request, worker: KnowingWorker) -> dict[str, Any]:
        """What workers wrote down."""
        wanted = await parse(request, Shown)
        async with core.database.read() as connection:
            found = await written_about(core, connection, wanted.about)
        return {"about": wanted.about, "safeguards": (found or Safeguards()).to_dict()}

    @routes.post("/safeguards/why")
    async def why(request: Request, worker: KnowingWorker) -> dict[str, Any]:
        """Which content rules refuse; nothing is sent or opened, and nobody is told."""
        wanted = await parse(request, Why)
        if wanted.draft is not None:
            await parts.agreements.look_for(wanted.draft.to)
            return _told(await parts.composer.why_not(wanted.draft))
        if wanted.message is None:
            raise NotFound
        return _told(await why_not(parts, wanted.message))

    return routes


def _told(decision: Decision) -> dict[str, Any]:
    return {
        "allowed": decision.allowed,
        "codes": list(decision.codes),
        "rules": list(decision.rules),
    }
