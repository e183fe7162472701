"""Which key signed what was received, so that a key in other hands shows what it may have forged.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("signed_by", sa.String(length=43), nullable=True))


def downgrade() -> None:
    op.drop_column("inbox", "signed_by")
