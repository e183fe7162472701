"""Alembic's entry to the hub's migrations."""

from broker.hub.store.tables import METADATA
from broker.migrating import run_migrations

run_migrations(METADATA)
