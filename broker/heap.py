"""The collector of cyclic garbage, for a process that has loaded all it needs and now serves.

What is loaded by then (modules, models, keys, statements) lives as long as the process. Walking over
it each time that garbage is looked for takes a tenth of a second, in which nobody is answered.
"""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects made and not freed until the youngest are looked at: a message makes about a thousand."""


def settle() -> None:
    """Leave what there is now out of every later search. Call once, when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
