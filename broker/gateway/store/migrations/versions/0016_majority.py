"""Until when a guardian's word counts under a grant of ours; when a person must be told.

Revision ID: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grant", sa.Column("guardian_until", sa.Date(), nullable=True))
    for name in ("tell_by", "told_at"):
        op.add_column("exception_request", sa.Column(name, UtcDateTime(), nullable=True))
    guarded = sa.text("guardian_until IS NOT NULL")
    op.create_index(
        "ix_grant_guardian_until",
        "grant",
        ["guardian_until"],
        postgresql_where=guarded,
        sqlite_where=guarded,
    )


def downgrade() -> None:
    op.drop_index("ix_grant_guardian_until", table_name="grant")
    for name in ("told_at", "tell_by"):
        op.drop_column("exception_request", name)
    op.drop_column("grant", "guardian_until")
