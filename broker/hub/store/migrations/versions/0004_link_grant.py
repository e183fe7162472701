"""A withdrawal finds the files that went under its grant without a walk over all envelopes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attachment_link", sa.Column("grant_id", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE attachment_link SET grant_id = (SELECT envelope.grant_id FROM envelope "
        "WHERE envelope.id = attachment_link.envelope_id "
        "AND envelope.kind NOT IN ('withdrawal', 'safety'))"
    )
    op.create_index(
        "ix_attachment_link_grant_id", "attachment_link", ["grant_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_attachment_link_grant_id", table_name="attachment_link")
    op.drop_column("attachment_link", "grant_id")
