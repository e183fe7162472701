"""Of whom a person's rights were asked, and what may not be used for the time being.

Revision ID: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "right_told",
        sa.Column("asked", sa.Uuid(), nullable=False),
        sa.Column("partner", sa.String(length=66), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("own_case", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Uuid(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("asked", "partner", "number", name=op.f("pk_right_told")),
    )
    op.create_index("ix_right_told_own_case", "right_told", ["own_case"])
    op.create_table(
        "restriction",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("by", sa.String(length=66), nullable=False),
        sa.Column("case_ref", sa.String(length=64), nullable=False),
        sa.Column("about", sa.Uuid(), nullable=True),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_restriction")),
    )
    op.create_index("ix_restriction_case_ref", "restriction", ["case_ref"])


def downgrade() -> None:
    op.drop_table("restriction")
    op.drop_table("right_told")
