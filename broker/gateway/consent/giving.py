"""Consent given: recorded, told to the recipient under seal, and its grant registered at the hub."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy import update

from broker.gateway.consent.knowing import FEED
from broker.gateway.consent.majority import NOT_KNOWN, childhood_ends
from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.own_log import Decision
from broker.gateway.send.compose import Composed
from broker.gateway.send.drafts import ConsentDraft, RenewalDraft
from broker.gateway.send.sender import Sender
from broker.gateway.send.statements import compose_statement
from broker.gateway.store import grants as store
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.tables import grant as grant_table
from broker.gateway.vault.cases import own_case
from broker.telemetry import logger
from keys.binding import blind_scope, new_grant_key, record_digest, subject_of
from keys.jws import sign_jws
from schemas.audit import Event
from schemas.base import paths_of
from schemas.bodies.consent import Record, Renewal
from schemas.consent import GRANT_TYP, ConsentRecord, ConsentStatus, GrantStatement
from schemas.envelope import ConsentTag, Lane
from schemas.errors import (
    ChildRule,
    ConsentMissing,
    ConsentRecipient,
    ConsentScope,
    ConsentWithdrawn,
    NoAgreement,
    NotFound,
    Refused,
    SchemaRefused,
    Unavailable,
)

AGAIN = timedelta(minutes=1)


class Consents:
    """Gives grants."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender
        self._unregistered = True
        """False while it is certain that the hub knows every grant of ours."""

    async def renew(self, grant_id: UUID, draft: RenewalDraft) -> UUID:
        """The person was asked again and said yes to the same: a grant of its own, told as a renewal.

        What she has taken back since is not in it, and what was withdrawn is not renewed: a new
        consent is recorded instead.

        Raises:
            NotFound: No such grant, or its record is not here.
            ConsentRecipient: It is not ours to renew.
            ConsentWithdrawn: It ended by her word, or by her coming of age.
        """
        core = self._core
        async with core.database.read() as connection:
            state = await store.require_grant(connection, grant_id)
            if state.sender != core.participant:
                raise ConsentRecipient
            if state.withdrawn or state.record is None:
                raise ConsentWithdrawn
            plain = await core.vault.read(connection, state.record)
        old = ConsentRecord.from_json(plain)
        live = {names for names in state.live().values() if names is not None}
        again = ConsentDraft(
            to=state.recipient,
            case_ref=str(state.case_ref),
            scopes=tuple(s for s in old.scopes if (str(s.purpose), s.section) in live),
            principal=old.pii_principal_id,
            valid_until=draft.valid_until,
            language=draft.language or old.language,
            notice=draft.notice or old.privacy_notice,
            how=draft.how or old.how,
            interpreter=old.interpreter if draft.interpreter is None else draft.interpreter,
            presumed_child=old.presumed_child,
            guardian=draft.guardian,
            guardian_until=old.guardian_until,
            derived_from=state.derived_from,
            withdrawal_method=old.withdrawal_method,
        )
        if (old.guardian is None) != (draft.guardian is None):
            raise ChildRule(where=("guardian",))  # both are asked again, or she alone
        return await self.give(again, renewal=True)

    async def give(self, draft: ConsentDraft, *, renewal: bool = False) -> UUID:
        """Record a consent, tell the recipient sealed, and register the grant at the hub.

        With the hub away the registration is repeated later; what travels under the grant waits.

        Raises:
            ConsentScope: It would pass on more than was given to us (`derived_from`).
            NoAgreement: None in force is known, the hub having been asked: its record could not
                travel, and the recipient would never hear of it. Nothing was stored.
            Refused: The hub refuses the grant; nothing can travel under it.
        """
        core, now = self._core, self._core.now()
        await self._agreements.look_for(draft.to)
        if draft.derived_from is not None:
            await self._require_covered(draft)
        grant_id, key = uuid4(), new_grant_key()
        if draft.guardian is not None and draft.guardian_until is None:
            async with core.database.read() as connection:
                until = await childhood_ends(core, connection, draft.case_ref)
            draft = draft.model_copy(update={"guardian_until": until})
        record = self._record(draft, now, renewal=renewal)
        scopes = {
            blind_scope(key, scope.purpose, scope.section): (str(scope.purpose), scope.section)
            for scope in draft.scopes
        }
        statement = GrantStatement.model_validate(
            {
                "grant": grant_id,
                "from": core.participant,
                "to": draft.to,
                "scopes": tuple(scopes),
                "valid_from": now.date(),
                "until": draft.valid_until,
                "record_digest": record_digest(key, record),
                "derived_from": draft.derived_from,
                "issued_at": now,
            }
        )
        raw = sign_jws(statement.to_json(), typ=GRANT_TYP, signer=core.signer)
        announcement = self._announcement(draft, grant_id, key, record, raw, renewal=renewal)
        async with core.database.begin() as connection:
            case = own_case(draft.case_ref)
            secret = await core.vault.store(connection, case, f"grant-key:{grant_id}", None, key)
            kept = await core.vault.store(
                connection, case, f"consent:{grant_id}", None, record.to_json()
            )
            await store.add_grant(
                connection,
                {
                    "id": grant_id,
                    "sender": core.participant,
                    "recipient": draft.to,
                    "case_ref": draft.case_ref,
                    "statement": raw,
                    "secret": secret,
                    "record": kept,
                    "valid_from": statement.valid_from,
                    "until": statement.until,
                    "derived_from": draft.derived_from,
                    "state": "live",
                    "registered_at": None,
                    "attempts": 0,
                    "next_attempt_at": now,
                    "created_at": now,
                    "withdrawn_at": None,
                    "guardian_until": None
                    if draft.guardian is None
                    else draft.guardian_until or NOT_KNOWN,
                },
                dict(scopes),
            )
            await self._sender.store(connection, announcement)
            await core.log.add(
                connection,
                [Decision(Event.GRANT_REGISTERED, subject_of(raw), grant_id)],
                now=now,
            )
        try:
            await self._register(grant_id, raw)
        except Refused:
            raise
        except BaseException as error:
            self._unregistered = True
            if not isinstance(error, Unavailable):
                raise
            logger().info("grant:waits", grant_id=str(grant_id), code=error.code)
        core.wakes.outbox.set()
        return grant_id

    async def register_waiting(self) -> None:
        """Register at the hub what could not be before."""
        core = self._core
        if not self._unregistered:
            return
        self._unregistered = False
        try:
            async with core.database.read() as connection:
                rows = await store.unregistered(connection, now=core.now())
        except BaseException:
            self._unregistered = True
            raise
        if rows:
            self._unregistered = True  # until a look finds none
        for row in rows:
            try:
                await self._register(row.id, row.statement)
            except Refused:
                continue  # recorded with an alarm; nothing travels under it
            except Unavailable as error:
                if not isinstance(error.__cause__, ConsentMissing):
                    raise

    async def register_again(self) -> None:
        """The hub has begun another log: what it knew of grants may be lost, and its list of
        withdrawals begins anew."""
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            await store.set_cursor(connection, FEED, 0, now)
            await connection.execute(
                update(grant_table)
                .where(
                    grant_table.c.sender == core.participant,
                    grant_table.c.state != "refused",
                    grant_table.c.until >= now.date(),
                )
                .values(registered_at=None, next_attempt_at=now)
            )
        self._unregistered = True

    async def _register(self, grant_id: UUID, raw: bytes) -> None:
        core = self._core
        try:
            await core.hub.register_grant(raw)
        except ConsentMissing as error:
            # The hub has lost the grant that this one derives from; its giver registers it again.
            async with core.database.begin() as connection:
                await connection.execute(
                    update(grant_table)
                    .where(grant_table.c.id == grant_id)
                    .values(next_attempt_at=core.now() + AGAIN)
                )
            raise Unavailable("the grant that it derives from is not registered yet") from error
        except Refused as error:
            async with core.database.begin() as connection:
                await connection.execute(
                    update(grant_table).where(grant_table.c.id == grant_id).values(state="refused")
                )
                await raise_alarm(connection, "grant-refused", grant_id, now=core.now())
            logger().error("grant:refused", grant_id=str(grant_id), code=error.code)
            raise
        async with core.database.begin() as connection:
            await connection.execute(
                update(grant_table)
                .where(grant_table.c.id == grant_id)
                .values(registered_at=core.now())
            )

    async def _require_covered(self, draft: ConsentDraft) -> None:
        """What is passed on was received under a grant that lives, and is no more than it gave:
        neither other sections, nor for another purpose, nor for longer.

        Raises:
            NotFound, ConsentWithdrawn, ConsentScope: As they say.
        """
        core = self._core
        async with core.database.read() as connection:
            source = await store.require_grant(connection, _uuid(draft.derived_from))
        if source.recipient != core.participant:
            raise ConsentRecipient
        if source.withdrawn:
            raise ConsentWithdrawn
        received = {names for names in source.live().values() if names is not None}
        beyond = [
            f"scopes.{scope.section}"
            for scope in draft.scopes
            if (str(scope.purpose), scope.section) not in received
        ]
        if draft.valid_until > source.until:
            beyond.append("valid_until")
        if core.now().date() < source.valid_from:
            beyond.append("derived_from")
        if beyond:
            raise ConsentScope(where=tuple(sorted(beyond)))

    def _record(self, draft: ConsentDraft, now: datetime, *, renewal: bool) -> ConsentRecord:
        """What travels of a draft.

        Raises:
            SchemaRefused: It is not one consent but several, or a guardian's word is missing.
        """
        try:
            return self._written(draft, now, renewal=renewal)
        except ValidationError as error:
            raise SchemaRefused(where=paths_of(error)) from None

    def _written(self, draft: ConsentDraft, now: datetime, *, renewal: bool) -> ConsentRecord:
        core = self._core
        return ConsentRecord(
            schema_version="https://w3id.org/dpv/schema/dpv-27560#record",
            record_id=uuid4(),
            pii_principal_id=draft.principal,
            privacy_notice=draft.notice,
            language=draft.language,
            how=draft.how,
            interpreter=draft.interpreter,
            scopes=draft.scopes,
            controller=core.participant,
            recipient=draft.to,
            jurisdiction=core.self_entry().country,
            withdrawal_method=draft.withdrawal_method,
            retention_until=draft.retention_until or draft.valid_until,
            status=ConsentStatus.RENEWED if renewal else ConsentStatus.GIVEN,
            given_at=now,
            valid_until=draft.valid_until,
            presumed_child=draft.presumed_child,
            guardian=draft.guardian,
            guardian_until=draft.guardian_until,
            derived_from=draft.derived_from,
        )

    def _announcement(
        self,
        draft: ConsentDraft,
        grant_id: UUID,
        key: bytes,
        record: ConsentRecord,
        raw: bytes,
        *,
        renewal: bool,
    ) -> Composed:
        type_name = "consent.renew" if renewal else "consent.record"
        core = self._core
        found = self._agreements.for_partner(draft.to, type_name, Lane.ROUTINE)
        core.partner(draft.to)  # who is not enrolled has no agreement either, and that says less
        if found is None or not found[1].carries(type_name, Lane.ROUTINE, core.now().date()):
            raise NoAgreement(f"none in force with {draft.to} that a consent could travel under")
        return compose_statement(
            core,
            type_name=type_name,
            to=draft.to,
            case_ref=draft.case_ref,
            body=(Renewal if renewal else Record)(record=record, statement=raw),
            agreement=found[0],
            consent=ConsentTag(grant=grant_id, scopes=(), until=draft.valid_until),
            grant=grant_id,
            grant_key=key,
        )


def _uuid(value: UUID | None) -> UUID:
    if value is None:
        raise NotFound
    return value
