"""Where the database lies, so that a copy of it shows itself.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity", sa.Column("place", sa.String(length=43), nullable=True))


def downgrade() -> None:
    op.drop_column("identity", "place")
