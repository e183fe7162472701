"""What this hub has signed and, since an older copy of its database was put back, does not have.

Revision ID: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_testimony",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("participant", sa.String(length=67), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "participant", name=op.f("pk_log_testimony")),
    )
    op.create_table(
        "log_ended",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("origin", name=op.f("pk_log_ended")),
    )


def downgrade() -> None:
    op.drop_table("log_ended")
    op.drop_table("log_testimony")
