"""The stray neighbour: enrolled, with an agreement and real keys, and with nonsense to say.

Its envelopes are signed and sealed as they should be, so that they reach the integrator's gateway;
what is inside is what a broken or hostile partner could put there. They are refused with a code,
or end in quarantine, and nothing of them reaches the case system.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from broker.cli.homes.identity import Identity
from broker.client.results import Refusal
from broker.clock import SystemClock
from keys.binding import new_incarnation, uuid7
from keys.sealing import EnvelopeDraft, seal_envelope
from schemas.directory import Compartment
from schemas.envelope import Kind, Lane, Stream
from schemas.errors import RecipientUnknown, Refused

NONSENSE: Final[tuple[bytes, ...]] = (
    b"{\x00\xff not JSON}",
    b'{"type": "referral.request", "type": "referral.accept"}',
    json.dumps({"type": "no.such.type", "case_ref": "XX-1", "body": {}}).encode(),
    b'{"type": "referral.accept"}',
    b'{"type": ' + b"[" * 500 + b"]" * 500 + b"}",
)
"""Not text; a member twice; an unknown type; half a message; too deep."""


class Stray:
    """Sends one kind of nonsense after the other."""

    def __init__(self, identity: Identity, to: str) -> None:
        self._identity = identity
        self._to = to
        self._stream = Stream(incarnation=new_incarnation(), number=1)
        self._sent = 0

    def send(self, agreement: UUID) -> str:
        """Send the next nonsense; returns the id of its envelope.

        Raises:
            Refused: The hub did not take it.
        """
        return asyncio.run(self._send(agreement))

    async def _send(self, agreement: UUID) -> str:
        now = SystemClock().now()
        recipient = self._identity.directory().participant(self._to)
        if recipient is None:
            raise RecipientUnknown(self._to)
        draft = EnvelopeDraft(
            suite=1,
            id=uuid7(now),
            from_=self._identity.participant,
            to=self._to,
            lane=Lane.ROUTINE,
            stream=self._stream.model_copy(update={"number": self._sent + 1}),
            thread=uuid4(),
            kind=Kind.NOTICE,
            issued_at=now,
            expires_at=now + timedelta(days=1),
            agreement=agreement,
        )
        inside = NONSENSE[self._sent % len(NONSENSE)]
        sealed = seal_envelope(
            draft,
            {Compartment.CASEWORK: inside},
            recipient=recipient,
            signer=self._identity.signer(),
            now=now,
        )
        async with self._identity.hub() as hub:
            await hub.claim_incarnation(self._stream.incarnation)
            answer = await hub.submit(sealed.raw)
        if isinstance(answer, Refusal):
            raise Refused(f"the hub refused the nonsense: {answer.code}")
        self._sent += 1
        return str(draft.id)
