"""The person's rights: her copy, the list of who has what, corrections, erasure, a stop, a complaint."""

from __future__ import annotations

from functools import partial

from schemas.bodies import rights as bodies
from schemas.envelope import Kind, Lane
from schemas.families.base import ANY_SECTION, NOTHING, Chapter, Direction, MessageType
from schemas.families.deadline import ONE_MONTH, days, hours

_ask = partial(MessageType, chapter=Chapter.RIGHTS, machine="inquiry")
_tell = partial(MessageType, chapter=Chapter.RIGHTS, machine="notice")
_always = partial(_tell, lane=Lane.URGENT, preconditions=NOTHING)
"""What must get through although the two exchange nothing any more (docs/adr/0010)."""

TYPES: tuple[MessageType, ...] = (
    _ask(
        "access.request",
        Kind.NOTICE,
        bodies.AccessRequest,
        Direction.FORWARD,
        "ask",
        opens=True,
        replies=("access.reply", "disclosure.list"),
        deadline=ONE_MONTH,
    ),
    _ask(
        "access.reply",
        Kind.ANSWER,
        bodies.AccessReply,
        Direction.BACK,
        "answer",
        permitted_sections=ANY_SECTION,
    ),
    _ask("disclosure.list", Kind.ANSWER, bodies.DisclosureList, Direction.BACK, "take_up"),
    _tell(
        "rectify.notice",
        Kind.NOTICE,
        bodies.Rectify,
        Direction.FORWARD,
        "tell",
        opens=True,
        permitted_sections=ANY_SECTION,
        replies=("rectify.ack",),
        deadline=days(7),
        filed=True,
    ),
    _tell("rectify.ack", Kind.ANSWER, bodies.RightDone, Direction.BACK, "acknowledge"),
    _always(
        "erase.notice",
        Kind.RIGHTS,
        bodies.Erase,
        Direction.FORWARD,
        "tell",
        opens=True,
        replies=("erase.ack",),
        deadline=ONE_MONTH,
    ),
    _always(
        "erase.ack",
        Kind.RIGHTS,
        bodies.RightDone,
        Direction.BACK,
        "acknowledge",
        also={"referral": "attest"},
    ),
    _always(
        "restrict.notice",
        Kind.RIGHTS,
        bodies.Restrict,
        Direction.FORWARD,
        "tell",
        opens=True,
        replies=("referral.received",),
        deadline=hours(24),
    ),
    _always("restrict.lift", Kind.RIGHTS, bodies.RestrictLift, Direction.FORWARD, "lift"),
    # Ours: the gateway says it by itself when the list of a case changes.
    _always("exclude.notice", Kind.RIGHTS, bodies.Exclude, Direction.FORWARD, "tell", opens=True),
    _ask(
        "complaint.submit",
        Kind.NOTICE,
        bodies.Complaint,
        Direction.FORWARD,
        "ask",
        opens=True,
        replies=("complaint.reply",),
        deadline=ONE_MONTH,
    ),
    _ask("complaint.reply", Kind.ANSWER, bodies.ComplaintReply, Direction.BACK, "answer"),
)
