"""A business id is chosen by whoever sends: it names a case of that sender, and nobody else's."""

from __future__ import annotations

from uuid import uuid4

import pytest

from broker.gateway.store.tables import alarm, inbox, outbox
from schemas.errors import Conflict
from tests.support.gateways import CASE, TWO_SECTIONS, World, column, files


async def test_the_second_sender_of_one_business_id_is_told_that_nothing_was_filed(
    three: World,
) -> None:
    italy, albania, shelter = (three[name] for name in ("it.nrm", "al.nrm", "al.shelter"))
    same = uuid4()
    first = await italy.refer("al.nrm", await italy.consent("al.nrm"), business_id=same)
    await three.settle()
    second = await shelter.refer("al.nrm", await shelter.consent("al.nrm"), business_id=same)
    await three.settle()

    assert await column(italy, outbox.c.state, outbox.c.id == first.id) == ["filed"]
    assert await column(albania, inbox.c.state, inbox.c.id == second.id) == ["failed"]
    assert await column(albania, inbox.c.code, inbox.c.id == second.id) == ["id-conflict"]
    assert await column(shelter, outbox.c.state, outbox.c.id == second.id) != ["filed"]
    raised = await column(albania, alarm.c.about, alarm.c.code == "filing-failed")
    assert raised == [str(second.id)]


async def test_withdrawing_the_second_leaves_the_first_senders_case_alone(three: World) -> None:
    italy, albania, shelter = (three[name] for name in ("it.nrm", "al.nrm", "al.shelter"))
    same = uuid4()
    grant = await italy.consent("al.nrm")
    first = await italy.refer("al.nrm", grant, business_id=same)
    await three.settle()
    theirs = await shelter.consent("al.nrm")
    await shelter.refer("al.nrm", theirs, business_id=same)
    await three.settle()

    await shelter.parts.withdrawals.order(theirs)
    await three.settle()
    assert len(files(three, "al.nrm")) == 1
    assert await column(albania, inbox.c.state, inbox.c.id == first.id) == ["filed"]

    await italy.parts.withdrawals.order(grant)
    await three.settle()
    assert files(three, "al.nrm") == []


async def test_a_business_id_is_free_again_once_its_case_was_erased(
    three: World,
) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    same = uuid4()
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant, business_id=same)
    await three.settle()
    await italy.parts.withdrawals.order(grant)
    await three.settle()

    shelter = three["al.shelter"]
    again = await shelter.refer(
        "al.nrm", await shelter.consent("al.nrm"), business_id=same, sections=CASE
    )
    await three.settle()
    assert await column(albania, inbox.c.state, inbox.c.id == again.id) == ["filed"]
    assert len(files(three, "al.nrm")) == 1


async def test_another_content_under_a_used_business_id_is_refused_and_a_repetition_is_not(
    three: World,
) -> None:
    italy = three["it.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(TWO_SECTIONS))
    same = uuid4()
    first = await italy.refer("al.nrm", grant, business_id=same)
    assert (await italy.refer("al.nrm", grant, business_id=same)).id == first.id
    with pytest.raises(Conflict):
        await italy.refer("al.nrm", grant, business_id=same, sections=TWO_SECTIONS)
