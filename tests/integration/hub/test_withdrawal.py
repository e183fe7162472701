"""Withdrawal wins (I-3): what waits is stopped, in the transaction that accepts the withdrawal."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from broker.clock import TurnedClock
from broker.hub.store import grants
from broker.hub.store.tables import OBLIGATION, PAYLOAD
from schemas.base import b64u
from schemas.envelope import Lane
from schemas.errors import LogUnavailable
from schemas.evidence import Fact
from tests.support.hub import Client, Served, World, refs
from tests.support.waiting import until


def evidence_in(client: Client, items: list[dict[str, Any]]) -> list[tuple[Fact, str | None]]:
    """Fact and code of each verified evidence among mailbox items."""
    return [
        (fact.fact, fact.code)
        for item in items
        if item["kind"] == "evidence"
        for fact in client.facts(item["jws"])
    ]


async def test_a_withdrawal_stops_what_waits_and_both_sides_are_told(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    assert (await it.submit(it.withdrawal(grant, "al.nrm"))).status_code == 201

    to_recipient = await al.mailbox()
    assert sealed.raw.decode() not in [item["jws"] for item in to_recipient]
    [tombstone] = [f for item in to_recipient for f in al.facts(item["jws"])]
    assert (tombstone.fact, tombstone.code) == (Fact.TOMBSTONE, None)
    assert tombstone.stream_number == sealed.content.stream.number
    assert evidence_in(it, await it.mailbox()) == [(Fact.STOPPED, "consent-withdrawn")]
    assert [item["kind"] for item in await al.mailbox(Lane.URGENT)] == ["envelope"]


async def test_the_recipient_of_what_was_stopped_cannot_ask_why(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    await it.submit(it.withdrawal(grant, "al.nrm"))

    mine = (await it.get(f"/envelopes/{sealed.content.id}")).json()
    theirs = (await al.get(f"/envelopes/{sealed.content.id}")).json()
    assert ("stopped", "consent-withdrawn") in [(one["fact"], one["code"]) for one in mine["facts"]]
    assert theirs["state"] == "tombstone"
    assert {one["fact"]: one["code"] for one in theirs["facts"]} == {
        "submitted": None,
        "tombstone": None,
    }


async def test_the_sealed_bytes_of_a_stopped_envelope_are_destroyed(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    await it.submit(it.withdrawal(grant, "al.nrm"))

    async with served.hub.database.read() as connection:
        raw = await connection.scalar(
            select(PAYLOAD.c.raw).where(PAYLOAD.c.envelope_id == sealed.content.id)
        )
    assert raw is None
    answer = await it.get(f"/envelopes/{sealed.content.id}")
    assert answer.json()["state"] == "stopped"


async def test_nothing_more_is_accepted_under_a_withdrawn_grant(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.submit(it.withdrawal(grant, "al.nrm"))

    answer = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))

    assert answer.json()["code"] == "consent-withdrawn"
    state = (await al.get(f"/grants/{grant.id}")).json()
    assert state["status"] == "withdrawn"


async def test_the_recipient_may_withdraw_too(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)

    assert (await al.submit(al.withdrawal(grant, "it.nrm"))).status_code == 201

    assert [item["kind"] for item in await al.mailbox()] == ["evidence"]


async def test_the_countrys_authority_may_withdraw_for_the_person(served: Served) -> None:
    it, al, _ = await served.pair()
    authority = served.client("al.coordinator")
    grant = await it.grant("al.nrm")

    assert (await authority.submit(authority.withdrawal(grant, "al.nrm"))).status_code == 201

    changes = (await it.get("/grants/changes")).json()["changes"]
    assert [change["grant"] for change in changes] == [str(grant.id)]
    assert (await al.get(f"/grants/{grant.id}")).json()["status"] == "withdrawn"


async def test_nobody_else_may_withdraw(served: Served) -> None:
    it, _, _ = await served.pair()
    shelter = served.client("al.shelter")
    grant = await it.grant("al.nrm")

    answer = await shelter.submit(shelter.withdrawal(grant, "al.nrm"))

    assert answer.json()["code"] == "forbidden"
    assert (await it.get(f"/grants/{grant.id}")).json()["status"] == "live"


async def test_a_withdrawal_is_refused_unless_it_goes_to_a_party_of_the_grant(
    served: Served,
) -> None:
    it, al, _ = await served.pair()
    authority = served.client("al.coordinator")
    grant = await it.grant("al.nrm")

    astray = [
        await it.submit(it.withdrawal(grant, "al.shelter")),
        await authority.submit(authority.withdrawal(grant, "it.rapporteur")),
    ]

    assert [answer.json()["code"] for answer in astray] == ["consent-recipient"] * 2
    assert (await al.get(f"/grants/{grant.id}")).json()["status"] == "live"


async def test_narrowing_stops_only_what_needs_the_scope_that_was_taken_back(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm", sections=("identity_core", "health_general"))
    first, second = grant.scopes
    one = it.draft("al.nrm", agreement=agreement, grant=grant)
    assert one.consent is not None
    keeps = it.seal(
        it.draft(
            "al.nrm",
            agreement=agreement,
            grant=grant,
            consent=one.consent.model_copy(update={"scopes": (first,)}),
        )
    )
    loses = it.seal(one)
    await it.submit(keeps)
    await it.submit(loses)

    assert (await it.submit(it.withdrawal(grant, "al.nrm", (second,)))).status_code == 201

    envelopes = [item["jws"] for item in await al.mailbox() if item["kind"] == "envelope"]
    assert envelopes == [keeps.raw.decode()]
    state = (await it.get(f"/grants/{grant.id}")).json()
    assert (state["status"], state["removed"]) == ("narrowed", [second])
    later = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))
    assert later.json()["code"] == "consent-withdrawn"


async def test_a_withdrawal_cannot_widen(served: Served) -> None:
    it, _, _ = await served.pair()
    grant = await it.grant("al.nrm")
    foreign = (await it.grant("al.nrm")).scopes

    answer = await it.submit(it.withdrawal(grant, "al.nrm", foreign))

    assert answer.json()["code"] == "grant-widened"


async def test_a_withdrawal_passes_a_suspended_agreement_and_a_full_queue(
    world: World,
) -> None:
    limits = world.settings.limits.model_copy(update={"waiting": 1, "envelopes_per_minute": 1})
    async with world.serving(limits=limits) as served:
        it, al, agreement = await served.pair()
        grant = await it.grant("al.nrm")
        await it.http.post("/suspensions", content=al.suspension(agreement))

        assert (await it.submit(it.withdrawal(grant, "al.nrm"))).status_code == 201


async def test_withdrawal_follows_the_consent_to_those_it_was_passed_on_to(
    served: Served,
) -> None:
    it, al, _ = await served.pair()
    _, shelter, onward = await served.pair("al.nrm", "al.shelter")
    grant = await it.grant("al.nrm")
    passed_on = await al.grant("al.shelter", derived_from=grant.id)
    await al.send("al.shelter", agreement=onward, grant=passed_on)

    await it.submit(it.withdrawal(grant, "al.nrm"))

    assert [item["kind"] for item in await shelter.mailbox()] == ["evidence"]
    assert (await al.get(f"/grants/{passed_on.id}")).json()["status"] == "withdrawn"


async def test_an_open_question_is_no_longer_owed_after_withdrawal(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    await it.submit(it.withdrawal(grant, "al.nrm"))

    async with served.hub.database.read() as connection:
        state = await connection.scalar(
            select(OBLIGATION.c.state).where(OBLIGATION.c.request_id == sealed.content.id)
        )
    assert state == "withdrawn"


async def test_withdrawn_while_leased_it_never_comes_again(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)
    assert len(await al.mailbox()) == 1  # leased, and the gateway died

    await it.submit(it.withdrawal(grant, "al.nrm"))
    clock.turn(timedelta(seconds=61))
    await served.hub.sequencer.run_once()

    assert evidence_in(al, await al.mailbox()) == []
    assert (Fact.TOMBSTONE, None) in evidence_in(al, await al.mailbox())


async def test_the_feed_of_changes_is_in_order_and_for_parties_only(served: Served) -> None:
    it, al, _ = await served.pair()
    shelter = served.client("al.shelter")
    given = [await it.grant("al.nrm") for _ in range(3)]
    for grant in given:
        await it.submit(it.withdrawal(grant, "al.nrm"))

    first = (await al.get("/grants/changes", after=0, limit=2)).json()
    rest = (await al.get("/grants/changes", after=first["cursor"])).json()
    foreign = (await shelter.get("/grants/changes")).json()

    seen = [change["grant"] for change in first["changes"] + rest["changes"]]
    assert seen == [str(grant.id) for grant in given]
    assert foreign["changes"] == []


async def test_a_withdrawal_that_commits_while_the_feed_is_read_is_in_the_next_page(
    served: Served, clock: TurnedClock
) -> None:
    it, _, _ = await served.pair()
    grant = await it.grant("al.nrm")
    database = served.hub.database

    class Meanwhile:
        """Each statement sees what was committed before it; one withdrawal comes after the first."""

        def __init__(self) -> None:
            self.statements = 0

        async def execute(self, statement: Any) -> list[Any]:
            async with database.read() as connection:
                rows = list(await connection.execute(statement))
            self.statements += 1
            if self.statements == 1:
                async with database.begin() as connection:
                    await grants.add_change(connection, grant.id, b"withdrawal", clock.now())
            return rows

        async def scalar(self, statement: Any) -> Any:
            [row] = await self.execute(statement)
            return row[0]

    reader: Any = Meanwhile()
    found, cursor = await grants.changes(reader, "al.nrm", after=0, limit=100)
    async with database.read() as connection:
        later, _ = await grants.changes(connection, "al.nrm", after=cursor, limit=100)

    assert len(found) + len(later) == 1


async def test_a_race_of_message_and_withdrawal_ends_with_nothing_handed_over(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    for _ in range(5):
        grant = await it.grant("al.nrm")
        message = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))
        withdrawal = it.withdrawal(grant, "al.nrm")

        accepted, withdrawn = await asyncio.gather(it.submit(message), it.submit(withdrawal))

        assert withdrawn.status_code == 201
        assert accepted.status_code in (201, 403)
    kinds = {item["kind"] for item in await al.mailbox()}
    assert "envelope" not in kinds


async def test_when_the_log_cannot_be_written_a_withdrawal_still_stops_its_grant(
    served: Served, clock: TurnedClock, world: World
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    other = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)
    await _break_the_log(served, clock)

    stopped = await it.submit(it.withdrawal(grant, "al.nrm"))
    refused = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=other)))

    assert (stopped.status_code, stopped.json()["code"]) == (503, LogUnavailable.code)
    assert refused.json()["code"] == LogUnavailable.code
    assert (await al.get(f"/grants/{grant.id}")).json()["status"] == "withdrawn"
    assert await al.mailbox() == []
    assert (world.settings.state / "stops").stat().st_size > 0


async def test_a_narrowing_that_cannot_be_recorded_leaves_the_other_sections_alone(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm", sections=("identity_core", "health_general"))
    first, second = grant.scopes
    loses = it.draft("al.nrm", agreement=agreement, grant=grant)
    assert loses.consent is not None
    tag = loses.consent.model_copy(update={"scopes": (first,)})
    keeps = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, consent=tag))
    for one in (keeps, it.seal(loses)):
        assert (await it.submit(one)).status_code == 201
    signers = served.hub.sequencer._signers
    await _break_the_log(served, clock)
    narrowing = it.withdrawal(grant, "al.nrm", (second,))
    assert (await it.submit(narrowing)).status_code == 503
    state = (await al.get(f"/grants/{grant.id}")).json()
    assert (state["status"], state["removed"]) == ("narrowed", [second])

    # The log is back, and the withdrawal not recorded yet: what is stopped is skipped, not closed.
    served.hub.sequencer._signers = signers
    await served.hub.sequencer.run_once()
    envelopes = [item["jws"] for item in await al.mailbox() if item["kind"] == "envelope"]
    assert envelopes == [keeps.raw.decode()]

    await until("the withdrawal to be recorded", lambda: not served.hub.stops)
    assert (await it.get(f"/envelopes/{keeps.content.id}")).json()["state"] == "submitted"
    assert (await it.submit(narrowing)).status_code == 200


async def test_a_file_is_not_handed_out_under_a_withdrawal_that_cannot_be_recorded(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant, other = await it.grant("al.nrm"), await it.grant("al.nrm")
    paths = []
    for of in (grant, other):
        data = str(of.id).encode()
        digest = b64u(hashlib.sha256(data).digest())
        paths.append(f"/attachments/{digest}")
        uploaded = await it.http.put(paths[-1], headers=it.signed("PUT", paths[-1]), content=data)
        assert uploaded.status_code == 201
        named = refs((digest, len(data), of.scopes[0]))
        await it.send("al.nrm", agreement=agreement, grant=of, attachments=named)
    await _break_the_log(served, clock)

    assert (await it.submit(it.withdrawal(grant, "al.nrm"))).status_code == 503

    assert [(await al.get(path)).status_code for path in paths] == [404, 200]


async def test_what_could_only_be_stopped_is_recorded_first_on_recovery_even_after_a_crash(
    world: World, clock: TurnedClock
) -> None:
    async with world.serving() as served:
        it, _, agreement = await served.pair()
        grant = await it.grant("al.nrm")
        await it.send("al.nrm", agreement=agreement, grant=grant)
        await _break_the_log(served, clock)
        withdrawal = it.withdrawal(grant, "al.nrm")
        assert (await it.submit(withdrawal)).status_code == 503

    async with world.serving() as served:
        it, al = served.client("it.nrm"), served.client("al.nrm")
        stops = world.settings.state / "stops"
        await until("the withdrawal to be recorded", lambda: not stops.exists())

        assert [item["kind"] for item in await al.mailbox()] == ["evidence"]
        assert (await it.submit(withdrawal)).status_code == 200


async def _break_the_log(served: Served, clock: TurnedClock) -> None:
    """Nobody can sign for over a minute."""
    sequencer = served.hub.sequencer
    sequencer._signers = ()
    clock.turn(timedelta(seconds=61))
    assert not sequencer.healthy(clock.now())
