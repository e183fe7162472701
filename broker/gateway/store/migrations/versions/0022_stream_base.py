"""The numbers of each of our streams that belong to earlier incarnations of the database.

Revision ID: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stream", sa.Column("base", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("stream", "base")
