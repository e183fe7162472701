"""Whether the hub can keep its promises just now: sign, record, publish, tell who is who.

Nothing here is latched: each question is asked anew, so red turns green by itself.
"""

from __future__ import annotations

from broker.hub.state import Hub
from schemas.errors import BrokerError, LogUnavailable

PROBE = b"referral-broker/1 probe\n"
"""Never the beginning of a JWS, so that this signature is good for nothing."""


async def reasons_not_ready(hub: Hub) -> list[str]:
    """The codes of what is wrong; empty if the hub may be sent work."""
    codes: set[str] = set()
    if not hub.ready.is_set():
        codes.add("starting")
    try:
        hub.directory.current()
        hub.signer().sign(PROBE)
    except BrokerError as error:
        codes.add(error.code)
    if not hub.sequencer.healthy(hub.clock.now()):
        codes.add(LogUnavailable.code)
    try:
        await hub.database.require_writable()
    except BrokerError as error:
        codes.add(error.code)
    if hub.publishing is not None:
        codes.add(hub.publishing.code)
    hub.metrics.healthy.set(0 if codes else 1)
    return sorted(codes)
