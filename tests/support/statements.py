"""What participants state, in order, so that a test changes one thing."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from schemas.agreement import Agreement, Suspension, TransferBasis
from schemas.consent import GrantStatement, Purpose
from schemas.envelope import Lane
from schemas.evidence import Evidence, Fact, FactStatement
from tests.support.parties import NOW


def evidence(by: str = "it.nrm") -> Evidence:
    fact = FactStatement(fact=Fact.DELIVERED, envelope=UUID(int=1), digest="A" * 43, at=NOW)
    return Evidence(id=UUID(int=2), by=by, to="al.nrm", issued_at=NOW, facts=(fact,))


def grant() -> GrantStatement:
    return GrantStatement.model_validate(
        {
            "grant": UUID(int=3),
            "from": "it.nrm",
            "to": "al.nrm",
            "scopes": ("A" * 22,),
            "valid_from": date(2026, 11, 1),
            "until": date(2027, 1, 1),
            "record_digest": "A" * 43,
            "derived_from": None,
            "issued_at": NOW,
        }
    )


def suspension() -> Suspension:
    return Suspension(agreement=UUID(int=4), by="it.nrm", action="suspend", issued_at=NOW)


def agreement(**changes: Any) -> Agreement:
    values = {
        "id": UUID(int=5),
        "title": "Invented agreement",
        "parties": ("it.nrm", "al.nrm"),
        "valid_from": date(2026, 1, 1),
        "valid_until": date(2027, 1, 1),
        "lanes": (Lane.ROUTINE,),
        "types": ("referral.*",),
        "sections": ("identity_core",),
        "purposes": (Purpose.PROTECTION,),
        "transfer": (TransferBasis(sender="it.nrm", basis="none-needed"),),
        "signed_on": NOW,
    }
    return Agreement(**{**values, **changes})
