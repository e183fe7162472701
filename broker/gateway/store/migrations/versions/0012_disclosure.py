"""Who got which section when, on which basis: the ledger of a person's disclosures.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "disclosure",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("way", sa.String(length=8), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("partner", sa.String(length=66), nullable=False),
        sa.Column("own_case", sa.String(length=64), nullable=True),
        sa.Column("their_case", sa.String(length=131), nullable=True),
        sa.Column("thread", sa.Uuid(), nullable=False),
        sa.Column("business_id", sa.Uuid(), nullable=False),
        sa.Column("derived_from", sa.Uuid(), nullable=True),
        sa.Column("grant", sa.Uuid(), nullable=True),
        sa.Column("exception", sa.String(length=30), nullable=True),
        sa.Column("sections", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_disclosure")),
    )
    for name in ("own_case", "their_case", "thread"):
        op.create_index(f"ix_disclosure_{name}", "disclosure", [name])
    some = sa.text("derived_from IS NOT NULL")
    op.create_index(
        "ix_disclosure_derived_from",
        "disclosure",
        ["derived_from"],
        postgresql_where=some,
        sqlite_where=some,
    )


def downgrade() -> None:
    op.drop_table("disclosure")
