"""Tables of erasing: what is to go and why, whom we passed it on to, who attested what, what is held.

Ids, section names, times and codes; no content, so that they stay when content is erased.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
)

from broker.database import UtcDateTime
from broker.gateway.store.tables.columns import Code, Participant, Sha, metadata

erasure_order = Table(
    "erasure_order",
    metadata,
    Column("message", Uuid, primary_key=True),
    Column("cause", String(12), nullable=False),
    Column("about", Uuid, nullable=False),
    Column("by", Participant, nullable=False),
    Column("digest", Sha, nullable=False),
    Column("grant", Uuid),
    Column("case_ref", String(64)),
    Column("ground", Code),
    Column("business_ids", Text, nullable=False),
    Column("sections", Text, nullable=False),
    Column("refs", Text, nullable=False),
    Column("onward_due", Boolean, nullable=False),
    Column("state", String(12), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint("cause IN ('withdrawal','notice','recall','ended','retention')", name="cause"),
    CheckConstraint("state IN ('stopped','kept','erased')", name="state"),
)
"""Something to erase, and because of what. The stop is in force at once, erasing is work that survives
a crash, and nothing is attested before it is done.

`message` ordered it: an envelope; a thread that ended; a grant whose time is over. `about` is what
its attestations are kept under: the grant, else the message. `digest`: of the envelope, empty if
nobody is to be told about that one. `refs`: items of the vault that no message names any more.
`kept`: done but for what is held here on a ground. `onward_due`: somebody to whom we passed the data
on has attested since, and whoever we had it from is still to be told."""
Index(
    "ix_erasure_order_due",
    erasure_order.c.next_attempt_at,
    postgresql_where=erasure_order.c.state == "stopped",
    sqlite_where=erasure_order.c.state == "stopped",
)
Index(
    "ix_erasure_order_onward",
    erasure_order.c.next_attempt_at,
    postgresql_where=erasure_order.c.onward_due,
    sqlite_where=erasure_order.c.onward_due,
)
Index("ix_erasure_order_about", erasure_order.c.about)

erasure_onward = Table(
    "erasure_onward",
    metadata,
    Column("notice", Uuid, primary_key=True),
    Column("order", Uuid, nullable=False, index=True),
    Column("recipient", Participant, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""Our own erasure notices to those who had it from us, and the order that each of them passes on."""

erasure = Table(
    "erasure",
    metadata,
    Column("about", Uuid, primary_key=True),
    Column("by", Participant, primary_key=True),
    Column("store", String(12), primary_key=True),
    Column("outcome", String(8), nullable=False),
    Column("basis", String(64)),
    Column("epoch", Integer),
    Column("at", UtcDateTime, nullable=False),
    Column("message", Uuid, nullable=False),
)
"""Who attested what of which store, under signature: about a grant, or about an erasure notice."""
WAITED_FOR = ("vault", "case-system", "onward")
"""Stores of which somebody must say some day that they are erased, or why not."""
_OPEN = (erasure.c.outcome == "unknown") & erasure.c.store.in_(WAITED_FOR)
Index("ix_erasure_open", erasure.c.at, postgresql_where=_OPEN, sqlite_where=_OPEN)

hold = Table(
    "hold",
    metadata,
    Column("about", String(131), primary_key=True),
    Column("basis", String(64), nullable=False),
    Column("worker", String(64), nullable=False),
    Column("since", UtcDateTime, nullable=False),
)
"""What must not be destroyed for now, and on which ground: a case by our number or as
`partner:number`, or one referral by its business id."""
