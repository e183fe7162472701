"""Our own clock on what is owed: by others to us, and by us to others.

`rounds` looks again and again, `answers` decides about answers, `testimony` signs what did not come.
"""

from broker.gateway.deadlines.rounds import Deadlines

__all__ = ["Deadlines"]
