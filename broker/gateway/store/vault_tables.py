"""The vault's tables. Everything in them that speaks of a person is ciphertext.

`vault_epoch` has one row: the epoch under whose key new case keys are wrapped. It is also the
lock that keeps a rotation and a new case apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from broker.database import UtcDateTime

NO_GRANT = "-"
"""Stands for the grant of what came under an exception: a primary key has no nulls."""


@dataclass(frozen=True, slots=True)
class VaultTables:
    """The vault's tables in one metadata."""

    epoch: Table
    case_key: Table
    item_key: Table
    item: Table

    @property
    def all(self) -> tuple[Table, ...]:
        """In the order in which they can be created."""
        return (self.epoch, self.case_key, self.item_key, self.item)


def vault_tables(metadata: MetaData) -> VaultTables:
    """Define the vault's tables in `metadata`."""
    epoch = Table(
        "vault_epoch",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("epoch", Integer, nullable=False),
        Column("begun_at", UtcDateTime),
        CheckConstraint("id = 1", name="one_row"),
    )
    case_key = Table(
        "vault_case_key",
        metadata,
        Column("case_id", String(200), primary_key=True),
        Column("epoch", Integer, nullable=False, index=True),
        Column("wrapped", LargeBinary, nullable=False),
    )
    item_key = Table(
        "vault_item_key",
        metadata,
        Column("case_id", String(200), primary_key=True),
        Column("section", String(64), primary_key=True),
        Column("grant_id", String(36), primary_key=True),
        Column("wrapped", LargeBinary, nullable=False),
    )
    Index("ix_vault_item_key_grant_id", item_key.c.grant_id)
    item = Table(
        "vault_item",
        metadata,
        Column("ref", String(36), primary_key=True),
        Column("case_id", String(200), nullable=False),
        Column("section", String(64), nullable=False),
        Column("grant_id", String(36), nullable=False),
        Column("sealed", LargeBinary, nullable=False),
    )
    Index("ix_vault_item_owner", item.c.case_id, item.c.section, item.c.grant_id)
    return VaultTables(epoch=epoch, case_key=case_key, item_key=item_key, item=item)


def create_vault(connection: Connection, tables: VaultTables) -> None:
    """Create the tables; what a migration calls. Existing ones are left alone."""
    tables.epoch.metadata.create_all(connection, tables=list(tables.all), checkfirst=True)
