"""Which case a message is a later version of.

Revision ID: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("supersedes", sa.Uuid(), nullable=True))
    op.add_column(
        "inbox", sa.Column("in_part", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("inbox", "in_part")
    op.drop_column("inbox", "supersedes")
