"""Who it is: what the case system finds is put before a worker, and nothing is done until she says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from adapters.registry import open_adapter
from broker.gateway.cases.questions import Answer
from broker.gateway.erasure.erasing import Erasing
from broker.gateway.store.tables import alarm, case_question, inbox, opening
from schemas.audit import Event
from schemas.errors import NotFound, NotPermitted, SchemaRefused
from tests.support.fhir import Server, Store, fhir_server
from tests.support.gateways import Side, World, world

PERSON: dict[str, dict[str, Any]] = {
    "case_admin": {"status": "Active"},
    "identity_core": {"first_name": "Zmyślona", "second_name": "Łódź", "birthdate": "1990-05-14"},
}
KNOWN = {
    "resourceType": "Patient",
    "birthDate": "1990-05-14",
    "name": [{"family": "Łódź", "given": ["Zmyślona"]}],
}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm") as made:
        with fhir_server(Store(keeps_history=False)) as server:
            made["al.nrm"].gateway.core.adapter = open_adapter("fhir", {"url": server.base})
            made.server = server  # type: ignore[attr-defined]
            yield made


def server_of(two: World) -> Server:
    server: Server = two.server  # type: ignore[attr-defined]
    return server


async def refer(two: World, case_ref: str = "CASE-1", **person: Any) -> UUID:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sections = {**PERSON, "identity_core": {**PERSON["identity_core"], **person}}
    grant = await italy.consent("al.nrm", case_ref, sections=tuple(PERSON))
    sent = await italy.refer("al.nrm", grant, sections=sections, case_ref=case_ref)
    await italy.push()
    await albania.pull()
    return sent.id


async def state_of(side: Side, message: UUID) -> tuple[str, str | None]:
    async with side.gateway.core.database.read() as connection:
        row = (await connection.execute(select(inbox).where(inbox.c.id == message))).one()
    return row.state, row.code


async def say(side: Side, message: UUID, answer: Answer, reference: str | None = None) -> None:
    await side.parts.questions.answer(message, answer, reference=reference, worker="a.worker")
    await side.parts.filing.run_once()


async def alarms(side: Side) -> list[str]:
    async with side.gateway.core.database.read() as connection:
        query = select(alarm.c.code).where(alarm.c.cleared_at.is_(None))
        return list((await connection.execute(query)).scalars())


def requests_there(two: World) -> int:
    return len(server_of(two).store.of("ServiceRequest"))


async def test_a_person_who_may_be_known_is_never_updated_and_never_filed_until_a_worker_says(
    two: World,
) -> None:
    albania, store = two["al.nrm"], server_of(two).store
    store.put("Patient", "known", KNOWN)
    before = store.current("Patient", "known")

    message = await refer(two)

    assert await state_of(albania, message) == ("held", "person-unclear")
    assert await alarms(albania) == ["person-unclear"]
    assert requests_there(two) == 0
    (question,) = await albania.parts.questions.open()
    assert question["answers"] == ["same", "another", "unsure"]
    assert [each["reference"] for each in question["candidates"]] == ["Patient/known"]
    assert "Zmy" not in json.dumps(question)

    await say(albania, message, Answer.UNSURE)
    assert await state_of(albania, message) == ("held", "person-unclear")
    (question,) = await albania.parts.questions.open()
    assert (question["said"], question["said_by"]) == ("unsure", "a.worker")
    assert requests_there(two) == 0

    await say(albania, message, Answer.SAME, "Patient/known")
    assert await state_of(albania, message) == ("filed", None)
    assert await alarms(albania) == []
    assert store.current("Patient", "known") == before
    (linked,) = [each for each in store.of("Patient") if "link" in each]
    assert linked["link"][0]["other"] == {"reference": "Patient/known"}
    with pytest.raises(NotFound):
        await say(albania, message, Answer.ANOTHER)


async def test_another_person_is_filed_by_herself_and_a_new_likeness_is_asked_about_again(
    two: World,
) -> None:
    albania, store = two["al.nrm"], server_of(two).store
    store.put("Patient", "known", KNOWN)
    message = await refer(two)
    store.put("Patient", "second", KNOWN)

    await say(albania, message, Answer.ANOTHER)
    (question,) = await albania.parts.questions.open()
    assert [each["reference"] for each in question["candidates"]] == ["Patient/second"]
    # A record that is gone is nobody's: the question comes back, and nothing was filed.
    await say(albania, message, Answer.SAME, "Patient/gone")
    assert await state_of(albania, message) == ("held", "person-unclear")
    assert requests_there(two) == 0
    await say(albania, message, Answer.ANOTHER)

    assert await state_of(albania, message) == ("filed", None)
    assert not any("link" in each for each in store.of("Patient"))
    assert requests_there(two) == 1


async def test_the_sender_hears_that_it_waits_and_not_who_was_found(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    server_of(two).store.put("Patient", "known", KNOWN)
    message = await refer(two)

    await albania.parts.reporting.run_once()
    await albania.push()
    await italy.pull()

    core = italy.gateway.core
    async with core.database.read() as connection:
        query = select(inbox).where(inbox.c.type == "filing.report")
        (row,) = (await connection.execute(query)).all()
        told = json.loads(await core.vault.read(connection, row.content))["body"]
    assert told["outcome"] == "person_unclear"
    assert told["fields"] == ["identity_core"]
    assert "known" not in json.dumps(told)

    await say(albania, message, Answer.ANOTHER)
    await albania.parts.reporting.run_once()
    assert await state_of(albania, message) == ("filed", None)


async def test_the_same_senders_case_of_the_same_number_is_linked_and_asked_of_nobody(
    two: World,
) -> None:
    albania = two["al.nrm"]
    first = await refer(two)
    again = await refer(two)

    assert [await state_of(albania, each) for each in (first, again)] == [("filed", None)] * 2
    (linked,) = [each for each in server_of(two).store.of("Patient") if "link" in each]
    assert linked["link"][0]["type"] == "seealso"
    # Two of one number who cannot be one person are for a worker: a family under one number.
    sister = await refer(two, first_name="Siostra", birthdate="1992-01-02")
    assert await state_of(albania, sister) == ("held", "person-unclear")
    (question,) = await albania.parts.questions.open()
    assert [each["match"] for each in question["candidates"]] == ["case"]
    await say(albania, sister, Answer.ANOTHER)
    assert await state_of(albania, sister) == ("filed", None)


async def test_another_case_with_the_same_name_is_asked_about_also_from_the_same_sender(
    two: World,
) -> None:
    first, second = await refer(two), await refer(two, "CASE-2")

    assert await state_of(two["al.nrm"], first) == ("filed", None)
    assert await state_of(two["al.nrm"], second) == ("held", "person-unclear")


async def test_who_confirmed_stands_in_the_log(two: World) -> None:
    albania = two["al.nrm"]
    server_of(two).store.put("Patient", "known", KNOWN)
    message = await refer(two)
    await say(albania, message, Answer.SAME, "Patient/known")

    async with albania.gateway.core.database.read() as connection:
        (row,) = (await connection.execute(select(case_question))).all()
        query = select(opening.c.about).where(opening.c.event == Event.QUESTION_ANSWERED.value)
        about = list((await connection.execute(query)).scalars())
    assert (row.answer, row.reference, row.answered_by) == ("same", "Patient/known", "a.worker")
    assert about == [message]


async def test_a_withdrawal_takes_the_question_with_it_and_files_nothing(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    server_of(two).store.put("Patient", "known", KNOWN)
    message = await refer(two)
    async with albania.gateway.core.database.read() as connection:
        grant = await connection.scalar(select(inbox.c.grant).where(inbox.c.id == message))
    await italy.parts.withdrawals.order(grant)
    await italy.push()
    await albania.pull()
    erasing: Erasing = albania.parts.erasing
    await erasing.run_once()

    assert (await state_of(albania, message))[0] == "erased"
    assert await albania.parts.questions.open() == []
    with pytest.raises(NotFound):
        await say(albania, message, Answer.SAME, "Patient/known")
    async with albania.gateway.core.database.read() as connection:
        assert (await connection.execute(select(case_question))).all() == []
    assert requests_there(two) == 0


async def test_an_answer_that_fits_no_question_changes_nothing(two: World) -> None:
    albania = two["al.nrm"]
    server_of(two).store.put("Patient", "known", KNOWN)
    message = await refer(two)

    for answer, reference, error in (
        (Answer.SAME, None, SchemaRefused),
        (Answer.ANOTHER, "Patient/known", SchemaRefused),
        (Answer.FILED, "r1", NotPermitted),
        (Answer.NOT_FILED, None, NotPermitted),
    ):
        with pytest.raises(error):
            await say(albania, message, answer, reference)
    assert await state_of(albania, message) == ("held", "person-unclear")


async def test_where_the_system_itself_holds_two_a_worker_names_the_one(two: World) -> None:
    albania, store = two["al.nrm"], server_of(two).store
    message = await refer(two)
    (request,) = store.of("ServiceRequest")
    store.put("ServiceRequest", "copy", {**request, "subject": {"reference": "Patient/x"}})
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(
            inbox.update().values(
                state="filing", reference=None, next_attempt_at=albania.gateway.core.now()
            )
        )
    await albania.parts.filing.run_once()
    assert await state_of(albania, message) == ("held", "outcome-unknown")

    await say(albania, message, Answer.FILED, request["id"])
    assert await state_of(albania, message) == ("filed", None)
