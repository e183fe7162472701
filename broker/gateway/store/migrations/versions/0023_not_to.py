"""Whom partners say that a person wants nothing to reach.

Revision ID: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "told_exclusion",
        sa.Column("partner", sa.String(length=66), nullable=False),
        sa.Column("case_ref", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(length=36), nullable=True),
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "case_ref", name=op.f("pk_told_exclusion")),
    )
    op.create_index("ix_told_exclusion_case_ref", "told_exclusion", ["case_ref"])


def downgrade() -> None:
    op.drop_index("ix_told_exclusion_case_ref", table_name="told_exclusion")
    op.drop_table("told_exclusion")
