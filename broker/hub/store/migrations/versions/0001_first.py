"""The hub's first tables, and its log's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import broker.database
from broker.audit.log.store import create_log_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_log_tables(op.get_bind())
    op.create_table('agreement',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('one', sa.String(length=67), nullable=False),
    sa.Column('other', sa.String(length=67), nullable=False),
    sa.Column('lanes', sa.String(length=20), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('valid_until', sa.Date(), nullable=False),
    sa.Column('suspended', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('registered_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_agreement'))
    )
    op.create_index('ix_agreement_one', 'agreement', ['one'], unique=False)
    op.create_index('ix_agreement_other', 'agreement', ['other'], unique=False)
    op.create_table('attachment',
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('uploader', sa.String(length=67), nullable=False),
    sa.Column('upload', sa.Uuid(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('uploaded_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('digest', 'uploader', name=op.f('pk_attachment'))
    )
    op.create_index('ix_attachment_uploaded_at', 'attachment', ['uploaded_at'], unique=False)
    op.create_table('attachment_chunk',
    sa.Column('upload', sa.Uuid(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('data', sa.LargeBinary(), nullable=False),
    sa.Column('stored_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('upload', 'number', name=op.f('pk_attachment_chunk'))
    )
    op.create_index('ix_attachment_chunk_stored_at', 'attachment_chunk', ['stored_at'], unique=False)
    op.create_table('consent_grant',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('giver', sa.String(length=67), nullable=False),
    sa.Column('recipient', sa.String(length=67), nullable=False),
    sa.Column('scopes', sa.Text(), nullable=False),
    sa.Column('removed', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('until', sa.Date(), nullable=False),
    sa.Column('derived_from', sa.Uuid(), nullable=True),
    sa.Column('withdrawn', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('registered_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('changed_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_consent_grant'))
    )
    op.create_index('ix_consent_grant_derived_from', 'consent_grant', ['derived_from'], unique=False)
    op.create_table('delivery',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('recipient', sa.String(length=67), nullable=False),
    sa.Column('lane', sa.String(length=8), nullable=False),
    sa.Column('item', sa.String(length=8), nullable=False),
    sa.Column('object_id', sa.Uuid(), nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=True),
    sa.Column('due_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('relayed', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_delivery'))
    )
    op.create_index('ix_delivery_grant_id', 'delivery', ['grant_id'], unique=False, postgresql_where=sa.text('grant_id IS NOT NULL'), sqlite_where=sa.text('grant_id IS NOT NULL'))
    op.create_index('ix_delivery_object_id', 'delivery', ['object_id'], unique=False)
    op.create_index('ix_delivery_recipient', 'delivery', ['recipient', 'lane', 'id'], unique=False)
    op.create_table('directory_version',
    sa.Column('one', sa.SmallInteger(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('seen_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('one', name=op.f('pk_directory_version'))
    )
    op.create_table('envelope',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=True),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('sender', sa.String(length=67), nullable=False),
    sa.Column('recipient', sa.String(length=67), nullable=False),
    sa.Column('lane', sa.String(length=8), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('thread', sa.Uuid(), nullable=False),
    sa.Column('suite', sa.SmallInteger(), nullable=False),
    sa.Column('reply', sa.Boolean(), nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=True),
    sa.Column('scopes', sa.Text(), nullable=True),
    sa.Column('until', sa.Date(), nullable=True),
    sa.Column('to_keys', sa.Text(), nullable=False),
    sa.Column('agreement_id', sa.Uuid(), nullable=True),
    sa.Column('issued_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('incarnation', sa.String(length=22), nullable=False),
    sa.Column('stream_number', sa.BigInteger(), nullable=False),
    sa.Column('signed_by', sa.String(length=43), nullable=False),
    sa.Column('directory_version', sa.BigInteger(), nullable=False),
    sa.Column('accepted_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('expires_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('standing', sa.SmallInteger(), nullable=False),
    sa.Column('standing_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('check_at', broker.database.UtcDateTime(), nullable=True),
    sa.Column('evidence_id', sa.Uuid(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_envelope')),
    sa.UniqueConstraint('sender', 'recipient', 'lane', 'incarnation', 'stream_number', name=op.f('uq_envelope_sender'))
    )
    op.create_index('ix_envelope_check_at', 'envelope', ['check_at'], unique=False, postgresql_where=sa.text('check_at IS NOT NULL'), sqlite_where=sa.text('check_at IS NOT NULL'))
    op.create_index('ix_envelope_expires_at', 'envelope', ['expires_at'], unique=False)
    op.create_table('evidence',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('by', sa.String(length=67), nullable=False),
    sa.Column('to', sa.String(length=67), nullable=True),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('recorded_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('directory_version', sa.BigInteger(), nullable=False),
    sa.Column('leaf', sa.LargeBinary(), nullable=False),
    sa.Column('salt', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_evidence'))
    )
    op.create_index('ix_evidence_recorded_at', 'evidence', ['recorded_at'], unique=False)
    op.create_table('fact',
    sa.Column('envelope_id', sa.Uuid(), nullable=False),
    sa.Column('evidence_id', sa.Uuid(), nullable=False),
    sa.Column('fact', sa.String(length=12), nullable=False),
    sa.Column('at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=True),
    sa.PrimaryKeyConstraint('envelope_id', 'evidence_id', 'fact', name=op.f('pk_fact'))
    )
    op.create_table('obligation',
    sa.Column('request_id', sa.Uuid(), nullable=False),
    sa.Column('thread', sa.Uuid(), nullable=False),
    sa.Column('asked_by', sa.String(length=67), nullable=False),
    sa.Column('owed_by', sa.String(length=67), nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=True),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('answer_by', broker.database.UtcDateTime(), nullable=True),
    sa.Column('paused_at', broker.database.UtcDateTime(), nullable=True),
    sa.Column('changed_at', broker.database.UtcDateTime(), nullable=False),
    sa.Column('check_at', broker.database.UtcDateTime(), nullable=True),
    sa.Column('expires_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('request_id', name=op.f('pk_obligation'))
    )
    op.create_index('ix_obligation_check_at', 'obligation', ['check_at'], unique=False, postgresql_where=sa.text('check_at IS NOT NULL'), sqlite_where=sa.text('check_at IS NOT NULL'))
    op.create_index('ix_obligation_expires_at', 'obligation', ['expires_at'], unique=False)
    op.create_index('ix_obligation_grant_id', 'obligation', ['grant_id'], unique=False, postgresql_where=sa.text("state IN ('asked', 'overdue')"), sqlite_where=sa.text("state IN ('asked', 'overdue')"))
    op.create_index('ix_obligation_thread', 'obligation', ['thread'], unique=False)
    op.create_table('participant',
    sa.Column('id', sa.String(length=67), nullable=False),
    sa.Column('incarnation', sa.String(length=22), nullable=True),
    sa.Column('incarnation_until', broker.database.UtcDateTime(), nullable=True),
    sa.Column('channel', sa.String(length=8), server_default=sa.text("'mailbox'"), nullable=False),
    sa.Column('seen_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_participant'))
    )
    op.create_table('quarantine',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('claimed_kid', sa.String(length=43), nullable=False),
    sa.Column('claimed_by', sa.String(length=67), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('recorded_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_quarantine'))
    )
    op.create_index('ix_quarantine_recorded_at', 'quarantine', ['recorded_at'], unique=False)
    op.create_table('stream',
    sa.Column('sender', sa.String(length=67), nullable=False),
    sa.Column('recipient', sa.String(length=67), nullable=False),
    sa.Column('lane', sa.String(length=8), nullable=False),
    sa.Column('incarnation', sa.String(length=22), nullable=False),
    sa.Column('highest', sa.BigInteger(), nullable=False),
    sa.Column('folded_at', broker.database.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('sender', 'recipient', 'lane', 'incarnation', name=op.f('pk_stream'))
    )
    op.create_table('attachment_link',
    sa.Column('envelope_id', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('scope', sa.String(length=22), nullable=True),
    sa.ForeignKeyConstraint(['envelope_id'], ['envelope.id'], name=op.f('fk_attachment_link_envelope_id_envelope')),
    sa.PrimaryKeyConstraint('envelope_id', 'digest', name=op.f('pk_attachment_link'))
    )
    op.create_index('ix_attachment_link_digest', 'attachment_link', ['digest'], unique=False)
    op.create_table('grant_change',
    sa.Column('cursor', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('recorded_at', broker.database.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['grant_id'], ['consent_grant.id'], name=op.f('fk_grant_change_grant_id_consent_grant')),
    sa.PrimaryKeyConstraint('cursor', name=op.f('pk_grant_change'))
    )
    op.create_index('ix_grant_change_grant_id', 'grant_change', ['grant_id'], unique=False)
    op.create_table('suspension',
    sa.Column('agreement_id', sa.Uuid(), nullable=False),
    sa.Column('by', sa.String(length=67), nullable=False),
    sa.Column('suspended', sa.Boolean(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('issued_at', broker.database.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['agreement_id'], ['agreement.id'], name=op.f('fk_suspension_agreement_id_agreement')),
    sa.PrimaryKeyConstraint('agreement_id', 'by', name=op.f('pk_suspension'))
    )


def downgrade() -> None:
    raise NotImplementedError("a log is not dropped")
