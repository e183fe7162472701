"""Alembic's entry to the gateway's migrations."""

from broker.gateway.store.tables import metadata
from broker.migrating import run_migrations

run_migrations(metadata)
