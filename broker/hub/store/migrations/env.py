"""Alembic's entry to the hub's migrations."""

from broker.database import run_migrations
from broker.hub.store.tables import METADATA

run_migrations(METADATA)
