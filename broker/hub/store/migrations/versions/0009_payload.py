"""What is sealed lies apart from the ids; on PostgreSQL it is partitioned by time, as is what is technical.

What is here already goes into the partition for the rest: its rows are deleted when they are due.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broker.database import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COPY = (
    "INSERT INTO payload (envelope_id, kept_at, raw, scopes, to_keys) "
    "SELECT id, accepted_at, raw, coalesce(scopes, ''), to_keys FROM envelope WHERE raw IS NOT NULL"
)

PAYLOAD = (
    "CREATE TABLE payload (envelope_id uuid NOT NULL, kept_at timestamptz NOT NULL, "
    "raw bytea NOT NULL, scopes text NOT NULL, to_keys text NOT NULL, "
    "CONSTRAINT pk_payload PRIMARY KEY (envelope_id, kept_at)) PARTITION BY RANGE (kept_at)",
    # What is encrypted cannot be compressed, and a message of the usual size fits into a page.
    "ALTER TABLE payload ALTER COLUMN raw SET STORAGE EXTERNAL",
    "CREATE TABLE payload_rest PARTITION OF payload DEFAULT WITH (toast_tuple_target = 8160)",
)

QUARANTINE = (
    "ALTER TABLE quarantine RENAME TO quarantine_rest",
    "ALTER TABLE quarantine_rest DROP CONSTRAINT pk_quarantine",
    "ALTER INDEX ix_quarantine_recorded_at RENAME TO ix_quarantine_rest_recorded_at",
    "CREATE TABLE quarantine (LIKE quarantine_rest INCLUDING DEFAULTS, "
    "CONSTRAINT pk_quarantine PRIMARY KEY (id, recorded_at)) PARTITION BY RANGE (recorded_at)",
    "ALTER SEQUENCE quarantine_id_seq OWNED BY quarantine.id",
    "CREATE INDEX ix_quarantine_recorded_at ON quarantine (recorded_at)",
    "ALTER TABLE quarantine ATTACH PARTITION quarantine_rest DEFAULT",
)

CHUNK = (
    "ALTER TABLE attachment_chunk RENAME TO attachment_chunk_rest",
    "ALTER TABLE attachment_chunk_rest DROP CONSTRAINT pk_attachment_chunk",
    "ALTER INDEX ix_attachment_chunk_stored_at RENAME TO ix_attachment_chunk_rest_stored_at",
    "CREATE TABLE attachment_chunk (LIKE attachment_chunk_rest INCLUDING DEFAULTS, "
    "CONSTRAINT pk_attachment_chunk PRIMARY KEY (upload, number, stored_at)) "
    "PARTITION BY RANGE (stored_at)",
    "ALTER TABLE attachment_chunk ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE INDEX ix_attachment_chunk_stored_at ON attachment_chunk (stored_at)",
    "ALTER TABLE attachment_chunk ATTACH PARTITION attachment_chunk_rest DEFAULT",
)

# Both run as the owner of the tables, for a role that owns nothing: they take no name but these
# three, look nothing up where somebody else may create things, and wait for nobody for long.
AHEAD = """
CREATE FUNCTION partitions_ahead(parent text, at timestamptz, period interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    seconds numeric := extract(epoch FROM period);
    since timestamptz := to_timestamp(floor(extract(epoch FROM at) / seconds) * seconds);
    options text := CASE parent WHEN 'payload' THEN ' WITH (toast_tuple_target = 8160)' ELSE '' END;
    made integer := 0;
BEGIN
    IF parent NOT IN ('payload', 'attachment_chunk', 'quarantine') OR seconds < 60 THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'not partitioned';
    END IF;
    PERFORM pg_advisory_xact_lock(7201504922);
    -- Never into a period that has its partition: another length may have been asked for before.
    since := greatest(since, (SELECT max(substring(pg_get_expr(c.relpartbound, c.oid)
            FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = ('public.' || parent)::regclass));
    WHILE since <= at + 2 * period LOOP
        BEGIN
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                parent || to_char(since AT TIME ZONE 'UTC', '_YYYYMMDD_HH24MISS'), parent, since,
                since + period) || options;
            made := made + 1;
        EXCEPTION WHEN check_violation THEN
            NULL;  -- Rows of this period are among the rest already, and stay there.
        END;
        since := since + period;
    END LOOP;
    RETURN made;
END $$
"""

DROP_EMPTY = """
CREATE FUNCTION partitions_drop_empty(parent text, before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms'
SET enable_seqscan = off AS $$
DECLARE
    part regclass;
    key text := CASE parent WHEN 'payload' THEN 'envelope_id'
        WHEN 'attachment_chunk' THEN 'upload' WHEN 'quarantine' THEN 'id' END;
    any_row boolean;
    dropped integer := 0;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'not partitioned';
    END IF;
    FOR part IN SELECT c.oid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = ('public.' || parent)::regclass
            AND substring(pg_get_expr(c.relpartbound, c.oid)
                FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz <= before
        ORDER BY c.relname
    LOOP
        -- Along the index, first without a lock: who comes second passes over what is gone.
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s ORDER BY %I LIMIT 1)', part, key) INTO any_row;
        CONTINUE WHEN any_row;
        -- Whoever vacuums it is sent away (after a second), and nobody else is in the way of this.
        PERFORM set_config('lock_timeout', '5s', true);
        EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', part);
        PERFORM set_config('lock_timeout', '500ms', true);
        -- From the whole to its part, as everybody takes them. All wait for us from here on.
        EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', parent);
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s ORDER BY %I LIMIT 1)', part, key) INTO any_row;
        CONTINUE WHEN any_row;
        EXECUTE format('DROP TABLE %s', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$
"""


def upgrade() -> None:
    on_server = op.get_bind().dialect.name == "postgresql"
    if on_server:
        for statement in (*PAYLOAD, *QUARANTINE, *CHUNK, AHEAD, DROP_EMPTY):
            op.execute(sa.text(statement.replace(":", "\\:")))
        for function in (
            "partitions_ahead(text, timestamptz, interval)",
            "partitions_drop_empty(text, timestamptz)",
        ):
            op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    else:
        op.create_table(
            "payload",
            sa.Column("envelope_id", sa.Uuid(), nullable=False),
            sa.Column("kept_at", UtcDateTime(), nullable=False),
            sa.Column("raw", sa.LargeBinary(), nullable=False),
            sa.Column("scopes", sa.Text(), nullable=False),
            sa.Column("to_keys", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("envelope_id", "kept_at", name=op.f("pk_payload")),
        )
    op.execute(COPY)
    if on_server:
        # A column that is dropped keeps its bytes in the file.
        op.execute("UPDATE envelope SET raw = NULL, to_keys = '' WHERE raw IS NOT NULL")
    for column in ("raw", "scopes", "to_keys"):
        op.drop_column("envelope", column)


def downgrade() -> None:
    raise NotImplementedError("partitions are not put together again")
