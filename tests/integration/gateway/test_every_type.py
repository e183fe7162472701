"""Every type of the catalogue is said by one real gateway to another, over a real hub.

Each is brought to a place where it may be said by the shortest way (`tests.support.exchanges`),
with the sections, the consent and the kind of sender that its row asks for, about a person of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
import pytest_asyncio

from broker.cli.homes.network import Member
from broker.gateway.home import add_worker
from schemas.agreement import TransferBasis
from schemas.catalogue import catalogue
from schemas.consent import Purpose
from schemas.directory import Function, OrganisationKind
from schemas.families.base import PARTICIPANTS, Direction, MessageType, Precondition
from schemas.families.expected import expected_sections
from schemas.machine import By
from schemas.sections import validate_section
from schemas.states import THREADED
from tests.support.examples import BODIES, OTHER
from tests.support.exchanges import AT_ONCE, BY_GATEWAY, Place, Way, Word, bodies, next_words, ways
from tests.support.gateways import register_agreement, world
from tests.support.published import SECTION_EXAMPLES
from tests.support.stories import Office, Said, day, declined, years_ago

pytestmark = pytest.mark.asyncio(loop_scope="module")

_KINDS = {
    OrganisationKind.STATE: ("nrm", Function.NRM),
    OrganisationKind.INTERNATIONAL: ("mission", Function.COORDINATOR),
    OrganisationKind.NGO: ("ngo", Function.SHELTER),
}
_COUNTRY = {Place.DESTINATION: "it", Place.ORIGIN: "al"}
_CHILD = {"first_name": "Invented", "birthdate": years_ago(9)[:4] + "-XX"}
SECTIONS: Mapping[str, dict[str, Any]] = {
    **SECTION_EXAMPLES,
    "attachments_biometrics": {"biometrics_purpose": "a travel document"},
    "contact_location": {"mailing_city": "Invented town"},
    "criminal_justice": {"legal_representative": "Invented lawyer"},
    "family_dependants": {
        "number_of_children": 0,
        "relatives": [{"relation": "mother", "name": "Invented", "age": 50, "consent": "given"}],
    },
    "guardian_child": {"presumed_child": True, "guardian_name": "Invented guardian"},
    "health_general": {"fit_to_travel": "fit"},
    "identification_status": {"trafficking_status": "ActualVictimOfTrafficking"},
    "migration_status": {"country": "IT", "origin_may_know": True},
    "monitoring_followup": {"contact_lost": False},
    "perpetrator": {},
    "reintegration_plan": {"housing": "Invented flat"},
    "return_travel": {"decision": "return"},
    "services_support": {"details": "Invented service"},
    "trafficking_route": {"transit_countries": ["XK"]},
    "vulnerability_needs": {"homeless": False},
}


def member(place: Place, kind: OrganisationKind) -> Member:
    short, function = _KINDS[kind]
    name = f"{_COUNTRY[place]}.{short}"
    return Member(name, f"Invented {name}", kind, function)


MEMBERS = tuple(member(place, kind) for place in Place for kind in _KINDS)
_CASES = count(1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two offices that speak of one person; each is at one end of her way."""

    at: Mapping[Place, Office]
    grants: dict[tuple[Place, str], str] = field(default_factory=dict)

    async def settle(self, speaker: Office, hearer: Office) -> None:
        """What was said has arrived, and what the other gateway says to it too."""
        one, other = (office.made[office.id] for office in (speaker, hearer))
        await one.push()
        await other.pull()
        await other.push()
        await one.pull()

    async def say(self, word: Word, thread: str | None, *, child: bool, more: bool) -> Said:
        """Send it from its place.

        Args:
            more: With the sections that its row expects, besides those that it requires.
        """
        draft = await self.draft(word, thread, child=child, more=more)
        speaker = self.at[word.place]
        if word.row.needs_exception:
            code = min(word.row.exceptions)
            asked = {"message": draft, "code": code, "reason": "Invented.", "review_by": _REVIEW}
            if code != "anonymous_statistics":
                asked["tell_person_by"] = _REVIEW
            proposed = (await speaker.post("/v1/exceptions", asked))["id"]
            answer = await speaker.post(f"/v1/exceptions/{proposed}/approve", worker="second")
        else:
            answer = await speaker.post("/v1/messages", draft)
        await self.settle(speaker, self.at[word.place.other])
        return Said(answer["id"], answer["thread"], answer["business_id"])

    async def draft(
        self, word: Word, thread: str | None, *, child: bool, more: bool
    ) -> dict[str, Any]:
        row, speaker, hearer = word.row, self.at[word.place], self.at[word.place.other]
        body = word.body.model_dump(mode="json", by_alias=True, exclude_unset=True)
        sections = carried(row, child=child, more=more)
        draft = {"type": row.name, "to": hearer.id, "case_ref": speaker.case, "body": body}
        if thread is not None:
            draft["thread"] = thread
        if sections:
            draft |= {"sections": sections, "purpose": purpose_of(row)}
        if not row.needs_exception and (sections or row.needs_consent):
            draft["grant"] = await self.consent(word, child=child)
        return draft

    async def consent(self, word: Word, *, child: bool) -> str:
        """She says yes, once for each purpose, to what is said from there; if a child, both voices."""
        purpose = purpose_of(word.row)
        if (word.place, purpose) not in self.grants:
            spoken = {"presumed_child": True, "guardian": _BOTH} if child else {}
            speaker, hearer = self.at[word.place], self.at[word.place.other]
            grant = await speaker.consent(hearer.id, tuple(SECTIONS), purpose, **spoken)
            self.grants[word.place, purpose] = grant
        return self.grants[word.place, purpose]


def purpose_of(row: MessageType) -> str:
    return min(row.purposes or {Purpose.PROTECTION}).value


_REVIEW = f"{day(2)}T12:00:00Z"
_BOTH = {
    "guardian_role": "guardian authority",
    "guardian_agrees": True,
    "child_view": "Invented words.",
    "child_agrees": True,
}


def carried(row: MessageType, *, child: bool, more: bool) -> dict[str, dict[str, Any]]:
    """The sections that it is sent with."""
    manifest = BODIES[row.name].get("manifest")
    wanted = row.required_sections | {item["name"] for item in manifest or ()}
    if child:
        wanted |= row.child_sections
    if more and manifest is None:
        withheld = {item["section"] for item in BODIES[row.name].get("withheld", ())}
        wanted |= expected_sections(row) - withheld
    about = {**SECTIONS, "identity_core": _CHILD} if child else SECTIONS
    return {name: about[name] for name in sorted(wanted)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def offices(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Office]]:
    """Three kinds of organisation in each of two countries; the states know everybody abroad."""
    path = tmp_path_factory.mktemp("types") / "network"
    ids = [one.id for one in MEMBERS]
    async with world(path, *ids, enrolled=MEMBERS, paired=()) as made:
        for kind in _KINDS:
            for place in Place:
                one, other = member(place, kind), member(place.other, OrganisationKind.STATE)
                if kind is OrganisationKind.STATE and place is Place.ORIGIN:
                    continue
                bases = tuple(
                    TransferBasis(sender=sender.id, basis=_basis(sender, recipient))
                    for sender, recipient in ((one, other), (other, one))
                )
                await register_agreement(made, one.id, other.id, transfer=bases)
        for name in ids:
            await made[name].parts.agreements.refresh()
            home = made.network.participants[name].home
            await asyncio.to_thread(add_worker, home, "knowing", may_know=True)
        yield {name: Office(made, name, "") for name in ids}


def _basis(sender: Member, recipient: Member) -> str:
    if sender.country != "it" or sender.kind is OrganisationKind.INTERNATIONAL:
        return "national-law"
    public = OrganisationKind.NGO not in (sender.kind, recipient.kind)
    return "eu-gdpr:A46-2-a" if public else "eu-gdpr:A46-3-a"


async def meet(offices: Mapping[str, Office], place: Place, kind: OrganisationKind) -> Pair:
    """An organisation of this kind in one country and the state's in the other, about somebody new."""
    number = next(_CASES)
    at = {}
    for where in Place:
        who = member(where, kind if where is place else OrganisationKind.STATE).id
        case = f"{who[:2].upper()}-{number:04}"
        at[where] = Office(offices[who].made, who, case, offices[who].desks)
        # Where she is from decides what may be said in which direction.
        await at[where].protect(origin="AL")
    return Pair(at)


def kind_of(row: MessageType) -> OrganisationKind:
    """Each kind that may say it has its turn; a state's word is heard by all three."""
    allowed = sorted(row.who_may_send)
    return allowed[list(catalogue).index(row.name) % len(allowed)]


def own(name: str) -> Way:
    """The shortest way to it in a thread of its own machine."""
    return ways()[name, catalogue[name].machine]


SAID = [name for name in catalogue if name not in BY_GATEWAY]


@pytest.mark.parametrize("name", SAID)
async def test_it_is_sent_and_arrives_as_it_was_said(offices: dict[str, Office], name: str) -> None:
    way = own(name)
    pair, said, word = await go(offices, way, kind_of(way[-1].row))
    speaker, hearer = pair.at[word.place], pair.at[word.place.other]
    sent = await speaker.get(f"/v1/messages/{said.id}")
    assert sent["state"] in ("delivered", "filed"), sent["state"]
    opened = await hearer.post(f"/v1/messages/{said.id}/open")
    assert opened["type"] == word.row.name
    assert word.row.body.model_validate_json(json.dumps(opened["body"])) == word.body
    sections = carried(word.row, child=about_child(way), more=True)
    assert opened["sections"].keys() == sections.keys()
    for name, content in opened["sections"].items():
        assert validate_section(name, content) == validate_section(name, sections[name])

    after = word.after
    if word.row.name in AT_ONCE:
        [answer] = [one for one in next_words(after) if one.row.name == AT_ONCE[word.row.name]]
        after = answer.after
    for office in (speaker, hearer):
        assert (await office.exchange(said.thread))["state"] == after.state

    # What the tables do not allow now is refused where it is written, and moves nothing.
    wrong = out_of_place(replace(word, after=after))
    with declined("not-permitted"):
        await pair.say(wrong, said.thread, child=False, more=False)
    assert (await pair.at[wrong.place].exchange(said.thread))["state"] == after.state


def about_child(way: Way) -> bool:
    """Where a row asks for a guardian's word, she is a child."""
    return any(Precondition.GUARDIAN in word.row.preconditions for word in way)


async def go(
    offices: Mapping[str, Office], way: Way, kind: OrganisationKind
) -> tuple[Pair, Said, Word]:
    """Everything on the way is said, the last word by an organisation of this kind."""
    word = way[-1]
    pair, child = await meet(offices, word.place, kind), about_child(way)
    before: list[Said] = []
    for earlier in way[:-1]:
        thread = before[-1].thread if before else None
        before.append(await pair.say(earlier, thread, child=child, more=False))
    thread = before[-1].thread if before else None
    if OTHER in json.dumps(BODIES[word.row.name]):
        # It speaks of a referral: of the one that opened the thread, or of one that is made here.
        if not before:
            [referral] = ways()["referral.request", "referral"]
            before.append(await pair.say(referral, None, child=child, more=False))
        told = word.body.model_dump_json(by_alias=True, exclude_unset=True)
        body = word.row.body.model_validate_json(told.replace(OTHER, before[0].business_id))
        word = replace(word, body=body)
    return pair, await pair.say(word, thread, child=child, more=True), word


def out_of_place(word: Word) -> Word:
    """Something that the row does not name as a reply and the exchange does not allow now."""
    now = {one.row.name for one in next_words(word.after)}
    wrong = [
        row
        for row in catalogue.values()
        if row.name not in {*word.row.replies, *now}
        and row.machine in THREADED
        and not (row.opens or row.needs_consent or row.needs_exception or row.required_sections)
        and row.who_may_send == PARTICIPANTS
        and row.deadline is None
    ]
    # The nearest: of this machine, of this family.
    near = [row for row in wrong if word.after.machine in row.events()]
    row = max(near or wrong, key=lambda one: one.family == word.row.family)
    by = By.RECIPIENT if row.direction is Direction.BACK else By.SENDER
    return Word(row, bodies(row)[0], by, word.after)


@pytest.mark.parametrize(
    "name", [name for name, row in catalogue.items() if row.who_may_send != PARTICIPANTS]
)
async def test_who_may_not_say_it_is_refused(offices: dict[str, Office], name: str) -> None:
    for kind in PARTICIPANTS - catalogue[name].who_may_send:
        with declined("forbidden", "type"):
            await go(offices, own(name), kind)


async def test_what_the_gateway_says_itself_is_just_what_no_worker_can_say_and_has_its_own_test() -> (
    None
):
    own_words = {name for name, row in catalogue.items() if row.machine not in THREADED}
    assert BY_GATEWAY.keys() == own_words | set(AT_ONCE.values())
