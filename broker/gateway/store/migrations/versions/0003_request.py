"""What a request said, so that another one under the same business id shows itself.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("request", sa.String(length=43), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "request")
