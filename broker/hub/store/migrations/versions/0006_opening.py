"""What opens the leaves that are not evidence, for auditors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "opening",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=True),
        sa.Column("parties", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opening")),
    )
    op.create_index(op.f("ix_opening_grant_id"), "opening", ["grant_id"])
    op.create_index(op.f("ix_opening_recorded_at"), "opening", ["recorded_at"])


def downgrade() -> None:
    op.drop_table("opening")
