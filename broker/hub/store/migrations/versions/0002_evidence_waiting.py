"""Evidence behind a full window is found without walking over the envelopes that wait there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_delivery_evidence",
        "delivery",
        ["recipient", "lane", "id"],
        unique=False,
        postgresql_where=sa.text("item = 'evidence'"),
        sqlite_where=sa.text("item = 'evidence'"),
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_evidence", table_name="delivery")
