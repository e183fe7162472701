"""Waiting for what has no event of its own: look again and again, and say what did not come."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable


async def until(
    what: str, look: Callable[[], object], *, seconds: float = 60.0, pause: float = 0.02
) -> None:
    """Return as soon as `look` finds something; others have their turn meanwhile.

    Args:
        look: Asked again and again; awaited, if there is something to await.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        await asyncio.sleep(pause)
