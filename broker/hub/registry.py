"""Registering what the rules rest on: grants, agreements, suspensions.

Each is signed by those it binds, kept as it was signed, recorded in the log in the transaction
that stores it, and answered alike when it comes again.
"""

from __future__ import annotations

import hashlib

from sqlalchemy.exc import IntegrityError

from broker.audit.log.leaves import new_leaf
from broker.hub.intake.limiting import Limiter
from broker.hub.intake.refusals import quarantine
from broker.hub.state import Hub
from broker.hub.store import agreements, grants, openings
from broker.telemetry import logger
from keys.binding import subject_of
from keys.signing import verify_agreement, verify_grant, verify_suspension
from keys.statements.suspension import may_suspend
from schemas.agreement import Agreement
from schemas.audit import Event
from schemas.consent import GrantStatement
from schemas.directory import Participant
from schemas.errors import (
    BadSignature,
    Conflict,
    ConsentExpired,
    ConsentMissing,
    ConsentRecipient,
    ConsentWithdrawn,
    Forbidden,
    GrantWidened,
    KeyUnknown,
    NoAgreement,
    RateLimited,
    RecipientUnknown,
    SchemaRefused,
)


async def register_grant(hub: Hub, limiter: Limiter, raw: bytes) -> bool:
    """Register a grant statement; False if the same was registered before.

    Raises:
        Conflict: The id belongs to another grant.
        ConsentMissing, ConsentRecipient, ConsentWithdrawn, ConsentExpired: It derives from a grant
            that its giver may not pass on.
        GrantWidened: It lasts longer than the grant that it derives from, or begins earlier.
        RecipientUnknown, Forbidden, SchemaRefused, RateLimited, and those of `keys.signing.verify_grant`.
    """
    now = hub.clock.now()
    directory = hub.directory.current()
    try:
        content = verify_grant(raw, directory, now=now).content
    except KeyUnknown:
        hub.metrics.strangers.labels(KeyUnknown.code).inc()
        raise
    except BadSignature as error:
        await quarantine(hub, raw, error)
        raise
    _in_good_standing(directory.participant(content.from_))
    _in_rate(limiter, content.from_)
    recipient = directory.participant(content.to)
    if recipient is None or recipient.suspended or content.to == content.from_:
        raise RecipientUnknown
    if content.until < content.valid_from or len(set(content.scopes)) != len(content.scopes):
        raise SchemaRefused(where=("until", "scopes"))
    hub.require_log()
    digest = hashlib.sha256(content.to_json()).digest()
    try:
        return await _store_grant(hub, content, raw, digest)
    except IntegrityError:
        # The same id came twice at once; the other one was first.
        return await _store_grant(hub, content, raw, digest)


async def _store_grant(hub: Hub, content: GrantStatement, raw: bytes, digest: bytes) -> bool:
    now = hub.clock.now()
    async with hub.database.begin() as connection:
        before = await grants.find(connection, content.grant)
        if before is not None:
            if before.digest != digest:
                raise Conflict("grant id")
            return False
        if content.derived_from is not None:
            views = await grants.views(connection, [content.derived_from])
            parent = views.get(content.derived_from)
            if parent is None:
                raise ConsentMissing(where=("derived_from",))
            if parent.recipient != content.from_:
                raise ConsentRecipient(where=("derived_from",))
            if parent.withdrawn:
                raise ConsentWithdrawn(where=("derived_from",))
            if parent.until < now.date():
                raise ConsentExpired(where=("derived_from",))
            # Passing on needs the same consent: it neither starts earlier nor lasts longer.
            if content.until > parent.until:
                raise GrantWidened(where=("until",))
            if content.valid_from < parent.valid_from:
                raise GrantWidened(where=("valid_from",))
        await grants.register(
            connection,
            {
                "id": content.grant,
                "raw": raw,
                "digest": digest,
                "giver": content.from_,
                "recipient": content.to,
                "scopes": " ".join(content.scopes),
                "valid_from": content.valid_from,
                "until": content.until,
                "derived_from": content.derived_from,
                "registered_at": now,
                "changed_at": now,
            },
        )
        leaf, opening = new_leaf(Event.GRANT_REGISTERED, now, subject_of(raw))
        await openings.record(
            connection,
            openings.row(
                leaf,
                opening,
                now=now,
                statement=raw,
                parties=(content.from_, content.to),
                grant=content.grant,
            ),
        )
    logger().info("grant:registered", grant_id=str(content.grant), participant=content.from_)
    return True


async def register_agreement(hub: Hub, limiter: Limiter, raw: bytes) -> bool:
    """Register an agreement that both parties signed; False if the same was registered before.

    Raises:
        Conflict: The id belongs to another agreement.
        Forbidden, SchemaRefused, RateLimited, and those of `keys.signing.verify_agreement`.
    """
    now = hub.clock.now()
    directory = hub.directory.current()
    try:
        content = verify_agreement(raw, directory, now=now).content
    except KeyUnknown:
        hub.metrics.strangers.labels(KeyUnknown.code).inc()
        raise
    for party in content.parties:
        _in_good_standing(directory.participant(party))
        _in_rate(limiter, party)
    if content.valid_until < content.valid_from:
        raise SchemaRefused(where=("valid_until",))
    hub.require_log()
    digest = hashlib.sha256(content.to_json()).digest()
    try:
        return await _store_agreement(hub, content, raw, digest)
    except IntegrityError:
        return await _store_agreement(hub, content, raw, digest)


async def _store_agreement(hub: Hub, content: Agreement, raw: bytes, digest: bytes) -> bool:
    now = hub.clock.now()
    async with hub.database.begin() as connection:
        before = await agreements.find(connection, content.id)
        if before is not None:
            if before.digest != digest:
                raise Conflict("agreement id")
            return False
        await agreements.register(
            connection,
            {
                "id": content.id,
                "raw": raw,
                "digest": digest,
                "one": content.parties[0],
                "other": content.parties[1],
                "lanes": " ".join(sorted({lane.value for lane in content.lanes})),
                "valid_from": content.valid_from,
                "valid_until": content.valid_until,
                "registered_at": now,
            },
        )
        leaf, opening = new_leaf(Event.AGREEMENT_REGISTERED, now, subject_of(raw))
        await openings.record(
            connection,
            openings.row(leaf, opening, now=now, statement=raw, parties=content.parties),
        )
    logger().info("agreement:registered", agreement_id=str(content.id))
    return True


async def suspend(hub: Hub, limiter: Limiter, raw: bytes) -> None:
    """Suspend an agreement at once, or take back one's own suspension.

    Nothing that waits is handed over under it from the commit on. An older statement than the
    last one of the same party changes nothing.

    Raises:
        NoAgreement: It is not registered.
        RateLimited: Too many by the same participant.
        Forbidden: By neither party, nor the authority of a party's country.
    """
    now = hub.clock.now()
    directory = hub.directory.current()
    content = verify_suspension(raw, directory, now=now)
    author = directory.participant(content.by)
    _in_good_standing(author)
    _in_rate(limiter, content.by)
    hub.require_log()
    async with hub.database.begin() as connection:
        found = await agreements.find(connection, content.agreement)
        if found is None:
            raise NoAgreement
        if not may_suspend(author, (found.one, found.other)):
            raise Forbidden
        changed = await agreements.suspend(
            connection,
            {
                "agreement_id": content.agreement,
                "by": content.by,
                "suspended": content.action == "suspend",
                "raw": raw,
                "issued_at": content.issued_at,
            },
        )
        if changed:
            leaf, opening = new_leaf(Event.AGREEMENT_SUSPENDED, now, subject_of(raw))
            parties = (found.one, found.other)
            await openings.record(
                connection,
                openings.row(leaf, opening, now=now, statement=raw, parties=parties),
            )
    logger().warning(
        "agreement:suspended" if content.action == "suspend" else "agreement:resumed",
        agreement_id=str(content.agreement),
        participant=content.by,
    )


def _in_good_standing(participant: Participant | None) -> None:
    if participant is None or participant.suspended:
        raise Forbidden


def _in_rate(limiter: Limiter, participant: str) -> None:
    if not limiter.registration(participant):
        raise RateLimited


def grant_status(*, withdrawn: bool, removed: str, until_passed: bool) -> str:
    """One word for what became of a grant."""
    if withdrawn:
        return "withdrawn"
    if until_passed:
        return "expired"
    return "narrowed" if removed else "live"
