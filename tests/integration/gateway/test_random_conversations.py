"""Random conversations through real gateways and a hub: one refers, one answers and passes on, one
serves; a case changes hands; she takes back all or a part at any moment. Deliveries come twice, out of
order, or not; the hub's answers are lost.

Whatever the order, once everything has arrived: both sides of an exchange say the same, a case has one
owner, nothing lies anywhere without a consent that covers it, and nobody contradicts the evidence.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from broker.gateway import threads
from broker.gateway.receive.receiver import Incoming
from broker.gateway.store.grants import load_grants
from broker.gateway.store.tables import alarm, inbox, inbox_section, outbox
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import HubUnreachable, Refused
from schemas.states import MACHINES
from tests.support.gateways import CASE, Side, World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("it.nrm", "al.nrm", "al.shelter")
TODAY = datetime.now(UTC).date().isoformat()
MET = {"met_person": True, "met_on": TODAY, "worker_role": "case worker"}
TWO = {**CASE, "demographics_language": {"interpreter_needed": True}}
_CASES = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    path = tmp_path_factory.mktemp("random") / "network"
    async with world(path, *NAMES) as made:
        yield made


@dataclass
class Story:
    """One person's case, and what has been said of it so far."""

    made: World
    dice: random.Random
    case: str = field(default_factory=lambda: f"CASE-{next(_CASES)}")
    grants: dict[str, UUID] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)
    signed: str | None = None

    def side(self, name: str) -> Side:
        return self.made[name]

    # --- what workers do; what is not possible now is refused and changes nothing ---------------

    async def begin(self) -> None:
        italy = self.side("it.nrm")
        self.grants["refer"] = await italy.consent("al.nrm", self.case, tuple(TWO))
        self.grants["transfer"] = await italy.consent(
            "al.nrm", self.case, tuple(CASE), Purpose.CASE_TRANSFER
        )
        await self.refer()

    async def refer(self) -> None:
        sent = await self.side("it.nrm").refer(
            "al.nrm", self.grants["refer"], case_ref=self.case, sections=TWO
        )
        self.opened["refer"] = sent

    async def answer(self) -> None:
        words: list[tuple[str, dict[str, Any]]] = [
            ("referral.accept", {"worker_role": "case worker"}),
            ("referral.decline", {"reason": "no_capacity"}),
            ("referral.clarify.request", {"question": "Invented?"}),
            ("referral.interim", {"progress": "ongoing"}),
            ("referral.outcome", {"result": "service_given"}),
        ]
        name, body = self.dice.choice(words)
        await self.say("al.nrm", "it.nrm", name, body, "refer")

    async def cancel(self) -> None:
        body = {"reason": "no_longer_needed"}
        await self.say("it.nrm", "al.nrm", "referral.cancel.request", body, "refer")

    async def pass_on(self) -> None:
        albania = self.side("al.nrm")
        grant = await albania.consent(
            "al.shelter", self.case, tuple(CASE), derived_from=self.grants["refer"]
        )
        sent = await albania.refer(
            "al.shelter", grant, case_ref=self.case, derived_from=self.opened["refer"].business_id
        )
        self.opened["onward"] = sent

    async def hand_over(self) -> None:
        """The next step of a transfer, by whoever has it."""
        italy, albania = ("it.nrm", "al.nrm"), ("al.nrm", "it.nrm")
        consented = {"grant": self.grants["transfer"], "purpose": Purpose.CASE_TRANSFER}
        if "transfer" not in self.opened:
            self.opened["transfer"] = await self.side("it.nrm").send(
                type="transfer.offer",
                to="al.nrm",
                case_ref=self.case,
                sections=CASE,
                body={"effective_date": TODAY, "new_worker_known": True, "risk_valid_until": TODAY},
                **consented,
            )
            return
        manifest = [{"kind": "section", "name": "case_admin"}]
        steps: list[tuple[tuple[str, str], str, dict[str, Any], dict[str, Any]]] = [
            (albania, "transfer.accept", {"worker_role": "case worker"}, {}),
            (italy, "transfer.casefile", {"manifest": manifest}, {**consented, "sections": CASE}),
            (albania, "transfer.casefile.ack", {"outcome": "complete"}, {}),
            (italy, "transfer.complete", MET, {}),
            (albania, "transfer.complete", {**MET, "countersigns": self.signed}, {}),
        ]
        for (by, to), name, body, more in steps:
            with contextlib.suppress(Refused):
                sent = await self.say(by, to, name, body, "transfer", **more)
                if by == "it.nrm" and name == "transfer.complete":
                    self.signed = str(sent.business_id)

    async def say(
        self, by: str, to: str, name: str, body: dict[str, Any], about: str, **more: Any
    ) -> Any:
        opened = self.opened[about]
        return await self.side(by).send(
            type=name, to=to, case_ref=self.case, thread=opened.thread, body=body, **more
        )

    async def narrow(self) -> None:
        gone = ScopeGrant(purpose=Purpose.PROTECTION, section="demographics_language")
        await self.side("it.nrm").parts.withdrawals.order(self.grants["refer"], (gone,))

    async def withdraw(self) -> None:
        by = self.dice.choice(["it.nrm", "al.nrm"])
        grant = self.dice.choice(sorted(self.grants))
        await self.side(by).parts.withdrawals.order(self.grants[grant])

    # --- what the network does ------------------------------------------------------------------

    async def push(self) -> None:
        await self.side(self.dice.choice(NAMES)).push()

    async def pull(self) -> None:
        await self.side(self.dice.choice(NAMES)).pull()

    async def arrive(self) -> None:
        await self.made.settle(1)

    async def lose_answers(self) -> None:
        side = self.side(self.dice.choice(NAMES))
        side.line.lose_answers = True
        try:
            await side.parts.outbox.run_once()
        finally:
            side.line.lose_answers = False

    async def again(self) -> None:
        """A copy of something comes, before or after what was said before it, or once more."""
        by = self.side(self.dice.choice(NAMES))
        sent = await rows(by, outbox, outbox.c.case_ref == self.case)
        taken = [row for row in sent if row.state not in ("queued", "sending", "stopped")]
        if taken:
            row = self.dice.choice(taken)
            receiver = self.side(row.recipient).parts.receiver
            if row.envelope is not None and row.recipient in self.made.sides:
                await receiver.receive([Incoming("envelope", bytes(row.envelope))], "mailbox")

    async def act(self, name: str) -> None:
        with contextlib.suppress(Refused, HubUnreachable, KeyError):
            await getattr(self, name)()

    # --- what must hold -------------------------------------------------------------------------

    async def check(self) -> None:
        for about, opened in self.opened.items():
            ends = ("al.nrm", "al.shelter") if about == "onward" else ("it.nrm", "al.nrm")
            views = [await exchange(self.side(name), opened.thread) for name in ends]
            for view in views:
                assert view is None or view.state in MACHINES[view.machine].states
            if about == "transfer":
                claimed = {
                    name
                    for name, view in zip(ends, views, strict=True)
                    if view is not None and view.owner(name) == name
                }
                assert len(claimed) == 1, "one owner"
            there = [view for view in views if view is not None]
            if any(view.state == "withdrawn" for view in there):
                # What crossed her word has ended it on one side; nothing goes on anywhere.
                assert all(view.state in MACHINES[view.machine].terminal for view in there)
            else:
                assert len({(view.state, view.signed) for view in there}) == 1, (about, there)
        for name in NAMES:
            await self.covered(self.side(name))
            await self.witnessed(self.side(name))

    async def covered(self, side: Side) -> None:
        """Every section that lies here stands under a consent that covers it."""
        async with side.gateway.core.database.read() as connection:
            held = (
                await connection.execute(
                    select(inbox.c.grant, inbox_section.c.scope, inbox_section.c.section)
                    .join(inbox_section, inbox_section.c.message == inbox.c.id)
                    .where(inbox.c.case_ref == self.case, inbox_section.c.content.is_not(None))
                )
            ).all()
            known = await load_grants(connection, {row.grant for row in held})
        for row in held:
            assert row.scope in known[row.grant].live(), row.section

    async def witnessed(self, side: Side) -> None:
        """What the sender believes of a message is what its recipient has."""
        for row in await rows(side, outbox, outbox.c.case_ref == self.case):
            assert row.state not in ("queued", "sending", "failed"), row.type
            # What the gateways say of a consent is obeyed, and need not lie in an inbox.
            if not row.type.startswith("consent.") and row.recipient in self.made.sides:
                came = await rows(self.side(row.recipient), inbox, inbox.c.id == row.id)
                assert bool(came) == (row.state in ("delivered", "filed", "read")), row.type
        contradicted = [row.code for row in await rows(side, alarm, alarm.c.cleared_at.is_(None))]
        assert not {"evidence-contradicts", "evidence-unknown", "id-conflict"} & set(contradicted)


async def rows(side: Side, table: Any, *where: Any) -> list[Any]:
    async with side.gateway.core.database.read() as connection:
        return list((await connection.execute(select(table).where(*where))).all())


async def exchange(side: Side, id: UUID) -> threads.ThreadState | None:
    async with side.gateway.core.database.read() as connection:
        return await threads.load(connection, id)


WORKERS = ("refer", "answer", "answer", "answer", "cancel", "pass_on", "hand_over", "hand_over")
NETWORK = ("push", "pull", "arrive", "arrive", "arrive", "lose_answers", "again", "again")
TAKING_BACK = ("narrow", "withdraw")


@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # each example takes seconds: none is made smaller
    suppress_health_check=list(HealthCheck),
)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from((*WORKERS, *NETWORK, *TAKING_BACK)), min_size=8, max_size=24),
)
async def test_whatever_happens_to_a_case_everybody_ends_up_with_the_same_truth(
    three: World, seed: int, acts: list[str]
) -> None:
    story = Story(three, random.Random(seed))
    await story.begin()
    for act in acts:
        await story.act(act)
    await three.settle(4)
    await story.check()
