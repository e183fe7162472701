"""What protects the person of a case, who may know it, and the ways to find a case by.

Revision ID: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "safeguard",
        sa.Column("about", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(length=36), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("about", name=op.f("pk_safeguard")),
    )
    op.add_column(
        "worker",
        sa.Column("may_know", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("ix_inbox_case_ref", "inbox", ["case_ref"])
    for name in ("reference", "recipient_case_ref"):
        known = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_inbox_{name}", "inbox", [name], postgresql_where=known, sqlite_where=known
        )


def downgrade() -> None:
    for name in ("recipient_case_ref", "reference", "case_ref"):
        op.drop_index(f"ix_inbox_{name}", table_name="inbox")
    op.drop_column("worker", "may_know")
    op.drop_table("safeguard")
