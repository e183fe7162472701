"""When somebody must look whether an answer came, and indexes so that looking costs the same for ever.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UNRECEIPTED = "state IN ('queued', 'sending', 'submitted', 'relayed')"


def upgrade() -> None:
    for box in ("outbox", "inbox"):
        op.add_column(box, sa.Column("look_at", UtcDateTime(), nullable=True))
        op.execute(f"UPDATE {box} SET look_at = answer_by WHERE answer_by IS NOT NULL")  # noqa: S608
        _index(f"ix_{box}_look_at", box, ["look_at"], "look_at IS NOT NULL")
    op.drop_index("ix_outbox_unreceipted", "outbox")
    _index(
        "ix_outbox_unreceipted",
        "outbox",
        ["receipt_by"],
        "state IN ('queued', 'sending', 'submitted', 'relayed', 'undelivered')",
    )
    _index("ix_outbox_unfiled", "outbox", ["type", "created_at"], "state IN ('delivered', 'read')")
    _index(
        "ix_inbox_unretrieved",
        "inbox",
        ["received_at"],
        "state IN ('delivered', 'filing', 'held') AND opened_at IS NULL",
    )
    op.add_column("alarm", sa.Column("role", sa.String(length=64), nullable=True))
    _index("ix_alarm_open", "alarm", ["code"], "cleared_at IS NULL")


def downgrade() -> None:
    op.drop_index("ix_alarm_open", "alarm")
    op.drop_column("alarm", "role")
    op.drop_index("ix_inbox_unretrieved", "inbox")
    op.drop_index("ix_outbox_unfiled", "outbox")
    op.drop_index("ix_outbox_unreceipted", "outbox")
    _index("ix_outbox_unreceipted", "outbox", ["receipt_by"], UNRECEIPTED)
    for box in ("outbox", "inbox"):
        op.drop_index(f"ix_{box}_look_at", box)
        op.drop_column(box, "look_at")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    clause = sa.text(where)
    op.create_index(name, table, columns, postgresql_where=clause, sqlite_where=clause)
