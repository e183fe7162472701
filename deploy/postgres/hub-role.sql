-- What the hub's process may do in its database: everything but change the log's history.
--
-- The tables belong to another role, which runs the migrations and nothing else:
--   psql -d referral -v hub=referral_hub -f deploy/postgres/hub-role.sql      (as that owner)
-- Run it again after each upgrade. The triggers refuse too, but an owner could drop a trigger;
-- the process that faces the network is not the owner.

GRANT USAGE ON SCHEMA public TO :"hub";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"hub";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO :"hub";

REVOKE UPDATE, DELETE ON log_entry, log_tile, log_checkpoint, log_cosignature FROM :"hub";
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM :"hub";

-- Makes and drops partitions of what is sealed and what is technical; drops only what is empty.
GRANT EXECUTE ON FUNCTION partitions_ahead(text, timestamptz, interval) TO :"hub";
GRANT EXECUTE ON FUNCTION partitions_drop_empty(text, timestamptz) TO :"hub";
