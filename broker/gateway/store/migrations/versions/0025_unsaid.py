"""What each message did to its exchange, and whether it was ever there.

Revision ID: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("thread_event", sa.Column("event", sa.String(length=24), nullable=True))
    op.add_column("thread_event", sa.Column("before", sa.String(length=24), nullable=True))
    op.add_column(
        "thread_event",
        sa.Column("unsaid", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    for name in ("unsaid", "before", "event"):
        op.drop_column("thread_event", name)
