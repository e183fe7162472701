"""Which message of the other side is the newest in a thread, so that an overtaken one is known.

Revision ID: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("thread", sa.Column("heard", sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column("thread", "heard")
