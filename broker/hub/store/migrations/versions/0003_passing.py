"""Withdrawals and safety alerts pass a full window, as evidence does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_PASSING = sa.text("item != 'envelope'")
_EVIDENCE = sa.text("item = 'evidence'")


def upgrade() -> None:
    op.execute(
        "UPDATE delivery SET item = 'passing' WHERE item = 'envelope' AND object_id IN "
        "(SELECT id FROM envelope WHERE kind IN ('withdrawal', 'safety'))"
    )
    op.drop_index("ix_delivery_evidence", table_name="delivery")
    op.create_index(
        "ix_delivery_passing",
        "delivery",
        ["recipient", "lane", "id"],
        unique=False,
        postgresql_where=_PASSING,
        sqlite_where=_PASSING,
    )


def downgrade() -> None:
    op.execute("UPDATE delivery SET item = 'envelope' WHERE item = 'passing'")
    op.drop_index("ix_delivery_passing", table_name="delivery")
    op.create_index(
        "ix_delivery_evidence",
        "delivery",
        ["recipient", "lane", "id"],
        unique=False,
        postgresql_where=_EVIDENCE,
        sqlite_where=_EVIDENCE,
    )
