"""Alembic's entry to the gateway's migrations."""

from broker.database import run_migrations
from broker.gateway.store.tables import metadata

run_migrations(metadata)
