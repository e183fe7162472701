"""Withdrawals that the hub keeps ready for those who were away, obeyed by their headers alone."""

from __future__ import annotations

from broker.gateway.consent.knowing import KnownGrants
from broker.gateway.core import Core
from broker.gateway.receive.intake import Intake
from broker.gateway.store.quarantine import keep_aside
from broker.rules.header import (
    Question,
    consent_is_named,
    header_of,
    judge,
    refusal,
    withdrawal_is_theirs,
    withdrawal_only_narrows,
)
from broker.telemetry import logger
from keys.signing import parse_envelope, verify_envelope
from schemas.envelope import Kind
from schemas.errors import BrokerError, KeyUnknown, Unavailable


class WithdrawalFeed:
    """Puts them in force."""

    def __init__(self, core: Core, grants: KnownGrants, intake: Intake) -> None:
        self._core = core
        self._grants = grants
        self._intake = intake

    async def obey(self, raw: bytes) -> None:
        """Put a withdrawal of the feed in force, by its header alone.

        It may be addressed to the other party, and what is inside may not open: neither makes it
        less of a withdrawal. Signature and the right to withdraw are checked here, whatever the
        hub has checked.

        Raises:
            Unavailable: Not now; the feed is read again from here.
        """
        core, now = self._core, self._core.now()
        try:
            try:
                envelope = verify_envelope(parse_envelope(raw), core.trusted(), now=now)
            except KeyUnknown:
                await core.directory.refresh()
                envelope = verify_envelope(parse_envelope(raw), core.trusted(), now=now)
            content = envelope.content
            if content.kind is not Kind.WITHDRAWAL or content.consent is None:
                return
            known = await self._grants.load_received({content.consent.grant})
            grant = known.get(content.consent.grant)
            found = judge(
                Question(
                    header=header_of(content),
                    sender=core.trusted().participant(content.from_),
                    recipient=core.self_entry(),
                    signing_key=None,
                    agreement=None,
                    grant=None if grant is None else grant.view(),
                    now=now,
                ),
                (consent_is_named, withdrawal_is_theirs, withdrawal_only_narrows),
            )
            if found:
                raise refusal(found)
        except Unavailable:
            raise
        except BrokerError as error:
            # Not a withdrawal by whom it may be ordered. A person looks at it.
            logger().error("withdrawal:not-obeyed", code=error.code)
            async with core.database.begin() as connection:
                await keep_aside(connection, raw, error, "changes", now=now)
            return
        if grant is not None:
            await self._intake.obey(envelope, grant)
