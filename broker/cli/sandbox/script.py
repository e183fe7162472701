"""What the scripted partner does with what it receives. Pure; `partner.py` does it.

Each referral that arrives gets the next behaviour of the script, over and over:

| word | the partner |
|---|---|
| `accept` | takes it up, accepts, reports, and closes it |
| `decline` | declines, with a reason |
| `ask` | asks a question, and accepts once it is answered |
| `redirect` | names somebody else |
| `withdraw` | accepts, then hears from the person that consent is withdrawn |
| `silent` | reads it and never answers |
| `garbage` | lets a stray neighbour send what nobody can read |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

from schemas.errors import SchemaRefused


@dataclass(frozen=True, slots=True)
class Say:
    """Send this answer."""

    type: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AwaitReply:
    """Go on only when the other side has said this."""

    type: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The person withdraws the consent under which it came."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A neighbour sends what nobody can read."""


Move = Say | AwaitReply | Withdraw | Garbage

_ROLE: Final = {"worker_role": "case worker of the sandbox"}
_TAKEN_UP: Final = Say("referral.received", _ROLE)
_ACCEPTED: Final = Say("referral.accept", _ROLE)

BEHAVIOURS: Final[Mapping[str, tuple[Move, ...]]] = {
    "accept": (
        _TAKEN_UP,
        _ACCEPTED,
        Say("referral.interim", {"progress": "started"}),
        Say("referral.outcome", {"result": "service_given"}),
    ),
    "decline": (Say("referral.decline", {"reason": "no_capacity"}),),
    "ask": (
        Say(
            "referral.clarify.request",
            {
                "question": "Which language for the interpreter?",
                "fields": ["demographics_language"],
            },
        ),
        AwaitReply("referral.clarify.reply"),
        _ACCEPTED,
    ),
    "redirect": (Say("referral.redirect", {"to": "PARTNER.other"}),),
    "withdraw": (_ACCEPTED, Withdraw()),
    "silent": (),
    "garbage": (Garbage(),),
}
DEFAULT: Final = "accept,decline,ask,withdraw,silent,garbage"


def script(words: str) -> Iterator[str]:
    """The behaviours of a script, for ever.

    Raises:
        SchemaRefused: Names what is no behaviour.
    """
    chosen = [word.strip() for word in words.split(",") if word.strip()]
    if unknown := [word for word in chosen if word not in BEHAVIOURS]:
        raise SchemaRefused(
            f"no such behaviour; there are {', '.join(BEHAVIOURS)}", where=tuple(unknown)
        )
    if not chosen:
        raise SchemaRefused("an empty script")
    return cycle(chosen)


@dataclass(slots=True)
class Conversation:
    """One referral that arrived, and how far the script is with it."""

    message: str
    thread: str
    grant: str | None
    behaviour: str
    done: int = 0

    @property
    def next_move(self) -> Move | None:
        """What is to be done now; None at the end of the script."""
        moves = BEHAVIOURS[self.behaviour]
        return moves[self.done] if self.done < len(moves) else None
