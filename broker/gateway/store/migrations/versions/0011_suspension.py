"""Who holds an agreement is told by what they signed, and kept.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suspension",
        sa.Column("agreement", sa.Uuid(), nullable=False),
        sa.Column("by", sa.String(length=66), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("agreement", "by", name=op.f("pk_suspension")),
    )
    # Until the hub is asked, an agreement that was held is none.
    op.execute("DELETE FROM agreement WHERE suspended")
    op.drop_column("agreement", "suspended")


def downgrade() -> None:
    op.add_column(
        "agreement",
        sa.Column("suspended", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.drop_table("suspension")
