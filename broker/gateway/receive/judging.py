"""Steps 4 to 6 of receiving: the header rules, the seal, the content rules, for one envelope.

Nothing is believed of the hub: agreement and grant are those that we verified ourselves. Reads what
it is given and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.content_check import ask, consent_of, read_record
from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.receive.unpack import Unpacked, check_record, unpack
from broker.gateway.safeguards.known import About, persons
from broker.gateway.store.grants import GrantState
from broker.rules.content import Moment, Person
from broker.rules.header import Question, header_of, judge, refusal
from schemas.bodies.consent import Record
from schemas.consent import ConsentRecord
from schemas.envelope import Kind, VerifiedEnvelope
from schemas.errors import Refused

NOBODY = Person()
"""Of whom nothing is known."""
MOST_RECORDS = 512
"""Consent records kept at hand."""


class Judge:
    """Asks the rules about what arrives."""

    def __init__(self, core: Core, agreements: Agreements) -> None:
        self._core = core
        self._agreements = agreements

    async def records(
        self, connection: AsyncConnection, grants: Iterable[GrantState]
    ) -> dict[UUID, ConsentRecord]:
        """The persons' records behind these grants, each read from the vault once for a while."""
        kept = self._core.records
        live = [grant for grant in grants if grant.record is not None and not grant.withdrawn]
        for grant in live:
            known = kept.get(grant.id)
            if known is None or known[0] != grant.record:
                record = await read_record(self._core, connection, grant)
                if record is not None:
                    kept[grant.id] = (str(grant.record), record)
        found = {grant.id: kept[grant.id][1] for grant in live if grant.id in kept}
        while len(kept) > MOST_RECORDS:
            kept.pop(next(iter(kept)))
        return found

    def open(
        self,
        verified: VerifiedEnvelope,
        grants: dict[UUID, GrantState],
        records: dict[UUID, ConsentRecord],
    ) -> Unpacked:
        """Steps 4 to 6 for one envelope.

        Raises:
            Refused, Suspect: What the rules, or what is inside, say against it.
        """
        core, content, now = self._core, verified.content, self._core.now()
        directory, ourselves = core.trusted(), core.self_entry()
        sender = directory.participant(content.from_)
        signing_key = directory.key(verified.signed_by)
        agreement = self._agreements.get(content.agreement)
        grant = grants.get(content.consent.grant) if content.consent else None
        found = judge(
            Question(
                header=header_of(content),
                sender=sender,
                recipient=ourselves,
                signing_key=signing_key[1] if signing_key else None,
                agreement=None if agreement is None else agreement.view(),
                grant=None if grant is None else grant.view(),
                now=now,
            )
        )
        if found:
            raise refusal(found)
        opened = unpack(verified, core.custody, ourselves, agreement)
        if isinstance(opened.body, Record):
            check_record(opened, opened.body, directory, now=now)
        self.ask(opened, grants, records, NOBODY)
        return opened

    async def protect(
        self,
        connection: AsyncConnection,
        opened: Sequence[Unpacked],
        grants: dict[UUID, GrantState],
        records: dict[UUID, ConsentRecord],
    ) -> dict[UUID, Refused]:
        """What the content rules refuse, by message, once they know what protects its person.

        Who that is stands inside the seal, so it is looked up when all of a batch are open.
        """
        found = await persons(self._core, connection, [_about(item) for item in opened])
        refused: dict[UUID, Refused] = {}
        for item, person in zip(opened, found, strict=True):
            if person == NOBODY:
                continue
            try:
                self.ask(item, grants, records, person)
            except Refused as error:
                refused[item.envelope.content.id] = error
        return refused

    def ask(
        self,
        opened: Unpacked,
        grants: dict[UUID, GrantState],
        records: dict[UUID, ConsentRecord],
        person: Person,
    ) -> None:
        """The content rules about one message, knowing this of its person.

        Raises:
            Refused: As they say.
        """
        core, content = self._core, opened.envelope.content
        sender = core.trusted().participant(content.from_)
        if content.kind is Kind.WITHDRAWAL or sender is None:
            return
        grant = grants.get(content.consent.grant) if content.consent else None
        record = None if grant is None else records.get(grant.id)
        ask(
            core,
            opened.message,
            opened.row,
            sender=sender,
            recipient=core.self_entry(),
            grant=None if grant is None else consent_of(_named(grant, opened), record),
            agreement=self._agreements.get(content.agreement),
            moment=Moment.DELIVER,
            now=core.now(),
            person=person,
        )


def _about(opened: Unpacked) -> About:
    content, message = opened.envelope.content, opened.message
    named = (message.business_id, message.derived_from)
    return About(
        case_refs=frozenset(
            () if message.recipient_case_ref is None else (message.recipient_case_ref,)
        ),
        business_ids=frozenset(name for name in named if name is not None),
        threads=frozenset({content.thread}),
        partner_cases=frozenset({(content.from_, message.case_ref)}),
    )


def _named(grant: GrantState, opened: Unpacked) -> GrantState:
    """The grant with the names of the scopes that this very message opened."""
    names = {
        entry.scope: (str(entry.purpose), entry.section)
        for entry in opened.message.scopes
        if entry.scope in grant.scopes
    }
    return GrantState(
        id=grant.id,
        sender=grant.sender,
        recipient=grant.recipient,
        case_ref=grant.case_ref,
        statement=grant.statement,
        secret=grant.secret,
        record=grant.record,
        valid_from=grant.valid_from,
        until=grant.until,
        derived_from=grant.derived_from,
        state=grant.state,
        registered=grant.registered,
        scopes={scope: names.get(scope, known) for scope, known in grant.scopes.items()},
        removed=grant.removed,
    )
