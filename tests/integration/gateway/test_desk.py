"""The desk: nobody is taken for somebody in the vault, a worker finds what she may read, and prints it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from adapters.base import Memory, Skill
from adapters.registry import open_adapter
from broker.gateway.cases.questions import Answer
from broker.gateway.store.tables import case_question, inbox
from broker.gateway.vault import Vault
from schemas.consent import Purpose
from tests.support.gateways import Desk, Side, World, world

PERSON: dict[str, dict[str, Any]] = {
    "case_admin": {"status": "Active"},
    "identity_core": {
        "first_name": "Zmyślona Inwencja",
        "second_name": "Łódź",
        "original_first_name": "Вигадана",
        "original_second_name": "Особа",
        "birthdate": "1990-05-14",
    },
    "nationality_documents": {"identity_number": "00-123-X"},
}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "network"
    async with world(path, "it.nrm", "al.nrm") as made:
        settings = made.network.participants["al.nrm"].home / "gateway.toml"
        text = settings.read_text(encoding="utf-8").partition("[adapter]")[0]
        settings.write_text(text + '[adapter]\nname = "desk"\n', encoding="utf-8")
        await made.open("al.nrm")
        yield made


async def refer(two: World, case_ref: str = "CASE-1", **person: Any) -> Any:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sections = {**PERSON, "identity_core": {**PERSON["identity_core"], **person}}
    if person.get("number"):
        sections["identity_core"].pop("number")
        sections["nationality_documents"] = {"identity_number": person["number"]}
    grant = await italy.consent("al.nrm", case_ref, sections=tuple(PERSON))
    sent = await italy.refer("al.nrm", grant, sections=sections, case_ref=case_ref)
    await italy.push()
    await albania.pull()
    return sent, grant


async def state_of(side: Side, message: UUID) -> tuple[str, str | None]:
    async with side.gateway.core.database.read() as connection:
        row = (await connection.execute(select(inbox).where(inbox.c.id == message))).one()
    return row.state, row.code


async def say(side: Side, message: UUID, answer: Answer, reference: str | None = None) -> None:
    await side.parts.questions.answer(message, answer, reference=reference, worker="a.worker")
    await side.parts.filing.run_once()


async def test_without_a_gateway_the_desk_says_that_nobody_can_be_looked_for() -> None:
    desk = open_adapter("desk", {})
    assert desk.memory is Memory.KEYS
    assert Skill.CANDIDATES not in desk.skills


async def test_who_may_be_in_the_vault_already_waits_for_a_worker(two: World) -> None:
    albania = two["al.nrm"]
    first, _ = await refer(two)
    assert await state_of(albania, first.id) == ("filed", None)

    again, _ = await refer(two, "CASE-2", first_name="ZMYSLONA INWENCJA", number="00-999-X")
    by_number, _ = await refer(two, "CASE-3", second_name="Gdańsk", birthdate="1991-01-01")
    stranger, _ = await refer(
        two, "CASE-4", first_name="Innego", original_first_name="Інша", number="7"
    )

    assert await state_of(albania, again.id) == ("held", "person-unclear")
    assert await state_of(albania, by_number.id) == ("held", "person-unclear")
    assert await state_of(albania, stranger.id) == ("filed", None)
    asked = {each["id"]: each["candidates"] for each in await albania.parts.questions.open()}
    known = f"desk:{first.business_id}"
    assert [(one["reference"], one["match"]) for one in asked[str(again.id)]] == [(known, "name")]
    assert [(one["reference"], one["match"]) for one in asked[str(by_number.id)]] == [
        (known, "number")
    ]

    before = albania.gateway.core.adapter.read
    kept = await _in_thread(before, known)
    await say(albania, again.id, Answer.SAME, "desk:00000000-0000-0000-0000-000000000000")
    assert await state_of(albania, again.id) == ("held", "person-unclear"), "nobody is there"
    await say(albania, again.id, Answer.SAME, known)
    await say(albania, by_number.id, Answer.ANOTHER)
    assert await state_of(albania, again.id) == ("filed", None)
    assert await state_of(albania, by_number.id) == ("filed", None)
    assert (await _in_thread(before, known)).sections == kept.sections
    async with albania.gateway.core.database.read() as connection:
        rows = (await connection.execute(select(case_question))).all()
    assert {(row.message, row.answer, row.reference) for row in rows} == {
        (again.id, "same", known),
        (by_number.id, "another", None),
    }


async def test_after_a_restart_the_vault_is_looked_through_again_and_who_is_erased_is_nobody(
    two: World,
) -> None:
    italy = two["it.nrm"]
    first, grant = await refer(two)
    albania = await two.open("al.nrm")
    people = albania.gateway.core.people
    async with albania.gateway.core.database.read() as connection:
        assert await people.called(connection, "Łódź") == {first.id}
    await italy.parts.withdrawals.order(grant)
    for _ in range(3):
        await two.settle()
    assert (await state_of(albania, first.id))[0] == "erased"
    assert not people._messages, "not even as a digest"

    again, _ = await refer(two, "CASE-2")
    assert await state_of(albania, again.id) == ("filed", None)


async def test_a_worker_finds_by_what_she_knows_and_the_search_leaves_no_word(
    two: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first, _ = await refer(two)
    desk = Desk(two, "al.nrm")
    day = str(first_day(await desk.get("/v1/messages?box=inbox")))

    for known in (
        {"business_id": str(first.business_id)},
        {"case": "CASE-1"},
        {"case": f"desk:{first.business_id}"},
        {"name": "łódź  zmyslona"},
        {"name": "ОСОБА"},
        {"number": "00 123 x"},
        {"name": "Łódź", "born": "1990-05"},
        {"first": day, "last": day, "partner": "it.nrm"},
    ):
        answer = await desk.post("/v1/cases/search", known)
        assert [one["id"] for one in answer.json()["cases"]] == [str(first.id)], known
        assert "Zmy" not in answer.text
    for wrong in (
        {"name": "Łódź Inna"},
        {"name": "Łód"},
        {"number": "123-X"},
        {"name": "Łódź", "born": "1991"},
        {"first": "2099-01-01"},
        {"case": "CASE-1", "partner": "al.shelter"},
    ):
        assert (await desk.post("/v1/cases/search", wrong)).json()["cases"] == [], wrong
    desk.http.headers["authorization"], known = "Bearer wrong", {"name": "Łódź"}
    assert (await desk.post("/v1/cases/search", known)).status_code == 401
    desk = Desk(two, "al.nrm")
    for nothing in ({}, {"born": "1990"}, {"nome": "x"}):
        refused = await desk.post("/v1/cases/search", nothing)
        assert refused.json()["code"] == "schema"
    told = caplog.text + json.dumps([record.__dict__ for record in caplog.records], default=str)
    for word in ("zmyslona", "Łódź", "00 123 x", "ОСОБА"):
        assert word.casefold() not in told.casefold()
    async with two["al.nrm"].gateway.core.database.read() as connection:
        opened = await connection.scalar(select(inbox.c.opened_at).where(inbox.c.id == first.id))
    assert opened is None, "finding is not reading"


def first_day(answer: Any) -> str:
    return str(answer.json()["messages"][0]["at"])[:10]


async def _not_to_be_read(*_args: Any, **_more: Any) -> Any:
    raise AssertionError("read before it was asked whether it may be opened")


async def test_what_may_not_be_opened_is_not_found_and_nothing_of_it_is_read(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy = two["it.nrm"]
    _, grant = await refer(two)
    desk = Desk(two, "al.nrm")
    assert len((await desk.post("/v1/cases/search", {"name": "Łódź"})).json()["cases"]) == 1

    frozen = {"kind": "restrict", "case": "CASE-1", "ground": "accuracy_contested"}
    asked = await Desk(two, "it.nrm").post("/v1/rights/ask", frozen)
    assert asked.status_code == 200, asked.text
    await two.settle()
    assert (await desk.post("/v1/cases/search", {"name": "Łódź"})).json()["cases"] == []
    with monkeypatch.context() as watched:
        watched.setattr(Vault, "read", _not_to_be_read)
        watched.setattr(Vault, "read_many", _not_to_be_read)
        by_birth = {"name": "Łódź", "born": "1990"}
        assert (await desk.post("/v1/cases/search", by_birth)).json()["cases"] == []
    assert await _in_thread(two["al.nrm"].gateway.core.adapter.candidates, _case()) == ()

    await italy.parts.withdrawals.order(grant)
    await two.settle()
    assert (await desk.post("/v1/cases/search", {"case": "CASE-1"})).json()["cases"] == []


async def test_a_sheet_says_the_case_in_the_workers_language_and_is_marked(two: World) -> None:
    first, _ = await refer(two)
    desk = Desk(two, "al.nrm")
    marks = {"en": "CONFIDENTIAL", "fr": "CONFIDENTIEL", "ar": "سرّي"}
    for language, marked in marks.items():
        wanted = {"message": str(first.id), "language": language}
        sheet = (await desk.post("/v1/cases/sheet", wanted)).json()
        for page in (sheet["html"], sheet["text"]):
            assert marked in page
            for value in ("Zmyślona Inwencja", "Вигадана", "1990-05-14", "00-123-X", "CASE-1"):
                assert value in page
            assert "safe_house" not in page, "codes are said in words"
        assert ('dir="rtl"' in sheet["html"]) == (language == "ar")
        assert "<title>·</title>" in sheet["html"]
    async with two["al.nrm"].gateway.core.database.read() as connection:
        read = await connection.scalar(select(inbox.c.opened_at).where(inbox.c.id == first.id))
    assert read is not None


async def test_a_case_is_found_under_any_name_she_had_and_shown_as_it_is_now(two: World) -> None:
    first, grant = await refer(two)
    other = two["it.nrm"]
    now = await _amended(two, first, grant, first_name="Poprawiona", birthdate="1991-05-14")
    albania = two["al.nrm"]
    there = await _in_thread(albania.gateway.core.adapter.read, f"desk:{first.business_id}")
    assert there.sections["identity_core"]["first_name"] == "Poprawiona"

    desk = Desk(two, "al.nrm")
    for known in (
        {"business_id": str(first.business_id)},
        {"business_id": str(now.business_id)},
        {"name": "Zmyślona"},
        {"name": "poprawiona"},
        {"name": "Zmyślona", "born": "1991"},
        {"name": "Poprawiona", "born": "1990"},
    ):
        (case,) = (await desk.post("/v1/cases/search", known)).json()["cases"]
        assert (case["id"], case["type"]) == (str(now.id), "referral.amend"), known
        assert [one["id"] for one in case["before"]] == [str(first.id)]
    for wrong in ({"name": "Zmyślona Poprawiona"}, {"name": "Poprawiona", "born": "1992"}):
        assert (await desk.post("/v1/cases/search", wrong)).json()["cases"] == []

    # What was said under a consent that is gone leads nowhere; the present case stays findable.
    again = await other.consent("al.nrm", "CASE-1", sections=tuple(PERSON))
    newest = await _amended(two, now, again, first_name="Najnowsza")
    await other.parts.withdrawals.order(grant)
    await two.settle()
    for name, cases in (("Zmyślona", []), ("Poprawiona", []), ("Najnowsza", [str(newest.id)])):
        found = (await desk.post("/v1/cases/search", {"name": name})).json()["cases"]
        assert [one["id"] for one in found] == cases, name


async def _amended(two: World, before: Any, grant: UUID, **person: str) -> Any:
    """What is amended is what the desk holds from then on."""
    italy, albania = two["it.nrm"], two["al.nrm"]
    right = {**PERSON, "identity_core": {**PERSON["identity_core"], **person}}
    sent = await italy.send(
        type="referral.amend",
        to="al.nrm",
        case_ref="CASE-1",
        grant=grant,
        purpose=Purpose.PROTECTION,
        thread=before.thread,
        sections=right,
        body={"replaces": str(before.business_id), "services": ["safe_house"]},
    )
    await italy.push()
    await albania.pull()
    return sent


async def _in_thread(ask: Any, *given: Any) -> Any:
    """As the gateway does: an adapter is called from a thread, and asks its loop."""
    import asyncio

    return await asyncio.to_thread(ask, *given)


def _case() -> Any:
    from adapters.base import CaseRecord

    return CaseRecord("CASE-9", PERSON)
