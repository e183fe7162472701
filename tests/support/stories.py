"""Workers at the desks of a small mechanism, so that a story reads as it would be told.

Everything goes the way that a worker's program goes: requests to the gateways' own APIs, over real
keys, databases and a real hub. Nothing is looked up behind an API's back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.cli.homes.network import ALL_COMPARTMENTS, Member
from broker.clock import TurnedClock
from broker.gateway.api.app import create_api
from broker.gateway.home import add_worker
from schemas.directory import Compartment, EntryPoint, Function, OrganisationKind
from tests.support.examples import BODIES
from tests.support.gateways import World, register_agreement, world

_STATE, _NGO = OrganisationKind.STATE, OrganisationKind.NGO
_OPEN = (Compartment.CASEWORK, Compartment.HEALTH)
ITALY = Member("it.nrm", "National referral mechanism, Italy", _STATE, Function.NRM)
ITALIAN_SHELTER = Member("it.shelter", "A shelter in Italy", _NGO, Function.SHELTER, _OPEN)
ALBANIA = Member(
    "al.nrm",
    "National referral mechanism, Albania",
    _STATE,
    Function.NRM,
    entry_point=EntryPoint(telephone="+355400000000", hours="08:00-20:00", languages=("sqi",)),
)
MISSION = Member(
    "xk.mission",
    "A mission that stands in where there is no focal point",
    OrganisationKind.INTERNATIONAL,
    Function.COORDINATOR,
    hosted_by="al.nrm",
)
ALBANIAN_SHELTER = Member("al.shelter", "A shelter in Albania", _NGO, Function.SHELTER, _OPEN)
ALBANIAN_POLICE = Member(
    "al.police", "State police, Albania", _STATE, Function.POLICE, ALL_COMPARTMENTS
)
GREECE = Member("gr.nrm", "National referral mechanism, Greece", _STATE, Function.NRM)
TODAY = datetime.now(UTC).date()


def day(days: int = 0) -> str:
    """A day from today on, as it is written."""
    return (TODAY + timedelta(days=days)).isoformat()


class Declined(Exception):
    """What the gateway answers to a request that it does not carry out."""

    def __init__(self, answer: httpx2.Response) -> None:
        problem = answer.json()
        self.status = answer.status_code
        self.code: str = problem["code"]
        self.where = tuple(problem.get("where", ()))
        super().__init__(self.code, self.where)


@dataclass(frozen=True, slots=True)
class Said:
    """A message that is on its way."""

    id: str
    thread: str
    business_id: str


@dataclass
class Office:
    """The workers of one participant. `case` is the number under which they have the person."""

    made: World
    id: str
    case: str
    desks: dict[str, httpx2.AsyncClient] = field(default_factory=dict, repr=False)

    def _desk(self, worker: str) -> httpx2.AsyncClient:
        if worker not in self.desks:
            side = self.made[self.id]
            home = self.made.network.participants[self.id].home
            token = (home / "workers" / f"{worker}.token").read_text().strip()
            app = create_api(side.parts, not_ready=side.gateway.not_ready)
            self.desks[worker] = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app),
                base_url="http://127.0.0.1:8420",
                headers={"authorization": f"Bearer {token}"},
            )
        return self.desks[worker]

    async def post(self, path: str, body: object = None, *, worker: str = "first") -> Any:
        """What the API answers; `Declined` if it is no yes."""
        return _answer(await self._desk(worker).post(path, json=body or {}))

    async def get(self, path: str) -> Any:
        return _answer(await self._desk("first").get(path))

    async def consent(self, to: str, sections: Sequence[str], purpose: str, **more: Any) -> str:
        """She says yes to these sections, for this purpose, to this recipient."""
        draft = {
            "to": to,
            "case_ref": self.case,
            "scopes": [{"purpose": purpose, "section": name} for name in sections],
            "principal": "pseudonym-1",
            "valid_until": day(90),
            "language": "ara",
            "notice": "invented-1",
            "how": "read-out",
            **more,
        }
        grant: str = (await self.post("/v1/consents", draft))["grant"]
        return grant

    async def say(
        self,
        word: str,
        to: str,
        body: Mapping[str, Any] | None = None,
        *,
        under: str | None = None,
        purpose: str | None = None,
        sections: Mapping[str, Any] | None = None,
        thread: str | None = None,
        **more: Any,
    ) -> Said:
        """Send a message of the catalogue; what its body needs besides is taken from the examples."""
        draft = self.draft(
            word,
            to,
            body,
            under=under,
            purpose=purpose,
            sections=sections,
            thread=thread,
            **more,
        )
        answer = await self.post("/v1/messages", draft)
        await self.made.settle(2)
        return Said(answer["id"], answer["thread"], answer["business_id"])

    def draft(
        self, word: str, to: str, body: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """A message as a worker's program hands it in."""
        more["grant"] = more.pop("under", None)
        whole = {
            "type": word,
            "to": to,
            "case_ref": self.case,
            "body": {**BODIES[word], **(body or {})},
            **more,
        }
        return {name: value for name, value in whole.items() if value is not None}

    async def alert(self, word: str, to: str, code: str, **more: Any) -> Said:
        """One worker proposes, another approves, and it leaves without consent."""
        proposal = {
            "message": self.draft(word, to, **more),
            "code": code,
            "reason": "Invented reason.",
            "review_by": f"{day(2)}T12:00:00Z",
        }
        asked = (await self.post("/v1/exceptions", proposal))["id"]
        answer = await self.post(f"/v1/exceptions/{asked}/approve", worker="second")
        await self.made.settle(2)
        return Said(answer["id"], answer["thread"], answer["business_id"])

    async def hears(self, word: str) -> dict[str, Any]:
        """Opens the newest message of this type."""
        rows = (await self.get("/v1/messages?box=inbox&limit=1000"))["messages"]
        newest = [row for row in rows if row["type"] == word][-1]
        opened: dict[str, Any] = await self.post(f"/v1/messages/{newest['id']}/open")
        return opened

    async def heard(self) -> list[str]:
        """Types of all that came and is still here, besides the consents themselves."""
        rows = (await self.get("/v1/messages?box=inbox&limit=1000"))["messages"]
        here = [row["type"] for row in rows if row["state"] not in ("stopped", "erased")]
        return [word for word in here if not word.startswith("consent.")]

    async def exchange(self, thread: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/v1/threads/{thread}")
        return found

    async def protect(self, **safeguards: Any) -> None:
        """What protects her is written down by a worker who may know."""
        body = {"about": self.case, "safeguards": safeguards}
        await self.post("/v1/safeguards", body, worker="knowing")

    async def exclude(self, whom: str) -> None:
        await self.post("/v1/exclusions", {"about": self.case, "participant": whom})

    async def alarms(self, *about: Said) -> list[str]:
        """What a person must look at of these messages, after the gateway's clock was asked."""
        await self.made[self.id].parts.deadlines.run_once()
        ids = {said.id for said in about}
        found = (await self.get("/v1/alarms"))["alarms"]
        return sorted({one["kind"] for one in found if one["id"] in ids})


@dataclass(frozen=True, slots=True)
class Told:
    """The offices, each with its own number for the person that this story is about."""

    italy: Office
    italian_shelter: Office
    albania: Office
    albanian_shelter: Office
    albanian_police: Office
    greece: Office
    mission: Office


def _answer(answer: httpx2.Response) -> Any:
    if answer.status_code >= 400:
        raise Declined(answer)
    return answer.json()


@contextlib.asynccontextmanager
async def mechanism(
    path: Path,
    *members: Member,
    agreements: Mapping[tuple[str, str], Mapping[str, Any]],
) -> AsyncIterator[dict[str, Office]]:
    """The offices of a mechanism, by id; each has a worker who may know what protects people.

    Args:
        agreements: Who has one with whom, and terms of it that are not the usual ones.
    """
    ids = [member.id for member in members]
    async with world(path / "network", *ids, enrolled=members, paired=()) as made:
        for (one, other), terms in agreements.items():
            await register_agreement(made, one, other, **terms)
        for name in ids:
            await made[name].parts.agreements.refresh()
            home = made.network.participants[name].home
            await asyncio.to_thread(add_worker, home, "knowing", may_know=True)
        yield {name: Office(made, name, "") for name in ids}


@contextlib.contextmanager
def declined(code: str, *where: str) -> Iterator[None]:
    """The gateway says no with this code, and names these places."""
    with pytest.raises(Declined) as no:
        yield
    assert (no.value.code, *no.value.where) == (code, *where)


@contextlib.contextmanager
def after(office: Office, span: timedelta) -> Iterator[None]:
    """So much later, by the office's own clock."""
    core = office.made[office.id].gateway.core
    clock, core.clock = core.clock, TurnedClock(offset=span)
    try:
        yield
    finally:
        core.clock = clock


def years_ago(years: int, *, days: int = 0) -> str:
    """A birth date so many years before today, and some days."""
    that_day = date(TODAY.year - years, TODAY.month, min(TODAY.day, 28))
    return (that_day + timedelta(days=days)).isoformat()
