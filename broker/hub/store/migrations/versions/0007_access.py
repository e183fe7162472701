"""The password of a participant's RabbitMQ user has a number, so that it can be another.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "participant", sa.Column("access", sa.Integer(), server_default="0", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("participant", "access")
