"""How rows look to a worker: ids, states and times; content only where it is opened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import GrantState
from schemas.base import instant_text


def moment(value: datetime | None) -> str | None:
    return None if value is None else instant_text(value)


def sent(row: AnyRow) -> dict[str, Any]:
    """One message of the outbox, selected with `broker.gateway.store.outbox.TOLD`."""
    return {
        "id": str(row.id),
        "box": "outbox",
        "type": row.type,
        "kind": row.kind,
        "partner": row.recipient,
        "state": row.told,
        "code": row.code,
        "thread": str(row.thread),
        "in_reply_to": _text(row.in_reply_to),
        "business_id": str(row.business_id),
        "case_ref": row.case_ref,
        "grant": _text(row.grant),
        "lane": row.lane,
        "urgency": row.urgency,
        "derived_from": _text(row.derived_from),
        "digest": row.digest,
        "at": moment(row.created_at),
        "submitted_at": moment(row.submitted_at),
        "expires_at": moment(row.expires_at),
        "answer_by": moment(row.answer_by),
        "attempts": row.attempts,
    }


def received(row: AnyRow) -> dict[str, Any]:
    """One message of the inbox."""
    return {
        "id": str(row.id),
        "box": "inbox",
        "type": row.type,
        "kind": row.kind,
        "partner": row.sender,
        "state": row.state,
        "code": row.code,
        "thread": str(row.thread),
        "in_reply_to": _text(row.in_reply_to),
        "business_id": str(row.business_id),
        "case_ref": row.case_ref,
        "recipient_case_ref": row.recipient_case_ref,
        "grant": _text(row.grant),
        "lane": row.lane,
        "derived_from": _text(row.derived_from),
        "digest": row.digest,
        "reference": row.reference,
        "at": moment(row.received_at),
        "received_at": moment(row.received_at),
        "filed_at": moment(row.filed_at),
        "opened_at": moment(row.opened_at),
        "erased_at": moment(row.erased_at),
        "expires_at": moment(row.expires_at),
        "answer_by": moment(row.answer_by),
    }


def consent(state: GrantState) -> dict[str, Any]:
    """One grant; its scopes in plain words where we know them."""
    return {
        "grant": str(state.id),
        "sender": state.sender,
        "recipient": state.recipient,
        "state": state.state,
        "registered": state.registered,
        "valid_from": state.valid_from.isoformat(),
        "until": state.until.isoformat(),
        "case_ref": state.case_ref,
        "derived_from": _text(state.derived_from),
        "scopes": [
            {
                "purpose": None if names is None else names[0],
                "section": None if names is None else names[1],
                "removed": state.withdrawn or scope in state.removed,
            }
            for scope, names in sorted(state.scopes.items(), key=lambda item: item[1] or ("", ""))
        ],
    }


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
