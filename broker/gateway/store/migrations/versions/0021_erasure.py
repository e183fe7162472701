"""One kind of order for all that is erased, whatever the cause; holds; until when a grant's data stay.

Revision ID: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_STOPPED = sa.text("state = 'stopped'")
_ONWARD = sa.text("onward_due")
_OPEN = sa.text("outcome = 'unknown' AND store IN ('vault', 'case-system', 'onward')")
_RETAINED = sa.text("retain_until IS NOT NULL")
_KEPT = "message, digest, \"by\", onward_due, state, attempts, next_attempt_at, at"


def upgrade() -> None:
    op.create_table(
        "erasure_order",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(length=12), nullable=False),
        sa.Column("about", sa.Uuid(), nullable=False),
        sa.Column("by", sa.String(length=66), nullable=False),
        sa.Column("digest", sa.String(length=43), nullable=False),
        sa.Column("grant", sa.Uuid(), nullable=True),
        sa.Column("case_ref", sa.String(length=64), nullable=True),
        sa.Column("ground", sa.String(length=40), nullable=True),
        sa.Column("business_ids", sa.Text(), nullable=False),
        sa.Column("sections", sa.Text(), nullable=False),
        sa.Column("refs", sa.Text(), nullable=False),
        sa.Column("onward_due", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "cause IN ('withdrawal','notice','recall','ended','retention')",
            name=op.f("ck_erasure_order_cause"),
        ),
        sa.CheckConstraint(
            "state IN ('stopped','kept','erased')", name=op.f("ck_erasure_order_state")
        ),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_erasure_order")),
    )
    for name, where in (("due", _STOPPED), ("onward", _ONWARD)):
        op.create_index(
            f"ix_erasure_order_{name}",
            "erasure_order",
            ["next_attempt_at"],
            postgresql_where=where,
            sqlite_where=where,
        )
    op.create_index("ix_erasure_order_about", "erasure_order", ["about"])
    op.execute(
        f"INSERT INTO erasure_order ({_KEPT}, cause, about, \"grant\", business_ids, sections, "
        f"refs, issued_at) SELECT {_KEPT}, 'withdrawal', \"grant\", \"grant\", '[]', '[]', '[]', "
        "at FROM withdrawal"
    )
    op.drop_index("ix_withdrawal_due", table_name="withdrawal")
    op.drop_table("withdrawal")
    op.create_table(
        "erasure_onward",
        sa.Column("notice", sa.Uuid(), nullable=False),
        sa.Column("order", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.String(length=66), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("notice", name=op.f("pk_erasure_onward")),
    )
    op.create_index(op.f("ix_erasure_onward_order"), "erasure_onward", ["order"])
    op.create_table(
        "hold",
        sa.Column("about", sa.String(length=131), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("about", name=op.f("pk_hold")),
    )
    op.execute('ALTER TABLE erasure RENAME COLUMN "grant" TO about')
    op.create_index(
        "ix_erasure_open", "erasure", ["at"], postgresql_where=_OPEN, sqlite_where=_OPEN
    )
    op.add_column("inbox", sa.Column("erased_about", sa.Uuid(), nullable=True))
    op.execute("UPDATE inbox SET erased_about = \"grant\" WHERE state = 'erased'")
    op.add_column("grant", sa.Column("retain_until", sa.Date(), nullable=True))
    op.create_index(
        "ix_grant_retain_until",
        "grant",
        ["retain_until"],
        postgresql_where=_RETAINED,
        sqlite_where=_RETAINED,
    )


def downgrade() -> None:
    op.drop_index("ix_grant_retain_until", table_name="grant")
    op.drop_column("grant", "retain_until")
    op.drop_column("inbox", "erased_about")
    op.drop_index("ix_erasure_open", table_name="erasure")
    op.execute('ALTER TABLE erasure RENAME COLUMN about TO "grant"')
    op.drop_table("hold")
    op.drop_index(op.f("ix_erasure_onward_order"), table_name="erasure_onward")
    op.drop_table("erasure_onward")
    op.create_table(
        "withdrawal",
        sa.Column("message", sa.Uuid(), nullable=False),
        sa.Column("grant", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=43), nullable=False),
        sa.Column("by", sa.String(length=66), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("onward_due", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('stopped','erased')", name=op.f("ck_withdrawal_state")),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_withdrawal")),
    )
    op.create_index(
        "ix_withdrawal_due",
        "withdrawal",
        ["next_attempt_at"],
        postgresql_where=_STOPPED,
        sqlite_where=_STOPPED,
    )
    op.execute(
        f"INSERT INTO withdrawal ({_KEPT}, \"grant\", scopes) SELECT {_KEPT}, \"grant\", '[]' "
        "FROM erasure_order WHERE cause = 'withdrawal' AND state <> 'kept'"
    )
    op.drop_index("ix_erasure_order_about", table_name="erasure_order")
    op.drop_index("ix_erasure_order_onward", table_name="erasure_order")
    op.drop_index("ix_erasure_order_due", table_name="erasure_order")
    op.drop_table("erasure_order")
