"""What only a lying sender can make: its header is in order, and what is inside the seal is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from broker.gateway.send.compose import Composed, compose
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.store.tables import outbox, quarantine
from keys.binding import blind_scope
from schemas.consent import Purpose
from schemas.directory import Compartment
from tests.support.gateways import CASE, Side, World, column, files


async def _lie(italy: Side, change: Callable[[dict[str, Any]], None]) -> UUID:
    """Send a referral whose sealed part was changed before sealing, as no gateway of ours does."""
    grant = await italy.consent("al.nrm")
    draft = MessageDraft.model_validate(
        {
            "type": "referral.request",
            "to": "al.nrm",
            "case_ref": "CASE-1",
            "grant": grant,
            "purpose": Purpose.PROTECTION,
            "sections": CASE,
            "body": {"services": ["safe_house"]},
        }
    )
    core = italy.gateway.core
    async with core.database.read() as connection:
        composed: Composed = await compose(core, italy.parts.agreements, connection, draft)
    part = json.loads(composed.parts[Compartment.CASEWORK])
    change(part)
    parts = {**composed.parts, Compartment.CASEWORK: json.dumps(part).encode()}
    stored = await italy.parts.sender.send(replace(composed, parts=parts))
    return UUID(str(stored.id))


def _other_section(part: dict[str, Any]) -> None:
    part["scopes"][0]["section"] = "identity_core"
    part["sections"] = {"identity_core": {"first_name": "Invented"}}


def _smuggled(part: dict[str, Any]) -> None:
    part["sections"]["identity_core"] = {"first_name": "Invented"}
    part["scopes"].append({**part["scopes"][0], "section": "identity_core"})


def _forged_scope(part: dict[str, Any]) -> None:
    key = base64.urlsafe_b64decode(part["grant_key"] + "==")
    part["scopes"][0]["scope"] = blind_scope(key, Purpose.PROTECTION, "identity_core")
    part["scopes"][0]["section"] = "identity_core"
    part["sections"] = {"identity_core": {"first_name": "Invented"}}


@pytest.mark.parametrize("lie", [_other_section, _smuggled, _forged_scope])
async def test_a_scope_that_lies_about_its_section_is_suspect_and_never_filed(
    two: World, lie: Callable[[dict[str, Any]], None]
) -> None:
    """The hub cannot see it: the header is in order. The recipient quarantines and says nothing."""
    italy, albania = two["it.nrm"], two["al.nrm"]

    message = await _lie(italy, lie)
    await two.settle()

    assert files(two, "al.nrm") == []
    assert await column(albania, quarantine.c.code) == ["scope-mismatch"]
    [state] = await column(italy, outbox.c.state, outbox.c.id == message)
    assert state not in ("delivered", "filed", "read")


async def test_a_type_that_the_recipient_does_not_know_comes_back_with_its_code(
    two: World,
) -> None:
    italy = two["it.nrm"]

    message = await _lie(italy, lambda part: part.update(type="referral.nonsense"))
    await two.settle()

    assert files(two, "al.nrm") == []
    [code] = await column(italy, outbox.c.code, outbox.c.id == message)
    assert code == "unknown-type"
    assert await column(italy, outbox.c.state, outbox.c.id == message) == ["refused"]
