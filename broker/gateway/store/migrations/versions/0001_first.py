"""The gateway's first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.audit.log.store import create_log_tables
from broker.database import UtcDateTime, new_metadata
from broker.gateway.store.vault_tables import create_vault, vault_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_log_tables(op.get_bind())
    create_vault(op.get_bind(), vault_tables(new_metadata()))
    op.create_table('agreement',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('suspended', sa.Boolean(), nullable=False),
    sa.Column('fetched_at', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_agreement'))
    )
    op.create_table('alarm',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=False),
    sa.Column('about', sa.String(length=64), nullable=False),
    sa.Column('raised_at', UtcDateTime(), nullable=False),
    sa.Column('cleared_at', UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alarm')),
    sa.UniqueConstraint('code', 'about', name='uq_alarm_code_about')
    )
    op.create_table('cursor',
    sa.Column('name', sa.String(length=40), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('as_of', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_cursor'))
    )
    op.create_table('erasure',
    sa.Column('grant', sa.Uuid(), nullable=False),
    sa.Column('by', sa.String(length=66), nullable=False),
    sa.Column('store', sa.String(length=12), nullable=False),
    sa.Column('outcome', sa.String(length=8), nullable=False),
    sa.Column('basis', sa.String(length=64), nullable=True),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.Column('message', sa.Uuid(), nullable=False),
    sa.PrimaryKeyConstraint('grant', 'by', 'store', name=op.f('pk_erasure'))
    )
    op.create_table('evidence',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('by', sa.String(length=66), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('received_at', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_evidence'))
    )
    op.create_table('exception_request',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('draft', sa.String(length=200), nullable=True),
    sa.Column('case_ref', sa.String(length=64), nullable=False),
    sa.Column('code', sa.String(length=30), nullable=False),
    sa.Column('requested_by', sa.String(length=64), nullable=False),
    sa.Column('approved_by', sa.String(length=64), nullable=True),
    sa.Column('message', sa.Uuid(), nullable=True),
    sa.Column('review_by', UtcDateTime(), nullable=False),
    sa.Column('created_at', UtcDateTime(), nullable=False),
    sa.Column('decided_at', UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_exception_request'))
    )
    op.create_table('exclusion',
    sa.Column('about', sa.String(length=64), nullable=False),
    sa.Column('participant', sa.String(length=66), nullable=False),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('about', 'participant', name=op.f('pk_exclusion'))
    )
    op.create_table('grant',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('sender', sa.String(length=66), nullable=False),
    sa.Column('recipient', sa.String(length=66), nullable=False),
    sa.Column('case_ref', sa.String(length=64), nullable=True),
    sa.Column('statement', sa.LargeBinary(), nullable=False),
    sa.Column('secret', sa.String(length=200), nullable=True),
    sa.Column('record', sa.String(length=200), nullable=True),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('until', sa.Date(), nullable=False),
    sa.Column('derived_from', sa.Uuid(), nullable=True),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('registered_at', UtcDateTime(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', UtcDateTime(), nullable=False),
    sa.Column('created_at', UtcDateTime(), nullable=False),
    sa.Column('withdrawn_at', UtcDateTime(), nullable=True),
    sa.CheckConstraint("state IN ('live','narrowed','withdrawn','refused')", name=op.f('ck_grant_state')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_grant'))
    )
    op.create_index('ix_grant_derived_from', 'grant', ['derived_from'], unique=False)
    op.create_table('identity',
    sa.Column('participant', sa.String(length=66), nullable=False),
    sa.Column('incarnation', sa.String(length=22), nullable=False),
    sa.Column('created_at', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('participant', name=op.f('pk_identity'))
    )
    op.create_table('inbox',
    sa.Column('position', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('business_id', sa.Uuid(), nullable=False),
    sa.Column('thread', sa.Uuid(), nullable=False),
    sa.Column('in_reply_to', sa.Uuid(), nullable=True),
    sa.Column('type', sa.String(length=60), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('sender', sa.String(length=66), nullable=False),
    sa.Column('lane', sa.String(length=8), nullable=False),
    sa.Column('grant', sa.Uuid(), nullable=True),
    sa.Column('case_ref', sa.String(length=64), nullable=False),
    sa.Column('recipient_case_ref', sa.String(length=64), nullable=True),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('content', sa.String(length=200), nullable=True),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=True),
    sa.Column('reference', sa.String(length=200), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', UtcDateTime(), nullable=False),
    sa.Column('received_at', UtcDateTime(), nullable=False),
    sa.Column('filed_at', UtcDateTime(), nullable=True),
    sa.Column('opened_at', UtcDateTime(), nullable=True),
    sa.Column('answer_by', UtcDateTime(), nullable=True),
    sa.Column('expires_at', UtcDateTime(), nullable=False),
    sa.Column('derived_from', sa.Uuid(), nullable=True),
    sa.Column('erased_at', UtcDateTime(), nullable=True),
    sa.CheckConstraint("state IN ('delivered','filing','filed','kept','held','failed','stopped','erased')", name=op.f('ck_inbox_state')),
    sa.PrimaryKeyConstraint('position', name=op.f('pk_inbox')),
    sa.UniqueConstraint('id', name=op.f('uq_inbox_id'))
    )
    op.create_index('ix_inbox_business_id', 'inbox', ['business_id'], unique=False)
    op.create_index('ix_inbox_due', 'inbox', ['next_attempt_at'], unique=False, postgresql_where=sa.text("state IN ('delivered', 'filing')"), sqlite_where=sa.text("state IN ('delivered', 'filing')"))
    op.create_index('ix_inbox_grant', 'inbox', ['grant'], unique=False)
    op.create_index('ix_inbox_thread', 'inbox', ['thread'], unique=False)
    op.create_table('opening',
    sa.Column('leaf', sa.String(length=43), nullable=False),
    sa.Column('event', sa.String(length=30), nullable=False),
    sa.Column('about', sa.Uuid(), nullable=True),
    sa.Column('salt', sa.LargeBinary(), nullable=False),
    sa.Column('subject', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('leaf', name=op.f('pk_opening'))
    )
    op.create_index('ix_opening_about', 'opening', ['about'], unique=False)
    op.create_table('outbox',
    sa.Column('position', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('business_id', sa.Uuid(), nullable=False),
    sa.Column('thread', sa.Uuid(), nullable=False),
    sa.Column('in_reply_to', sa.Uuid(), nullable=True),
    sa.Column('type', sa.String(length=60), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('recipient', sa.String(length=66), nullable=False),
    sa.Column('lane', sa.String(length=8), nullable=False),
    sa.Column('stream_number', sa.BigInteger(), nullable=False),
    sa.Column('grant', sa.Uuid(), nullable=True),
    sa.Column('case_ref', sa.String(length=64), nullable=False),
    sa.Column('urgency', sa.String(length=12), nullable=False),
    sa.Column('derived_from', sa.Uuid(), nullable=True),
    sa.Column('envelope', sa.LargeBinary(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', UtcDateTime(), nullable=False),
    sa.Column('created_at', UtcDateTime(), nullable=False),
    sa.Column('expires_at', UtcDateTime(), nullable=False),
    sa.Column('hard_stop_at', UtcDateTime(), nullable=False),
    sa.Column('receipt_by', UtcDateTime(), nullable=False),
    sa.Column('answer_by', UtcDateTime(), nullable=True),
    sa.Column('submitted_at', UtcDateTime(), nullable=True),
    sa.CheckConstraint("state IN ('queued','sending','submitted','relayed','delivered','filed','read','refused','stopped','expired','undelivered','failed')", name=op.f('ck_outbox_state')),
    sa.PrimaryKeyConstraint('position', name=op.f('pk_outbox')),
    sa.UniqueConstraint('id', name=op.f('uq_outbox_id')),
    sa.UniqueConstraint('recipient', 'lane', 'stream_number', name='uq_outbox_stream')
    )
    op.create_index('ix_outbox_due', 'outbox', ['next_attempt_at'], unique=False, postgresql_where=sa.text("state IN ('queued', 'sending')"), sqlite_where=sa.text("state IN ('queued', 'sending')"))
    op.create_index('ix_outbox_grant', 'outbox', ['grant'], unique=False)
    op.create_index('ix_outbox_thread', 'outbox', ['thread'], unique=False)
    op.create_index('ix_outbox_business_id', 'outbox', ['business_id'], unique=False)
    op.create_index('ix_outbox_unreceipted', 'outbox', ['receipt_by'], unique=False, postgresql_where=sa.text("state IN ('queued', 'sending', 'submitted', 'relayed')"), sqlite_where=sa.text("state IN ('queued', 'sending', 'submitted', 'relayed')"))
    op.create_table('quarantine',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('raw_digest', sa.String(length=43), nullable=False),
    sa.Column('message', sa.Uuid(), nullable=True),
    sa.Column('claimed_sender', sa.String(length=66), nullable=True),
    sa.Column('code', sa.String(length=40), nullable=False),
    sa.Column('channel', sa.String(length=12), nullable=False),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_quarantine')),
    sa.UniqueConstraint('raw_digest', name=op.f('uq_quarantine_raw_digest'))
    )
    op.create_table('receipt_packet',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('recipient', sa.String(length=66), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', UtcDateTime(), nullable=False),
    sa.Column('created_at', UtcDateTime(), nullable=False),
    sa.CheckConstraint("state IN ('queued','sent','failed')", name=op.f('ck_receipt_packet_state')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_receipt_packet'))
    )
    op.create_index('ix_receipt_packet_due', 'receipt_packet', ['next_attempt_at'], unique=False, postgresql_where=sa.text("state = 'queued'"), sqlite_where=sa.text("state = 'queued'"))
    op.create_table('seen',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('sender', sa.String(length=66), nullable=False),
    sa.Column('outcome', sa.String(length=12), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=True),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.Column('forget_after', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_seen'))
    )
    op.create_index('ix_seen_forget_after', 'seen', ['forget_after'], unique=False)
    op.create_table('stream',
    sa.Column('recipient', sa.String(length=66), nullable=False),
    sa.Column('lane', sa.String(length=8), nullable=False),
    sa.Column('last_number', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('recipient', 'lane', name=op.f('pk_stream'))
    )
    op.create_table('thread',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('machine', sa.String(length=12), nullable=False),
    sa.Column('state', sa.String(length=24), nullable=False),
    sa.Column('partner', sa.String(length=66), nullable=False),
    sa.Column('role', sa.String(length=10), nullable=False),
    sa.Column('case_ref', sa.String(length=64), nullable=False),
    sa.Column('business_id', sa.Uuid(), nullable=False),
    sa.Column('owner', sa.String(length=66), nullable=True),
    sa.Column('signed_by_sender', sa.Boolean(), nullable=False),
    sa.Column('signed_by_recipient', sa.Boolean(), nullable=False),
    sa.Column('updated_at', UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_thread'))
    )
    op.create_table('withdrawal',
    sa.Column('message', sa.Uuid(), nullable=False),
    sa.Column('grant', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('by', sa.String(length=66), nullable=False),
    sa.Column('scopes', sa.Text(), nullable=False),
    sa.Column('onward_due', sa.Boolean(), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', UtcDateTime(), nullable=False),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.CheckConstraint("state IN ('stopped','erased')", name=op.f('ck_withdrawal_state')),
    sa.PrimaryKeyConstraint('message', name=op.f('pk_withdrawal'))
    )
    op.create_index('ix_withdrawal_due', 'withdrawal', ['next_attempt_at'], unique=False, postgresql_where=sa.text("state = 'stopped'"), sqlite_where=sa.text("state = 'stopped'"))
    op.create_table('worker',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('token_hash', sa.String(length=43), nullable=False),
    sa.Column('created_at', UtcDateTime(), nullable=False),
    sa.Column('removed_at', UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_worker')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_worker_token_hash'))
    )
    op.create_table('fact',
    sa.Column('envelope', sa.Uuid(), nullable=False),
    sa.Column('fact', sa.String(length=12), nullable=False),
    sa.Column('by', sa.String(length=66), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=True),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.Column('evidence', sa.Uuid(), nullable=False),
    sa.ForeignKeyConstraint(['evidence'], ['evidence.id'], name=op.f('fk_fact_evidence_evidence')),
    sa.PrimaryKeyConstraint('envelope', 'fact', 'by', name=op.f('pk_fact'))
    )
    op.create_table('grant_scope',
    sa.Column('grant', sa.Uuid(), nullable=False),
    sa.Column('scope', sa.String(length=22), nullable=False),
    sa.Column('purpose', sa.String(length=24), nullable=True),
    sa.Column('section', sa.String(length=40), nullable=True),
    sa.Column('removed_at', UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['grant'], ['grant.id'], name=op.f('fk_grant_scope_grant_grant')),
    sa.PrimaryKeyConstraint('grant', 'scope', name=op.f('pk_grant_scope'))
    )
    op.create_table('inbox_attachment',
    sa.Column('message', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('section', sa.String(length=40), nullable=False),
    sa.Column('scope', sa.String(length=22), nullable=True),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('content', sa.String(length=200), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['message'], ['inbox.id'], name=op.f('fk_inbox_attachment_message_inbox')),
    sa.PrimaryKeyConstraint('message', 'digest', name=op.f('pk_inbox_attachment'))
    )
    op.create_table('inbox_section',
    sa.Column('message', sa.Uuid(), nullable=False),
    sa.Column('section', sa.String(length=40), nullable=False),
    sa.Column('purpose', sa.String(length=24), nullable=False),
    sa.Column('scope', sa.String(length=22), nullable=True),
    sa.Column('content', sa.String(length=200), nullable=True),
    sa.ForeignKeyConstraint(['message'], ['inbox.id'], name=op.f('fk_inbox_section_message_inbox')),
    sa.PrimaryKeyConstraint('message', 'section', name=op.f('pk_inbox_section'))
    )
    op.create_table('outbox_attachment',
    sa.Column('message', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('uploaded_at', UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['message'], ['outbox.id'], name=op.f('fk_outbox_attachment_message_outbox')),
    sa.PrimaryKeyConstraint('message', 'digest', name=op.f('pk_outbox_attachment'))
    )
    op.create_table('receipt',
    sa.Column('position', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('recipient', sa.String(length=66), nullable=False),
    sa.Column('envelope', sa.Uuid(), nullable=False),
    sa.Column('digest', sa.String(length=43), nullable=False),
    sa.Column('fact', sa.String(length=12), nullable=False),
    sa.Column('code', sa.String(length=40), nullable=True),
    sa.Column('erasures', sa.Text(), nullable=True),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.Column('packet', sa.Uuid(), nullable=True),
    sa.ForeignKeyConstraint(['packet'], ['receipt_packet.id'], name=op.f('fk_receipt_packet_receipt_packet')),
    sa.PrimaryKeyConstraint('position', name=op.f('pk_receipt'))
    )
    op.create_index('ix_receipt_envelope', 'receipt', ['envelope'], unique=False)
    op.create_index('ix_receipt_unpacked', 'receipt', ['position'], unique=False, postgresql_where=sa.text('packet IS NULL'), sqlite_where=sa.text('packet IS NULL'))
    op.create_table('thread_event',
    sa.Column('thread', sa.Uuid(), nullable=False),
    sa.Column('message', sa.Uuid(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('type', sa.String(length=60), nullable=False),
    sa.Column('by', sa.String(length=66), nullable=False),
    sa.Column('at', UtcDateTime(), nullable=False),
    sa.Column('state', sa.String(length=24), nullable=False),
    sa.Column('late', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['thread'], ['thread.id'], name=op.f('fk_thread_event_thread_thread')),
    sa.PrimaryKeyConstraint('thread', 'message', name=op.f('pk_thread_event'))
    )


def downgrade() -> None:
    raise NotImplementedError("the first schema is removed by removing the database")
