"""Decisions that pass between the case system and the exchange after the filing.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "case_news",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("business_id", sa.Uuid(), nullable=True),
        sa.Column("message", sa.Uuid(), nullable=True),
        sa.Column("step", sa.String(length=12), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=True),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("answer", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message"], ["inbox.id"], name=op.f("fk_case_news_message_inbox")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_news")),
    )
    held = sa.text("state = 'held'")
    op.create_index(
        "ix_case_news_held", "case_news", ["seen_at"], postgresql_where=held, sqlite_where=held
    )
    op.create_table(
        "case_told",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message"], ["inbox.id"], name=op.f("fk_case_told_message_inbox")
        ),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_case_told")),
    )
    due = sa.text("state = 'due'")
    op.create_index(
        "ix_case_told_due", "case_told", ["next_attempt_at"], postgresql_where=due, sqlite_where=due
    )
    op.create_table(
        "case_cursor",
        sa.Column("system", sa.String(length=40), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("system", name=op.f("pk_case_cursor")),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])


def downgrade() -> None:
    op.drop_index("ix_inbox_received_at", table_name="inbox")
    for name in ("case_cursor", "case_told", "case_news"):
        op.drop_table(name)
