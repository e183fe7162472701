"""The newest high-water mark of each stream, as its sender signed it.

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


def upgrade() -> None:
    op.create_table(
        "stream_mark",
        sa.Column("sender", sa.String(length=67), nullable=False),
        sa.Column("recipient", sa.String(length=67), nullable=False),
        sa.Column("lane", sa.String(length=8), nullable=False),
        sa.Column("incarnation", sa.String(length=22), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "sender", "recipient", "lane", "incarnation", name=op.f("pk_stream_mark")
        ),
    )


def downgrade() -> None:
    op.drop_table("stream_mark")
