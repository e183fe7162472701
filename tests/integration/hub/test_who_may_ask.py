"""Everything is shown to its parties alone, and only to who signs the request."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import select

from broker.hub.store.tables import DELIVERY, EVIDENCE
from schemas.envelope import Lane
from tests.support.hub import Client, Served


async def test_every_object_is_shown_to_its_parties_alone(served: Served) -> None:
    it, al, agreement = await served.pair()
    shelter = served.client("al.shelter")
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    async with served.hub.database.read() as connection:
        evidence = (await connection.execute(select(EVIDENCE.c.id))).scalars().first()
    paths = [
        f"/envelopes/{sealed.content.id}",
        f"/grants/{grant.id}",
        f"/streams?from=it.nrm&to=al.nrm&lane={Lane.ROUTINE}",
        f"/log/proof?envelope={sealed.content.id}",
        f"/log/proof?evidence={evidence}",
        f"/attachments/{'A' * 43}",
    ]

    for path in paths:
        assert (await shelter.get(path)).status_code == 404, path
    assert (await shelter.get("/agreements")).json() == {"agreements": []}
    assert await shelter.mailbox() == []
    items = await al.mailbox()
    await shelter.acknowledge(items)
    async with served.hub.database.read() as connection:
        assert (await connection.execute(select(DELIVERY.c.id))).first() is not None


async def test_without_a_signature_nothing_but_public_files_is_answered(served: Served) -> None:
    paths = [
        "/mailbox?lane=routine",
        "/agreements",
        "/channels",
        "/grants/changes",
        f"/grants/{uuid4()}",
        f"/envelopes/{uuid4()}",
        "/streams?from=it.nrm&lane=routine",
        "/log/entries",
        f"/log/proof?envelope={uuid4()}",
        "/log/tile/entries/000",
        f"/attachments/{'A' * 43}",
    ]

    for path in paths:
        answer = await served.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path


async def test_a_signed_request_counts_once_and_for_its_own_url(served: Served) -> None:
    al = served.client("al.nrm")
    headers = al.signed("GET", "/agreements")

    first = await served.http.get("/agreements", headers=headers)
    replayed = await served.http.get("/agreements", headers=headers)
    elsewhere = await served.http.get("/channels", headers=al.signed("GET", "/agreements"))

    assert [a.status_code for a in (first, replayed, elsewhere)] == [200, 401, 401]


async def test_streams_tell_each_side_the_highest_number(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for _ in range(3):
        await it.send("al.nrm", agreement=agreement, grant=grant)

    mine: Client = al
    seen = (await mine.get("/streams", **{"from": "it.nrm", "lane": "routine"})).json()
    nothing = (await mine.get("/streams", **{"from": "al.shelter", "lane": "routine"})).json()

    assert seen == {"incarnation": it.incarnation, "highest": 3}
    assert nothing == {"incarnation": None, "highest": 0}
