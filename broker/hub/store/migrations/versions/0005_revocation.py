"""Revocations of keys, and how many of them every process must know before it decides anything."""

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
        "revocation",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("participant", sa.String(length=67), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_revocation")),
        sa.UniqueConstraint("id", name=op.f("uq_revocation_id")),
    )
    op.add_column(
        "directory_version",
        sa.Column("revocations", sa.BigInteger(), server_default="0", nullable=False),
    )


def downgrade() -> None:
    op.drop_column("directory_version", "revocations")
    op.drop_table("revocation")
