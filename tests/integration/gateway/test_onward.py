"""From hand to hand: what the person says reaches everyone who has her data, three hands away too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from broker.cli.homes.network import MEMBERS, Member
from broker.gateway.deadlines.answers import OVERDUE
from broker.gateway.safeguards import keeping
from broker.gateway.send.sender import Stored
from broker.gateway.store.tables import alarm, erasure, inbox, outbox, told_exclusion
from broker.gateway.store.tables import vault as vault_tables
from schemas.directory import Compartment, Function, OrganisationKind
from schemas.errors import PolicyRefused, Refused
from tests.support.gateways import Side, World, column, files, world

CLINIC = Member(
    "al.clinic",
    "A clinic in Albania",
    OrganisationKind.NGO,
    Function.SERVICE,
    compartments=(Compartment.CASEWORK, Compartment.HEALTH),
)
POLICE = Member(
    "al.police",
    "A police station in Albania",
    OrganisationKind.STATE,
    Function.POLICE,
    runs_gateway=False,
)
CHAIN = ("it.nrm", "al.nrm", "al.shelter", "al.clinic")
ACCUSED = "al.police"
RELATIVE = "relative:step_parent"


@pytest.fixture
async def four(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    paired = (*pairwise(CHAIN), *((name, ACCUSED) for name in CHAIN[:3]))
    members = (*MEMBERS, CLINIC, POLICE)
    databases = {"al.nrm": postgres_url}  # the others' are files
    async with world(
        tmp_path / "network", *CHAIN, databases=databases, enrolled=members, paired=paired
    ) as made:
        yield made


async def handed_on(made: World, names: tuple[str, ...] = CHAIN) -> tuple[UUID, list[Stored]]:
    """Each refers her to the next, under a case number of its own; the first consent, and what
    each sent."""
    grant: UUID | None = None
    first: UUID | None = None
    sent: list[Stored] = []
    for level, (name, following) in enumerate(pairwise(names), start=1):
        side = made[name]
        more: dict[str, Any] = {} if grant is None else {"derived_from": grant}
        grant = await side.consent(following, f"CASE-{level}", **more)
        first = first or grant
        derived = {"derived_from": sent[-1].business_id} if sent else {}
        sent.append(await side.refer(following, grant, case_ref=f"CASE-{level}", **derived))
        await made.settle(2)
    assert first is not None
    return first, sent


async def said_of(side: Side, about: UUID) -> dict[str, dict[str, str]]:
    async with side.gateway.core.database.read() as connection:
        rows = await connection.execute(select(erasure).where(erasure.c.about == about))
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            found.setdefault(row.by, {})[row.store] = row.outcome
        return found


async def kept_of_her(side: Side) -> int:
    item = vault_tables.item
    return len(await column(side, item.c.ref, item.c.section == "case_admin"))


# --- taking back -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["withdrawal", "erasure"])
async def test_it_reaches_the_fourth_hand_and_every_word_of_it_comes_back_to_the_first(
    four: World, how: str
) -> None:
    italy = four["it.nrm"]
    given, _ = await handed_on(four)
    assert [len(files(four, name)) for name in CHAIN[1:]] == [1, 1, 1]
    await asyncio.sleep(0.002)

    if how == "withdrawal":
        await italy.parts.withdrawals.order(given)
        about = given
    else:
        notice = await italy.send(
            type="erase.notice", to="al.nrm", case_ref="CASE-1", body={"ground": "unlawful"}
        )
        about = notice.id
    await four.settle(8)

    for name in CHAIN[1:]:
        assert files(four, name) == []
        assert await kept_of_her(four[name]) == 0
    said = await said_of(italy, about)
    for name in CHAIN[1:]:
        assert (said[name]["vault"], said[name]["case-system"]) == ("erased", "erased"), name
    assert said["al.nrm"]["onward"] == "erased"


async def test_while_one_is_away_nobody_says_that_all_is_erased_and_it_is_an_alarm_at_each(
    four: World,
) -> None:
    italy = four["it.nrm"]
    given, _ = await handed_on(four)
    away = four.sides.pop("al.clinic")
    try:
        await italy.parts.withdrawals.order(given)
        await four.settle(6)
    finally:
        four.sides["al.clinic"] = away

    said = await said_of(italy, given)
    assert said["al.shelter"]["vault"] == "erased"
    assert said["al.nrm"]["onward"] == "unknown"
    assert "al.clinic" not in said
    assert await kept_of_her(away) == 1
    shelter = four["al.shelter"]
    for name in ("it.nrm", "al.nrm"):
        core = four[name].gateway.core
        async with core.database.begin() as connection:
            await connection.execute(
                update(erasure).values(at=core.now() - core.settings.deadlines.attestation * 2)
            )
        await four[name].parts.deadlines.run_once()
        open_ones = await column(
            four[name],
            alarm.c.code,
            alarm.c.code == "erasure-unattested",
            alarm.c.cleared_at.is_(None),
        )
        assert open_ones == ["erasure-unattested"], name
    core = shelter.gateway.core
    async with core.database.begin() as connection:
        of_withdrawal = outbox.c.kind == "withdrawal"
        past = {"answer_by": core.now(), "look_at": core.now(), "receipt_by": core.now()}
        await connection.execute(update(outbox).where(of_withdrawal).values(**past))
    await shelter.parts.deadlines.run_once()
    codes = set(await column(shelter, alarm.c.code, alarm.c.cleared_at.is_(None)))
    assert codes & {"receipt-missing", OVERDUE}

    await four.settle(8)

    assert await kept_of_her(away) == 0
    said = await said_of(italy, given)
    assert (said["al.clinic"]["vault"], said["al.nrm"]["onward"]) == ("erased", "erased")
    for name in ("it.nrm", "al.nrm"):
        await four[name].parts.deadlines.run_once()
        left = await column(
            four[name],
            alarm.c.code,
            alarm.c.code == "erasure-unattested",
            alarm.c.cleared_at.is_(None),
        )
        assert left == [], name


# --- whom she keeps away -------------------------------------------------------------------------


async def refusal_of(side: Side, to: str, case_ref: str, **more: Any) -> Refused:
    grant = await side.consent(to, case_ref, **more)
    with pytest.raises(Refused) as refused:
        await side.refer(to, grant, case_ref=case_ref)
    return refused.value


def traces(made: World, word: str) -> set[str]:
    """Database files in which a word stands in the clear, each with how often."""
    folders = {"hub": made.network.hub.folder}
    folders |= {name: made.network.participants[name].home for name in made.sides}
    return {
        f"{name}: {path.name}"
        for name, folder in folders.items()
        for path in folder.glob("*.sqlite3*")
        if word.encode() in path.read_bytes()
    }


async def test_whom_she_excludes_gets_nothing_from_the_second_hand_or_the_third(
    four: World, capsys: pytest.CaptureFixture[str]
) -> None:
    italy = four["it.nrm"]
    await italy.parts.excluding.exclude("CASE-1", RELATIVE, worker="anna")
    await italy.parts.excluding.exclude("CASE-1", "police:AL", worker="anna")
    capsys.readouterr()
    given, sent = await handed_on(four, CHAIN[:3])
    again = await column(four["al.shelter"], inbox.c.grant, inbox.c.grant.is_not(None))
    errors = [
        await refusal_of(four["al.nrm"], ACCUSED, "CASE-2", derived_from=given),
        await refusal_of(four["al.shelter"], ACCUSED, "CASE-3", derived_from=again[0]),
    ]
    # Whom an open claim keeps away is refused with the very same words.
    await keeping.change(
        italy.gateway.core, "CASE-9", {"origin": "AL", "protection_claim": True}, worker="anna"
    )
    errors.append(await refusal_of(italy, ACCUSED, "CASE-9"))

    assert all(isinstance(error, PolicyRefused) for error in errors)
    assert {(str(error), error.code, error.where) for error in errors} == {
        (str(errors[0]), "policy", ())
    }
    # The clinic is on no list.
    onward = await four["al.shelter"].consent("al.clinic", "CASE-3", derived_from=again[0])
    await four["al.shelter"].refer(
        "al.clinic", onward, case_ref="CASE-3", derived_from=sent[-1].business_id
    )
    await four.settle(2)
    assert len(files(four, "al.clinic")) == 1
    # In the clear it stands nowhere but where it was said.
    assert {where.partition(":")[0] for where in traces(four, RELATIVE)} == {"it.nrm"}
    logged = capsys.readouterr()
    assert RELATIVE not in logged.out + logged.err
    assert "police:" not in logged.out + logged.err


async def test_whom_she_excludes_later_is_kept_away_by_everyone_who_has_her_data(
    four: World,
) -> None:
    italy, shelter = four["it.nrm"], four["al.shelter"]
    given, _ = await handed_on(four, CHAIN[:3])
    again = await column(shelter, inbox.c.grant, inbox.c.grant.is_not(None))
    await four["al.nrm"].refer(
        ACCUSED,
        await four["al.nrm"].consent(ACCUSED, "CASE-2", derived_from=given),
        case_ref="CASE-2",
    )
    await italy.parts.excluding.exclude("CASE-1", "police:AL", worker="anna")
    await four.settle(3)

    for side, case, source in (
        (four["al.nrm"], "CASE-2", given),
        (shelter, "CASE-3", again[0]),
    ):
        assert (await refusal_of(side, ACCUSED, case, derived_from=source)).code == "policy"
    # Nobody told the police that they are kept away.
    told = await column(four["al.nrm"], outbox.c.recipient, outbox.c.type == "exclude.notice")
    assert told == ["al.shelter"]

    assert await italy.parts.excluding.lift("CASE-1", "police:AL", worker="anna")
    await four.settle(3)
    grant = await shelter.consent(ACCUSED, "CASE-3", derived_from=again[0])
    await shelter.refer(ACCUSED, grant, case_ref="CASE-3")


async def test_an_older_list_never_replaces_a_newer_one_and_the_list_goes_with_her_data(
    four: World,
) -> None:
    italy, albania = four["it.nrm"], four["al.nrm"]
    given, _ = await handed_on(four, CHAIN[:2])
    [early] = await column(italy, outbox.c.envelope, outbox.c.type == "referral.request")
    await asyncio.sleep(0.002)
    slow = await italy.refer("al.nrm", given)
    [late] = await column(italy, outbox.c.envelope, outbox.c.id == slow.id)
    await asyncio.sleep(0.002)
    await italy.parts.excluding.exclude("CASE-1", ACCUSED, worker="anna")
    await italy.push()
    notice = await column(italy, outbox.c.envelope, outbox.c.type == "exclude.notice")
    for raw in (notice[0], late, early):
        await albania.parts.receiver.envelopes([bytes(raw)], "test")
    assert (await refusal_of(albania, ACCUSED, "CASE-2", derived_from=given)).code == "policy"

    await italy.parts.withdrawals.order(given)
    await four.settle(3)
    assert await column(albania, told_exclusion.c.message) == []
    assert (
        await column(albania, vault_tables.item.c.ref, vault_tables.item.c.section == "not-to")
        == []
    )
