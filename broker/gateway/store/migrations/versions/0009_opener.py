"""Which type opened a thread: an answer to one question is no answer to another.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("thread", sa.Column("opener", sa.String(length=60), nullable=True))


def downgrade() -> None:
    op.drop_column("thread", "opener")
