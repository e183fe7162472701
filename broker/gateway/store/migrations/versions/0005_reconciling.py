"""What is in doubt, how far each stream was reconciled, and until which epoch backups hold a copy.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "doubt",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_doubt")),
    )
    op.create_table(
        "stream_in",
        sa.Column("sender", sa.String(length=66), nullable=False),
        sa.Column("lane", sa.String(length=8), nullable=False),
        sa.Column("incarnation", sa.String(length=22), nullable=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "lane", "incarnation", name=op.f("pk_stream_in")),
    )
    op.add_column("erasure", sa.Column("epoch", sa.Integer(), nullable=True))
    # The first migration makes the vault's tables as they are today.
    if "begun_at" not in {one["name"] for one in sa.inspect(op.get_bind()).get_columns("vault_epoch")}:
        op.add_column("vault_epoch", sa.Column("begun_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("vault_epoch", "begun_at")
    op.drop_column("erasure", "epoch")
    op.drop_table("stream_in")
    op.drop_table("doubt")
