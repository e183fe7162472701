"""The gateway's tables.

Content about a person lies in the vault's tables alone, encrypted; here are ids, states, times
and bytes that are sealed to somebody else. One module for each thing that tables are about; all of
them are one metadata, which the migrations bring a database to.
"""

from __future__ import annotations

from broker.audit.log.store import log_tables
from broker.gateway.store.tables.cases import case_tables
from broker.gateway.store.tables.columns import metadata
from broker.gateway.store.tables.consents import (
    agreement,
    exception_request,
    grant,
    grant_scope,
    suspension,
)
from broker.gateway.store.tables.erasing import erasure, erasure_onward, erasure_order, hold
from broker.gateway.store.tables.exchanges import (
    exclusion,
    safeguard,
    thread,
    thread_event,
    told_exclusion,
)
from broker.gateway.store.tables.messages import (
    doubt,
    inbox,
    inbox_attachment,
    inbox_section,
    outbox,
    outbox_attachment,
    quarantine,
    seen,
    stream,
    stream_in,
)
from broker.gateway.store.tables.own import alarm, cursor, identity, worker
from broker.gateway.store.tables.proofs import evidence, fact, opening, receipt, receipt_packet
from broker.gateway.store.tables.rights import disclosure_table, notice_table, rights_tables
from broker.gateway.store.tables.statistics import statistics_tables
from broker.gateway.store.vault_tables import vault_tables

log = log_tables(metadata)
"""The gateway's own log of what it decided."""

vault = vault_tables(metadata)

case_news, case_told, case_cursor, case_report, case_question = case_tables(metadata)
"""What passes between the case system and the exchange after the filing."""

disclosure = disclosure_table(metadata)
"""Who got what of whom, on which basis; see `broker.gateway.rights.ledger`."""

right_told, restriction = rights_tables(metadata)
"""Of whom a person's rights were asked, and what is kept and not used."""

notice = notice_table(metadata)
"""What a person is still to be told of her case."""

publication = statistics_tables(metadata)
"""What was published of the statistics, figure by figure, as JSON; what is held back is null."""

__all__ = [
    "agreement",
    "alarm",
    "case_cursor",
    "case_news",
    "case_question",
    "case_report",
    "case_told",
    "cursor",
    "disclosure",
    "doubt",
    "erasure",
    "erasure_onward",
    "erasure_order",
    "evidence",
    "exception_request",
    "exclusion",
    "fact",
    "grant",
    "grant_scope",
    "hold",
    "identity",
    "inbox",
    "inbox_attachment",
    "inbox_section",
    "log",
    "metadata",
    "notice",
    "opening",
    "outbox",
    "outbox_attachment",
    "publication",
    "quarantine",
    "receipt",
    "receipt_packet",
    "restriction",
    "right_told",
    "safeguard",
    "seen",
    "stream",
    "stream_in",
    "suspension",
    "thread",
    "thread_event",
    "told_exclusion",
    "vault",
    "worker",
]
