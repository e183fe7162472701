"""A line of a bundle that is not evidence proves its statement, or it proves nothing."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.audit.log.checkpoint import Checkpoint
from broker.audit.log.leaves import new_leaf, public_leaf
from broker.audit.log.merkle import leaf_hash, node_hash
from broker.audit.proofs.offline import Failed, TrustedKey
from broker.audit.proofs.statements import TYPES, verify_line
from keys.binding import subject_of
from schemas.agreement import AGREEMENT_TYP, SUSPENSION_TYP
from schemas.audit import Event
from schemas.base import b64u
from schemas.consent import GRANT_TYP
from schemas.continuation import CONTINUATION_TYP
from schemas.revocation import REVOCATION_TYP
from tests.support.audit_log import Author

NOW = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
OTHER = bytes(31) + b"\x01"


def line_of(author: Author, **changes: object) -> tuple[dict[str, Any], Checkpoint]:
    """A grant that was registered, in a log of two entries."""
    content = {"grant": "g", "from": author.participant} | changes
    raw = author.sign(json.dumps(content).encode(), typ=GRANT_TYP)
    leaf, opening = new_leaf(Event.GRANT_REGISTERED, NOW, subject_of(raw))
    line = {
        "statement": raw.decode(),
        "leaf": b64u(leaf),
        "opening": opening.to_dict(),
        "index": 0,
        "path": [b64u(OTHER)],
    }
    return line, Checkpoint("hub.example/log", 2, node_hash(leaf_hash(leaf), OTHER))


def test_a_grant_is_proven_by_its_line() -> None:
    author = Author()
    line, head = line_of(author)

    stated = verify_line(line, head, author.trusted)
    event, subject = stated.event, stated.subject

    assert event == "grant:registered"
    assert subject == hashlib.sha256(line["statement"].encode()).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"index": 1},
        {"index": -1},
        {"index": True},
        {"index": 7},
        {"path": []},
        {"path": [b64u(bytes(32))]},
        {"path": [b64u(bytes(31))]},
        {"statement": None},
        {"statement": "{}"},
        {"leaf": b64u(b"{}")},
        {"opening": {"salt": b64u(bytes(32)), "subject": b64u(bytes(32))}},
        {"opening": {"salt": b64u(bytes(32))}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_line_with_anything_else_in_it_proves_nothing(change: dict[str, object]) -> None:
    author = Author()
    line, head = line_of(author)
    with pytest.raises(Failed):
        verify_line(line | change, head, author.trusted)


def test_who_signs_a_statement_is_whom_it_names() -> None:
    author = Author()
    line, head = line_of(author, **{"from": "xx.nrm"})
    with pytest.raises(Failed, match="others than it names"):
        verify_line(line, head, author.trusted)
    line, head = line_of(author)
    with pytest.raises(Failed, match="no key that we know"):
        verify_line(line, head, dict[str, TrustedKey]())


def test_a_version_of_the_directory_needs_no_statement() -> None:
    leaf, opening = public_leaf(Event.DIRECTORY_PUBLISHED, NOW, bytes(32))
    head = Checkpoint("hub.example/log", 1, leaf_hash(leaf))
    line: dict[str, object] = {
        "statement": None,
        "leaf": b64u(leaf),
        "opening": opening.to_dict(),
        "index": 0,
        "path": [],
    }
    stated = verify_line(line, head, {})
    assert (stated.event, stated.subject) == ("directory:published", bytes(32))


def test_the_offline_verifier_names_statements_as_the_protocol_does() -> None:
    said = [GRANT_TYP, AGREEMENT_TYP, SUSPENSION_TYP, REVOCATION_TYP, CONTINUATION_TYP]
    assert list(TYPES.values()) == said
    assert set(TYPES) <= {event.value for event in Event}
