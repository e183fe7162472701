"""A refusal that must not tell why costs the same, whatever lies behind it: no clock is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from broker.gateway.safeguards.keeping import change
from tests.support.gateways import CASE, Desk, Side, World

SHELTERED = {"contact_location": {"shelter_address": "An invented road 1"}}


@contextmanager
def statements(side: Side) -> Iterator[list[str]]:
    """Every statement that the gateway's database is asked."""
    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    engine = side.gateway.core.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_an_excluded_a_protected_and_an_ordinary_refusal_ask_the_same_of_the_database(
    two: World,
) -> None:
    italy = two["it.nrm"]
    core = italy.gateway.core
    desk = Desk(two, "it.nrm")
    cases = ("PROTECTED-1", "EXCLUDED-1", "ORDINARY-1")
    grants = {
        case: str(await italy.consent("al.nrm", case, ("case_admin", "contact_location")))
        for case in cases
    }
    await change(core, "PROTECTED-1", {"protection_claim": True, "origin": "AL"}, worker="knows")
    await italy.parts.excluding.exclude("EXCLUDED-1", "al.nrm", worker="knows")

    async def refused(case: str) -> tuple[list[str], str]:
        draft = {
            "type": "referral.request",
            "to": "al.nrm",
            "case_ref": case,
            "grant": grants[case],
            "purpose": "protection",
            "sections": {**CASE, **SHELTERED},
            "body": {"services": ["safe_house"]},
        }
        with statements(italy) as asked:
            answer = await desk.post("/v1/messages", draft)
        return asked, answer.json()["code"]

    for case in cases:
        await refused(case)  # what is read once and remembered is remembered of all three
    found = {case: await refused(case) for case in cases}

    assert {code for _, code in found.values()} == {"policy"}
    protected, excluded, ordinary = (found[case][0] for case in cases)
    assert protected == excluded == ordinary
    assert any("vault_item" in statement for statement in ordinary)
