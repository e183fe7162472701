"""Indexes of the ledger hold those rows alone that have a case of that side.

Revision ID: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NAMES = ("own_case", "their_case")


def upgrade() -> None:
    for name in NAMES:
        some = sa.text(f"{name} IS NOT NULL")
        op.drop_index(f"ix_disclosure_{name}", "disclosure")
        op.create_index(
            f"ix_disclosure_{name}", "disclosure", [name], postgresql_where=some, sqlite_where=some
        )


def downgrade() -> None:
    for name in NAMES:
        op.drop_index(f"ix_disclosure_{name}", "disclosure")
        op.create_index(f"ix_disclosure_{name}", "disclosure", [name])
