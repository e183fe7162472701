"""Sealed files: streamed, whole or not at all, for the addressee alone, gone with the consent."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.clock import TurnedClock
from broker.hub.ending import deadlines, retention
from broker.hub.store import attachments
from broker.hub.store.tables import ATTACHMENT, ATTACHMENT_CHUNK
from schemas.base import b64u
from schemas.envelope import MAX_ATTACHMENT_BYTES
from schemas.errors import StorageUnavailable
from schemas.evidence import Fact
from tests.support.hub import Client, Served, refs


def digest_of(data: bytes) -> str:
    return b64u(hashlib.sha256(data).digest())


async def upload(client: Client, data: bytes, *, as_digest: str | None = None) -> httpx2.Response:
    path = f"/attachments/{as_digest or digest_of(data)}"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    return await client.http.put(path, headers=client.signed("PUT", path), content=pieces())


async def chunks(served: Served) -> int:
    async with served.hub.database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(ATTACHMENT_CHUNK)) or 0)


async def test_the_addressee_alone_gets_the_exact_bytes(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    data = secrets.token_bytes(3_500_000)
    path = f"/attachments/{digest_of(data)}"
    attachments = refs((digest_of(data), len(data), grant.scopes[0]))

    first, again = await upload(it, data), await upload(it, data)
    before = await al.get(path)
    await it.send("al.nrm", agreement=agreement, grant=grant, attachments=attachments)
    theirs = await al.get(path)

    assert (first.status_code, again.status_code) == (201, 200)
    assert before.status_code == 404
    assert theirs.content == data
    for other in (it, served.client("al.shelter")):
        assert (await other.get(path)).status_code == 404


async def test_a_cut_off_or_exchanged_upload_leaves_nothing(served: Served) -> None:
    it = served.client("it.nrm")
    data = secrets.token_bytes(1_500_000)
    path = f"/attachments/{digest_of(data)}"
    headers = it.signed("PUT", path)

    exchanged = await upload(it, data[:-1], as_digest=digest_of(data))

    async def half() -> AsyncIterator[bytes]:
        yield data[:700_000]

    cut_off = await it.http.put(
        path, headers={**headers, "content-length": str(len(data))}, content=half()
    )

    assert exchanged.json()["code"] == "truncated"
    assert cut_off.json()["code"] == "truncated"
    assert await chunks(served) == 0


async def test_a_file_is_kept_when_nobody_knows_whether_its_upload_was_committed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    data = secrets.token_bytes(1_500_000)
    begin, complete = served.hub.database.begin, attachments.complete
    completing: asyncio.Task[Any] | None = None

    async def noticed(*given: Any, **named: Any) -> bool:
        nonlocal completing
        completing = asyncio.current_task()
        return await complete(*given, **named)

    @asynccontextmanager
    async def cut_off_after_the_commit() -> AsyncIterator[AsyncConnection]:
        nonlocal completing
        async with begin() as connection:
            yield connection
        if completing is asyncio.current_task():  # and not whoever else commits meanwhile
            completing = None
            raise StorageUnavailable

    monkeypatch.setattr(attachments, "complete", noticed)
    monkeypatch.setattr(served.hub.database, "begin", cut_off_after_the_commit)
    unknown = await upload(it, data)
    monkeypatch.undo()
    again = await upload(it, data)
    named = refs((digest_of(data), len(data), grant.scopes[0]))
    await it.send("al.nrm", agreement=agreement, grant=grant, attachments=named)

    assert (unknown.status_code, again.status_code) == (503, 200)
    assert (await al.get(f"/attachments/{digest_of(data)}")).content == data


async def test_more_than_the_limit_is_refused_while_it_is_read(served: Served) -> None:
    it = served.client("it.nrm")
    path = f"/attachments/{'A' * 43}"
    announced = {"content-length": str(MAX_ATTACHMENT_BYTES * 2 + 1)}

    answer = await it.http.put(path, headers={**it.signed("PUT", path), **announced}, content=b"")

    assert answer.json()["code"] == "too-large"
    assert await chunks(served) == 0


async def test_a_message_whose_file_was_not_uploaded_is_refused(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    data = secrets.token_bytes(1000)
    await upload(al, data)  # by somebody else
    attachments = refs((digest_of(data), len(data), grant.scopes[0]))

    answer = await it.submit(
        it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, attachments=attachments))
    )

    assert (answer.json()["code"], answer.json()["where"]) == ("not-found", ["attachments"])


async def test_a_file_outside_the_scopes_of_the_tag_is_refused(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    data = secrets.token_bytes(1000)
    await upload(it, data)
    attachments = refs((digest_of(data), len(data), b64u(b"x" * 16)))

    answer = await it.submit(
        it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, attachments=attachments))
    )

    assert answer.json()["code"] == "consent-scope"


async def test_a_withdrawal_destroys_the_file_with_the_message(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    data = secrets.token_bytes(1000)
    await upload(it, data)
    attachments = refs((digest_of(data), len(data), grant.scopes[0]))
    await it.send("al.nrm", agreement=agreement, grant=grant, attachments=attachments)

    await it.submit(it.withdrawal(grant, "al.nrm"))

    assert (await al.get(f"/attachments/{digest_of(data)}")).status_code == 404
    assert await chunks(served) == 0


@pytest.mark.parametrize("whole", [True, False])
async def test_a_withdrawal_destroys_the_files_of_what_was_delivered_and_no_others(
    served: Served, whole: bool
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm", sections=("identity_core", "health_general"))
    gone, stays = secrets.token_bytes(1000), secrets.token_bytes(1000)
    for data, scope in zip((gone, stays), grant.scopes, strict=True):
        await upload(it, data)
        named = refs((digest_of(data), len(data), scope))
        sealed = await it.send("al.nrm", agreement=agreement, grant=grant, attachments=named)
        await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))

    await it.submit(it.withdrawal(grant, "al.nrm", () if whole else grant.scopes[:1]))

    fetched = [await al.get(f"/attachments/{digest_of(data)}") for data in (gone, stays)]
    assert [one.status_code for one in fetched] == [404, 404 if whole else 200]
    assert await chunks(served) == (0 if whole else 1)


async def test_a_file_is_not_handed_out_after_the_last_day_of_its_consent(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm", until=clock.now().date())
    data = secrets.token_bytes(1000)
    await upload(it, data)
    named = refs((digest_of(data), len(data), grant.scopes[0]))
    await it.send("al.nrm", agreement=agreement, grant=grant, attachments=named)

    today = await al.get(f"/attachments/{digest_of(data)}")
    clock.turn(timedelta(hours=25))
    tomorrow = await al.get(f"/attachments/{digest_of(data)}")

    assert (today.status_code, tomorrow.status_code) == (200, 404)


async def test_orphans_go_after_a_day_and_named_files_stay_until_they_are_due(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    orphan, named = secrets.token_bytes(1000), secrets.token_bytes(1000)
    await upload(it, orphan)
    await upload(it, named)
    attachments = refs((digest_of(named), len(named), grant.scopes[0]))
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant, attachments=attachments)
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))

    clock.turn(timedelta(hours=25))
    await retention.run_once(served.hub)
    async with served.hub.database.read() as connection:
        left = (await connection.execute(select(ATTACHMENT.c.digest))).scalars().all()
    clock.turn(timedelta(days=7))
    await served.hub.sequencer.run_once()
    await deadlines.run_once(served.hub)

    assert left == [digest_of(named)]
    assert await chunks(served) == 0
