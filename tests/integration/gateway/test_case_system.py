"""Decisions made in a case system reach the partner; the partner's reach the right case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from adapters.base import News
from broker.gateway.store.tables import alarm, case_news, case_told
from tests.support.gateways import Side, World

HEADER = "x_business_id,x_step,x_at,x_reason,x_services\n"


async def deliver(one: Side, other: Side) -> None:
    await one.push()
    await other.pull()


def folder(side: Side) -> Path:
    return Path(side.gateway.core.settings.path(Path("htcds")))


def decide(side: Side, name: str, *rows: str) -> None:
    decided = folder(side) / "decided"
    decided.mkdir(exist_ok=True)
    (decided / name).write_text(HEADER + "".join(f"{row},2026-11-22T10:00:00Z,,\n" for row in rows))


def told(side: Side) -> list[str]:
    files = sorted((folder(side) / "told").glob("*.csv"))
    return [path.read_text().splitlines()[1] for path in files]


async def rows(side: Side, table: Any) -> list[Any]:
    async with side.gateway.core.database.read() as connection:
        return list((await connection.execute(select(table))).all())


async def poll(side: Side) -> None:
    while await side.parts.polling.run_once():
        pass


async def test_what_a_worker_decides_in_the_case_system_reaches_the_partners_case(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    first = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    second = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await deliver(italy, albania)

    decide(albania, "a.csv", f"{second.business_id},accepted")
    await poll(albania)
    await poll(albania)  # the page is put aside; nothing is said twice
    await deliver(albania, italy)
    await italy.parts.telling.run_once()
    await italy.parts.telling.run_once()

    assert [row.state for row in await rows(albania, case_news)] == ["sent"]
    (line,) = told(italy)
    assert line.split(",")[:3] == ["CASE-1", str(second.business_id), "accepted"]
    assert str(first.business_id) not in line
    assert [row.state for row in await rows(italy, case_told)] == ["told"]


async def test_a_page_that_was_answered_before_the_crash_is_not_answered_again(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await deliver(italy, albania)
    decide(albania, "a.csv", f"{sent.business_id},accepted")

    page = albania.gateway.core.adapter.poll(None)
    news = page.items[0]
    assert isinstance(news, News)
    # Sent and not yet noted: the gateway dies here and begins with the same page.
    from broker.gateway.cases import answers
    from broker.gateway.cases.polling import _draft, _filed_under

    async with albania.gateway.core.database.read() as connection:
        (referral,) = await _filed_under(connection, news)
    answer = answers.answer_of(news)
    assert isinstance(answer, answers.Answer)
    composed = await albania.parts.composer(_draft(news, answer, referral))
    before = await albania.parts.sender.send(composed)

    again = await two.open("al.nrm")
    await poll(again)
    (noted,) = await rows(again, case_news)
    assert (noted.state, noted.answer) in (("sent", before.id), ("noted", None))
    await deliver(again, italy)
    await italy.parts.telling.run_once()
    assert len(told(italy)) == 1


async def test_a_decision_that_fits_no_referral_is_held_for_a_person(two: World) -> None:
    albania = two["al.nrm"]
    decide(albania, "a.csv", "0190a000-0000-7000-8000-00000000000f,accepted")
    await poll(albania)
    (noted,) = await rows(albania, case_news)
    assert (noted.state, noted.code) == ("held", "no-referral")
    assert [row.code for row in await rows(albania, alarm)] == ["case-system-decision"]


async def test_where_a_worker_confirms_nothing_is_said_by_itself(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await deliver(italy, albania)
    core = albania.gateway.core
    asking = core.settings.adapter.model_copy(update={"answers": "ask"})
    core.settings = core.settings.model_copy(update={"adapter": asking})
    decide(albania, "a.csv", f"{sent.business_id},accepted")
    await poll(albania)
    (noted,) = await rows(albania, case_news)
    assert (noted.state, noted.code, noted.answer) == ("held", "to-confirm", None)


async def test_a_reason_in_words_is_for_a_person_and_stays_out_of_the_tables(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await deliver(italy, albania)
    words = "Invented Name said that she would rather stay with her aunt for now"
    decided = folder(albania) / "decided"
    decided.mkdir(exist_ok=True)
    (decided / "a.csv").write_text(
        f"{HEADER}{sent.business_id},declined,2026-11-22T10:00:00Z,{words},\n"
    )
    await poll(albania)
    (noted,) = await rows(albania, case_news)
    assert (noted.state, noted.code, noted.reason) == ("held", "unknown-reason", "unreadable")
