"""Whether the hub can keep its promises just now: sign, record, publish, tell who is who.

Nothing here is latched: each question is asked anew, so red turns green by itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from broker.hub.state import Hub
from keys.ceremony.roles import ending_roles
from keys.rotation import days_left, warnings
from schemas.errors import BrokerError, LogUnavailable

PROBE = b"referral-broker/1 probe\n"
"""Never the beginning of a JWS, so that this signature is good for nothing."""


def what_ends(hub: Hub) -> dict[str, int]:
    """What ends soon, with the step of days reached: our own keys, and roles of the directory.

    Nothing is wrong yet, so this turns nothing red.
    """
    now = hub.clock.now()
    try:
        directory = hub.directory.current()
    except BrokerError:
        return {}
    entry = directory.participant(hub.settings.hub)
    keys = warnings(entry.keys, now) if entry else ()
    found = {f"{key.use}-key": days for key, days in keys}
    found |= {f"role-{role}": days for role, days in ending_roles(directory.role_ends, now).items()}
    return found


async def reasons_not_ready(hub: Hub) -> list[str]:
    """The codes of what is wrong; empty if the hub may be sent work."""
    codes: set[str] = set()
    if not hub.ready.is_set():
        codes.add("starting")
    try:
        hub.directory.current()
    except BrokerError as error:
        codes.add((hub.directory.refused or error).code)
    else:
        try:
            hub.signer().sign(PROBE)
        except BrokerError as error:
            codes.add(error.code)
    try:
        hub.require_log()
    except LogUnavailable as error:
        codes.add(error.code)
    try:
        await hub.database.require_writable()
    except BrokerError as error:
        codes.add(error.code)
    if hub.publishing is not None:
        codes.add(hub.publishing.code)
    hub.metrics.healthy.set(0 if codes else 1)
    _count_days(hub)
    return sorted(codes)


def _count_days(hub: Hub) -> None:
    now = hub.clock.now()
    try:
        directory = hub.directory.current()
    except BrokerError:
        return
    left = hub.metrics.days_left
    entry = directory.participant(hub.settings.hub)
    if entry is not None:
        left.labels("sign-key").set(days_left(entry.keys, now))
    for role, end in directory.role_ends.items():
        left.labels(f"role-{role}").set(_days(end, now))


def _days(end: datetime, now: datetime) -> float:
    return max(0.0, (end - now) / timedelta(days=1))
