"""What a case system could not take of a referral, to be said to its sender.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "case_report",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("answer", sa.Uuid(), nullable=True),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message"], ["inbox.id"], name=op.f("fk_case_report_message_inbox")
        ),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_case_report")),
    )
    due = sa.text("state = 'due'")
    op.create_index(
        "ix_case_report_due",
        "case_report",
        ["next_attempt_at"],
        postgresql_where=due,
        sqlite_where=due,
    )


def downgrade() -> None:
    op.drop_table("case_report")
