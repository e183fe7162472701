"""Turns the clock of every Python process that finds this folder on its path: hub, gateways, commands.

Nothing in the product can be told another time, and nothing shall be; so the processes of a test find
this file where Python looks for such things by itself (`site`). How far is in a file, in seconds, and
is asked each time, so that a running process lives through weeks.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from broker.clock import SystemClock

_FILE = Path(os.environ["TURNED_CLOCK"])
_now, _time = SystemClock.now, time.time


def _offset() -> float:
    return float(_FILE.read_text())


def _turned_now(self: SystemClock) -> datetime:
    return _now(self) + timedelta(seconds=_offset())


SystemClock.now = _turned_now  # type: ignore[method-assign]
time.time = lambda: _time() + _offset()  # what servers date their answers by
