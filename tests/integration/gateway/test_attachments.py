"""A file obeys what its message obeys: consent, withdrawal, and the record of who read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from broker.gateway.receive.opening import open_attachment, open_message
from broker.gateway.store import tables
from broker.gateway.store.tables import vault as vault_tables
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import BrokerError, ConsentExpired
from tests.support.gateways import TWO_SECTIONS, World, column


def file_of(folder: Path, section: str) -> dict[str, str]:
    path = folder / "invented.txt"
    path.write_bytes(b"invented " * 50)
    return {
        "path": str(path),
        "name": "invented.txt",
        "media_type": "text/plain",
        "section": section,
    }


def withdraw_while_it_is_under_way(
    made: World, monkeypatch: pytest.MonkeyPatch, grant: UUID, *scopes: ScopeGrant
) -> None:
    attachments = made["al.nrm"].parts.attachments
    fetch = attachments._fetch

    async def slow(*arguments: Any) -> bytes:
        plain: bytes = await fetch(*arguments)
        await made["it.nrm"].parts.withdrawals.order(grant, *([scopes] if scopes else []))
        await made.settle()
        return plain

    monkeypatch.setattr(attachments, "_fetch", slow)


async def test_no_file_is_stored_after_its_erasure_was_attested(
    two: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant, attachments=(file_of(tmp_path, "case_admin"),))
    await two.settle()
    withdraw_while_it_is_under_way(two, monkeypatch, grant)

    assert await albania.parts.attachments.fetch_due() == 0

    attested = await column(italy, tables.erasure.c.store, tables.erasure.c.by == "al.nrm")
    assert "vault" in attested
    under = vault_tables.item.c.grant_id == str(grant)
    assert await column(albania, vault_tables.item.c.ref, under) == []


async def test_no_file_of_a_section_is_stored_after_the_section_was_taken_back(
    two: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(TWO_SECTIONS))
    file = file_of(tmp_path, "demographics_language")
    await italy.refer("al.nrm", grant, sections=TWO_SECTIONS, attachments=(file,))
    await two.settle()
    scope = ScopeGrant(purpose=Purpose.PROTECTION, section="demographics_language")
    withdraw_while_it_is_under_way(two, monkeypatch, grant, scope)

    assert await albania.parts.attachments.fetch_due() == 0

    item = vault_tables.item
    of_section = (item.c.grant_id == str(grant), item.c.section == "demographics_language")
    assert await column(albania, item.c.ref, *of_section) == []


async def received_file(made: World, folder: Path) -> tuple[UUID, UUID, str]:
    """A grant, a message and the digest of its file, which lies in Albania's vault."""
    italy, albania = made["it.nrm"], made["al.nrm"]
    grant = await italy.consent("al.nrm")
    sent = await italy.refer("al.nrm", grant, attachments=(file_of(folder, "case_admin"),))
    await made.settle()
    assert await albania.parts.attachments.fetch_due() == 1
    [digest] = await column(albania, tables.inbox_attachment.c.digest)
    return grant, sent.id, digest


async def test_reading_a_file_is_recorded_and_told_to_the_sender(
    two: World, tmp_path: Path
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    _, message, digest = await received_file(two, tmp_path)
    assert await open_attachment(albania.parts, message, digest)
    assert await column(albania, tables.inbox.c.opened_at, tables.inbox.c.id == message) != [None]
    await two.settle()
    assert await column(italy, tables.outbox.c.state, tables.outbox.c.id == message) == ["read"]


async def test_a_file_stays_closed_when_the_consent_of_its_message_has_run_out(
    two: World, tmp_path: Path
) -> None:
    albania = two["al.nrm"]
    grant, message, digest = await received_file(two, tmp_path)
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(
            update(tables.grant)
            .where(tables.grant.c.id == grant)
            .values(valid_from=date(2019, 1, 1), until=date(2020, 1, 1), record=None)
        )
    codes = []
    for opening in (
        open_message(albania.parts, message),
        open_attachment(albania.parts, message, digest),
    ):
        with pytest.raises(BrokerError) as refused:
            await opening
        codes.append(refused.value.code)
    assert codes == [ConsentExpired.code, ConsentExpired.code]
    assert await column(albania, tables.inbox.c.opened_at, tables.inbox.c.id == message) == [None]
