"""A referral is in the case system once, whatever that system can remember, and no gap is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from adapters.base import CannotMap, CaseRecord, Filed, Memory, Outcome, Tools, file_one_by_one
from adapters.registry import open_adapter
from adapters.systems.files import FilesSystem, make
from broker.gateway.cases.questions import Answer
from broker.gateway.store.tables import alarm, case_report, erasure, inbox
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import CaseSystemUnavailable, OutcomeUnknown
from tests.support.gateways import Side, World


class Died(BaseException):
    """Stands for the end of the process."""


class Forgetful:
    """A case system that files and cannot be asked; with keys, it files once for each id."""

    def __init__(self, inner: FilesSystem, memory: Memory) -> None:
        self.inner = inner
        self.memory = memory
        self.calls: list[UUID] = []
        self.records: list[UUID] = []
        self.trouble: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def find(self, business_id: UUID) -> Filed | None:
        raise AssertionError("it cannot be asked")

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        self.calls.append(business_id)
        if isinstance(self.trouble, CaseSystemUnavailable):
            raise self.trouble
        if self.memory is Memory.NONE or business_id not in self.records:
            self.records.append(business_id)
        if self.trouble is not None:
            raise self.trouble
        return Filed(str(len(self.records)))

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        return file_one_by_one(self, cases)


def forgetful(side: Side, memory: Memory) -> Forgetful:
    core = side.gateway.core
    core.adapter = Forgetful(make({"root": core.settings.path(Path("htcds"))}, Tools()), memory)
    return core.adapter


async def refer(two: World) -> UUID:
    italy = two["it.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await italy.push()
    return sent.business_id


async def state_of(side: Side, business_id: UUID) -> tuple[str, str | None]:
    async with side.gateway.core.database.read() as connection:
        row = (
            await connection.execute(select(inbox).where(inbox.c.business_id == business_id))
        ).one()
    return row.state, row.code


async def reopened(two: World, system: Forgetful) -> Side:
    side = await two.open("al.nrm")
    side.gateway.core.adapter = system
    system.trouble = None
    return side


@pytest.mark.parametrize("memory", [Memory.NONE, Memory.KEYS])
async def test_after_a_death_between_filing_and_recording_there_is_one_case(
    two: World, memory: Memory
) -> None:
    business_id = await refer(two)
    system = forgetful(two["al.nrm"], memory)
    system.trouble = Died()
    with pytest.raises(Died):
        await two["al.nrm"].pull()

    albania = await reopened(two, system)
    await albania.pull()
    assert system.records == [business_id]
    if memory is Memory.NONE:
        assert system.calls == [business_id]
        assert await state_of(albania, business_id) == ("held", "outcome-unknown")
    else:
        assert await state_of(albania, business_id) == ("filed", None)


async def test_a_system_without_memory_that_did_nothing_is_asked_again(two: World) -> None:
    business_id = await refer(two)
    albania = two["al.nrm"]
    system = forgetful(albania, Memory.NONE)
    system.trouble = CaseSystemUnavailable("closed")
    await albania.pull()
    assert (await state_of(albania, business_id))[0] == "filing"

    albania = await reopened(two, system)
    core = albania.gateway.core
    async with core.database.begin() as connection:
        await connection.execute(inbox.update().values(next_attempt_at=core.now()))
    await albania.pull()
    assert system.records == [business_id]
    assert await state_of(albania, business_id) == ("filed", None)


async def test_an_adapter_that_breaks_while_filing_is_not_tried_again(two: World) -> None:
    business_id = await refer(two)
    albania = two["al.nrm"]
    system = forgetful(albania, Memory.NONE)
    system.trouble = KeyError("a bug")
    await albania.pull()
    assert await state_of(albania, business_id) == ("held", "outcome-unknown")
    assert system.calls == [business_id]


@pytest.mark.parametrize("filed", [True, False])
async def test_what_the_case_system_cannot_hold_is_told_field_by_field_under_seal(
    two: World, filed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    business_id = await refer(two)
    system, where = albania.gateway.core.adapter, ("case_admin.case_owner: too-long",)
    whole = system.file_many

    def with_gaps(cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        if not filed:
            return [CannotMap(where) for _ in cases]
        return [
            replace(answer, not_held=where) if isinstance(answer, Filed) else answer
            for answer in whole(cases)
        ]

    monkeypatch.setattr(system, "file_many", with_gaps)
    await albania.pull()
    assert (await state_of(albania, business_id))[0] == ("filed" if filed else "failed")
    async with albania.gateway.core.database.read() as connection:
        raised = set((await connection.execute(select(alarm.c.code))).scalars())
    assert raised == {"case-system-gaps" if filed else "filing-failed"}

    await albania.parts.reporting.run_once()
    await albania.parts.reporting.run_once()
    await albania.push()
    await italy.pull()
    async with italy.gateway.core.database.read() as connection:
        rows = (await connection.execute(select(inbox))).all()
    (report,) = [row for row in rows if row.type == "filing.report"]
    from broker.gateway.receive.opening import open_message

    body = (await open_message(italy.parts, report.id))["body"]
    assert body == {
        "referral": str(business_id),
        "outcome": "filed_with_gaps" if filed else "cannot_map",
        "fields": ["case_admin.case_owner"],
    }
    async with albania.gateway.core.database.read() as connection:
        states = list((await connection.execute(select(case_report.c.state))).scalars())
    assert states == ["sent"]


@pytest.mark.parametrize("desk", [True, False])
async def test_what_a_case_system_cannot_take_out_is_never_attested_as_erased(
    two: World, desk: bool
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sections = {
        "case_admin": {"status": "Active"},
        "demographics_language": {"primary_language": "sqi"},
    }
    grant = await italy.consent("al.nrm", sections=tuple(sections))
    if desk:
        albania.gateway.core.adapter = open_adapter("desk", {})
    else:
        forgetful(albania, Memory.KEYS).skills = frozenset()  # type: ignore[attr-defined]
    await italy.refer("al.nrm", grant, sections=sections)
    await italy.push()
    await albania.pull()

    taken = ScopeGrant(purpose=Purpose.PROTECTION, section="demographics_language")
    await italy.parts.withdrawals.order(grant, [taken])
    for _ in range(3):
        await italy.push()
        await albania.pull()
        await albania.push()
        await italy.pull()
    async with italy.gateway.core.database.read() as connection:
        rows = await connection.execute(
            select(erasure.c.outcome).where(
                erasure.c.by == "al.nrm", erasure.c.store == "case-system"
            )
        )
        assert list(rows.scalars()) == ["erased" if desk else "unknown"]


@pytest.mark.parametrize("answer", [Answer.FILED, Answer.NOT_FILED])
async def test_a_worker_who_looked_says_whether_it_was_filed(two: World, answer: Answer) -> None:
    business_id = await refer(two)
    albania = two["al.nrm"]
    system = forgetful(albania, Memory.NONE)
    system.trouble = OutcomeUnknown("the line broke")
    await albania.pull()
    assert await state_of(albania, business_id) == ("held", "outcome-unknown")
    (question,) = await albania.parts.questions.open()
    assert question["answers"] == ["filed", "not_filed", "unsure"]

    system.trouble = None
    reference = "C-1" if answer is Answer.FILED else None
    await albania.parts.questions.answer(
        UUID(question["id"]), answer, reference=reference, worker="a.worker"
    )
    await albania.parts.filing.run_once()

    assert await state_of(albania, business_id) == ("filed", None)
    assert len(system.calls) == (1 if answer is Answer.FILED else 2)
    assert await albania.parts.questions.open() == []
