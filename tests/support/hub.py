"""A hub in a folder of its own: repository, custody, settings; and participants that talk to it.

The hub is the real application. `serving` runs it inside the test's event loop, behind an ASGI
transport; `tests/system` runs it as a process.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx2
from fastapi import FastAPI
from sqlalchemy import func, select

from broker.audit.log.checkpoint import make_log_key
from broker.clock import Clock, SystemClock, TurnedClock
from broker.hub.app import create_app
from broker.hub.settings import HubSettings, LogSettings
from broker.hub.state import Hub
from broker.hub.store.tables import LOG
from keys.binding import blind_scope, new_grant_key, new_incarnation, uuid7
from keys.ceremony import Repository, RoleSigner, new_role_key
from keys.custody import KdfCost, create_custody
from keys.http_signing import sign_request
from keys.jws import sign_jws
from keys.lifecycle import new_keys
from keys.sealing import EnvelopeDraft, seal_envelope
from keys.signing import countersign, sign_agreement, verify_evidence
from schemas.agreement import SUSPENSION_TYP, Agreement, Suspension, TransferBasis
from schemas.base import b64u
from schemas.consent import GRANT_TYP, GrantStatement, Purpose
from schemas.directory import (
    Compartment,
    Function,
    OrganisationKind,
    Participant,
    TrustedDirectory,
)
from schemas.envelope import AttachmentRef, ConsentTag, Kind, Lane, SealedEnvelope, Stream
from schemas.evidence import EVIDENCE_TYP, Evidence, Fact, FactStatement
from tests.support.parties import Party, directory_of

HUB = "hub.main"
BASE = "http://hub.test"
WEAK = KdfCost(memory_kib=8, iterations=1, lanes=1)
SECTION = "identity_core"
FUNCTIONS = {
    "nrm": Function.NRM,
    "coordinator": Function.COORDINATOR,
    "rapporteur": Function.RAPPORTEUR,
    "shelter": Function.SHELTER,
}


class World:
    """A repository, a hub's home, and everybody's private keys."""

    def __init__(self, folder: Path, clock: Clock, *, database: str, names: Sequence[str]) -> None:
        self.folder = folder
        self.clock = clock
        now = clock.now()
        self.root, self.targets, self.online = (self._role(name) for name in ("r", "t", "o"))
        self.repository = Repository.create(
            folder / "repository",
            root_signers=[self.root],
            root_threshold=1,
            targets_signers=[self.targets],
            targets_threshold=1,
            online=self.online,
            now=now,
        )
        (folder / "root.json").write_bytes(self.repository.root)
        self._hub_entry = self._make_hub(now)
        self.parties: dict[str, Party] = {}
        self._countries: dict[str, RoleSigner] = {}
        for name in names:
            self.enrol(name)
        self.settings = HubSettings(
            hub=HUB,
            database=database,
            custody=f"file:{folder / 'hub.json'}",
            passphrase_file=folder / "passphrase",
            directory=folder / "repository",
            directory_root=folder / "root.json",
            directory_seconds=0.1,
            state=folder / "state",
            log=LogSettings(origin="hub.test/log", every_seconds=0.1),
        )

    def _role(self, name: str) -> RoleSigner:
        private, _ = new_role_key(self.clock.now())
        path = self.folder / f"role-{name}.json"
        custody = create_custody(f"file:{path}", private, b"role", cost=WEAK)
        return RoleSigner.of(custody)

    def _make_hub(self, now: Any) -> Participant:
        skey, vkey = make_log_key("hub.test/log")
        keys, published = new_keys(compartments=(), suites=(1,), now=now - timedelta(days=1))
        (self.folder / "passphrase").write_bytes(b"hub\n")
        create_custody(
            f"file:{self.folder / 'hub.json'}",
            keys.with_secret("log", skey.encode()),
            b"hub",
            cost=WEAK,
        )
        self.vkey = vkey
        entry = Participant(
            id=HUB,
            name="Invented hub",
            country="XX",
            kind=OrganisationKind.HUB,
            function=Function.HUB,
            suites=(1,),
            log_vkey=vkey,
            keys=published,
            entry_issued_at=now,
        )
        self.repository.publish_hub(
            entry, targets_signers=[self.targets], online=self.online, now=now
        )
        return entry

    # --- the directory ------------------------------------------------------------------------

    def enrol(self, name: str) -> Party:
        """Enrol a new participant; its function is the part of its name after the dot."""
        now = self.clock.now()
        country = name[:2]
        if country not in self._countries:
            private, published = new_role_key(now)
            custody = create_custody(
                f"file:{self.folder / f'country-{country}.json'}", private, b"c", cost=WEAK
            )
            self._countries[country] = RoleSigner.of(custody)
            self.repository.delegate_country(
                country,
                [published],
                1,
                country_signers=[self._countries[country]],
                targets_signers=[self.targets],
                online=self.online,
                now=now,
            )
        compartments = (Compartment.CASEWORK,)
        keys, public = new_keys(
            compartments=compartments, suites=(1, 2), now=now - timedelta(days=1)
        )
        entry = Participant(
            id=name,
            name=f"Invented participant {name}",
            country=country.upper(),
            kind=OrganisationKind.NGO if name.endswith("shelter") else OrganisationKind.STATE,
            function=FUNCTIONS[name.partition(".")[2]],
            suites=(1, 2),
            compartments=compartments,
            keys=public,
            entry_issued_at=now,
        )
        party = Party(entry, keys)
        self.publish(party)
        return party

    def publish(self, party: Party) -> None:
        """Publish a participant's entry as it is now."""
        self.parties[party.entry.id] = party
        self.repository.publish_participant(
            party.entry,
            country_signers=[self._countries[party.entry.id[:2]]],
            online=self.online,
            now=self.clock.now(),
        )

    def change(self, name: str, **changes: object) -> None:
        """Publish an entry with other values, `suspended=True` say."""
        party = self.parties[name]
        self.publish(replace(party, entry=party.entry.model_copy(update=changes)))

    def directory(self) -> TrustedDirectory:
        """Everybody, the hub included, as a test's own trusted directory."""
        found = directory_of(*self.parties.values())
        found.participants[HUB] = self._hub_entry
        found.by_kid.update({key.kid: (self._hub_entry, key) for key in self._hub_entry.keys})
        return found

    def agreement(self, one: str, other: str, **changes: object) -> tuple[UUID, bytes]:
        """An agreement signed by both, not registered yet."""
        today = self.clock.now().date()
        content = Agreement(
            id=uuid4(),
            title="Invented agreement",
            parties=(one, other),
            valid_from=today - timedelta(days=1),
            valid_until=today + timedelta(days=365),
            lanes=(Lane.URGENT, Lane.ROUTINE),
            types=("referral.*",),
            sections=(SECTION,),
            purposes=(Purpose.PROTECTION,),
            transfer=(TransferBasis(sender=one, basis="eu-gdpr:A49-1-d"),),
            signed_on=self.clock.now(),
        ).model_copy(update=changes)
        first = sign_agreement(content, self.parties[one].signer())
        return content.id, countersign(first, self.parties[other].signer())

    # --- a running hub ------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self, **changes: object) -> AsyncIterator[Served]:
        """The hub, started; stopped in order afterwards."""
        settings = self.settings.model_copy(update=changes)
        app = create_app(settings, clock=self.clock)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url=BASE) as http:
                yield Served(self, app, http)


@dataclass
class Served:
    """A hub that answers."""

    world: World
    app: FastAPI
    http: httpx2.AsyncClient

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    def client(self, name: str) -> Client:
        """A participant's way to this hub."""
        return Client(self.world.parties[name], self.world, self.http)

    async def pair(
        self, one: str = "it.nrm", other: str = "al.nrm", **changes: object
    ) -> tuple[Client, Client, UUID]:
        """Two participants with an agreement in force."""
        agreement = self.world.agreement(one, other, **changes)
        answer = await self.http.post("/agreements", content=agreement[1])
        assert answer.status_code == 201, answer.text
        return self.client(one), self.client(other), agreement[0]


@dataclass(frozen=True)
class Grant:
    """A grant with the key that only the parties have."""

    id: UUID
    key: bytes
    scopes: tuple[str, ...]
    until: date
    raw: bytes


@dataclass
class Client:
    """One participant, as far as a hub can see it."""

    party: Party
    world: World
    http: httpx2.AsyncClient
    incarnation: str = field(default_factory=new_incarnation)
    numbers: dict[tuple[str, Lane], int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.party.entry.id

    # --- making -------------------------------------------------------------------------------

    def grant_statement(
        self,
        to: str,
        *,
        sections: Sequence[str] = (SECTION,),
        until: date | None = None,
        derived_from: UUID | None = None,
        valid_from: date | None = None,
    ) -> Grant:
        now = self.world.clock.now()
        key = new_grant_key()
        scopes = tuple(blind_scope(key, Purpose.PROTECTION, section) for section in sections)
        last = until or now.date() + timedelta(days=180)
        content = GrantStatement.model_validate(
            {
                "grant": uuid4(),
                "from": self.id,
                "to": to,
                "scopes": scopes,
                "valid_from": valid_from or now.date(),
                "until": last,
                "record_digest": b64u(bytes(32)),
                "derived_from": derived_from,
                "issued_at": now,
            }
        )
        raw = sign_jws(content.to_json(), typ=GRANT_TYP, signer=self.party.signer())
        return Grant(content.grant, key, scopes, last, raw)

    def draft(
        self,
        to: str,
        *,
        agreement: UUID | None,
        grant: Grant | None,
        lane: Lane = Lane.ROUTINE,
        **changes: object,
    ) -> EnvelopeDraft:
        now = self.world.clock.now()
        place = (to, lane)
        self.numbers[place] = self.numbers.get(place, 0) + 1
        draft = EnvelopeDraft(
            suite=1,
            id=uuid7(now),
            replaces=None,
            from_=self.id,
            to=to,
            lane=lane,
            stream=Stream(incarnation=self.incarnation, number=self.numbers[place]),
            thread=uuid4(),
            in_reply_to=None,
            kind=Kind.REQUEST,
            issued_at=now,
            expires_at=now + timedelta(days=7),
            answer_by=None,
            pauses_clock=False,
            agreement=agreement,
            consent=None
            if grant is None
            else ConsentTag(grant=grant.id, scopes=grant.scopes, until=grant.until),
            attachments=(),
        )
        return replace(draft, **changes)  # type: ignore[arg-type]

    def seal(self, draft: EnvelopeDraft, content: bytes = b'{"invented":true}') -> SealedEnvelope:
        return seal_envelope(
            draft,
            {Compartment.CASEWORK: content},
            recipient=self.world.parties[draft.to].entry,
            signer=self.party.signer(draft.suite),
            now=self.world.clock.now(),
        )

    def withdrawal(self, grant: Grant, to: str, scopes: tuple[str, ...] = ()) -> SealedEnvelope:
        """A withdrawal of a whole grant, or of some of its scopes."""
        return self.seal(
            self.draft(
                to,
                agreement=None,
                grant=None,
                lane=Lane.URGENT,
                kind=Kind.WITHDRAWAL,
                consent=ConsentTag(grant=grant.id, scopes=scopes, until=grant.until),
            )
        )

    def evidence(
        self,
        to: str | None,
        facts: Mapping[UUID, tuple[Fact, bytes]] | Sequence[tuple[Fact, SealedEnvelope]],
        **changes: object,
    ) -> bytes:
        """Signed evidence about envelopes that this participant received."""
        now = self.world.clock.now()
        items = (
            [(fact, message, digest) for message, (fact, digest) in facts.items()]
            if isinstance(facts, Mapping)
            else [(fact, one.content.id, one.digest) for fact, one in facts]
        )
        content = Evidence(
            id=uuid7(now),
            by=self.id,
            to=to,
            issued_at=now,
            facts=tuple(
                FactStatement(fact=fact, envelope=message, digest=b64u(digest), at=now)
                for fact, message, digest in items
            ),
        ).model_copy(update=changes)
        return sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=self.party.signer())

    def suspension(self, agreement: UUID, action: str = "suspend") -> bytes:
        content = Suspension.model_validate(
            {
                "agreement": agreement,
                "by": self.id,
                "action": action,
                "issued_at": self.world.clock.now(),
            }
        )
        return sign_jws(content.to_json(), typ=SUSPENSION_TYP, signer=self.party.signer())

    # --- saying -------------------------------------------------------------------------------

    async def grant(self, to: str, **changes: Any) -> Grant:
        grant = self.grant_statement(to, **changes)
        answer = await self.http.post("/grants", content=grant.raw)
        assert answer.status_code == 201, answer.text
        return grant

    async def submit(self, sealed: SealedEnvelope) -> httpx2.Response:
        return await self.http.post("/envelopes", content=sealed.raw)

    async def send(
        self, to: str, *, agreement: UUID, grant: Grant, **changes: Any
    ) -> SealedEnvelope:
        """Seal and submit; it must be accepted."""
        sealed = self.seal(self.draft(to, agreement=agreement, grant=grant, **changes))
        answer = await self.submit(sealed)
        assert answer.status_code == 201, answer.text
        return sealed

    async def state_evidence(self, raw: bytes) -> httpx2.Response:
        return await self.http.post("/evidence", content=raw)

    def signed(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        return sign_request(
            method=method,
            url=BASE + path,
            headers={},
            body=body,
            signer=self.party.signer(),
            now=self.world.clock.now(),
        )

    async def get(self, path: str, **query: object) -> httpx2.Response:
        if query:
            path += "?" + urlencode(query)
        return await self.http.get(path, headers=self.signed("GET", path))

    async def post(self, path: str, content: object) -> httpx2.Response:
        body = json.dumps(content).encode()
        headers = self.signed("POST", path, body)
        return await self.http.post(path, headers=headers, content=body)

    async def mailbox(self, lane: Lane = Lane.ROUTINE, **query: object) -> list[dict[str, Any]]:
        answer = await self.get("/mailbox", lane=lane.value, **query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def acknowledge(self, items: Sequence[Mapping[str, Any]]) -> None:
        answer = await self.post(
            "/mailbox/acknowledgements", {"deliveries": [item["delivery"] for item in items]}
        )
        assert answer.status_code == 204, answer.text

    def facts(self, raw: bytes | str) -> list[FactStatement]:
        """The facts of evidence whose signature verifies."""
        data = raw.encode() if isinstance(raw, str) else raw
        verified = verify_evidence(data, self.world.directory(), now=self.world.clock.now())
        return list(verified.content.facts)


def refs(*digests: tuple[str, int, str]) -> tuple[AttachmentRef, ...]:
    """Attachment references: digest, size, scope."""
    return tuple(
        AttachmentRef(digest=digest, bucket=size, scope=scope) for digest, size, scope in digests
    )


def turned_clock() -> TurnedClock:
    """Stands still at the present until a test turns it."""
    return TurnedClock(SystemClock().now())


def waits(hub: Hub, participant: str) -> bool:
    """True if somebody at this hub waits for the participant's next delivery."""
    return participant in hub.wake._events


def listens(hub: Hub) -> bool:
    """True if this hub hears what other processes on its database say."""
    return hub.wake._others_until is not None


async def count(served: Served, table: Any) -> int:
    async with served.hub.database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def leaves(served: Served) -> int:
    return await count(served, LOG.entry) + await count(served, LOG.leaf_pending)
