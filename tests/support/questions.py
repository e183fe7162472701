"""Questions to the content rules that are in order, so that a test changes one thing."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from broker.rules.content import (
    AgreementView,
    Exclusions,
    GrantView,
    Moment,
    Person,
    Question,
    decide,
)
from schemas.agreement import Agreement, TransferBasis
from schemas.catalogue import catalogue
from schemas.consent import ConsentStatus, GuardianDecision, Purpose
from schemas.directory import (
    Compartment,
    Function,
    KeyStatus,
    KeyUse,
    OrganisationKind,
    Participant,
    PublishedKey,
)
from schemas.envelope import Lane
from schemas.errors import codes
from schemas.message import ExceptionUse, Message, ScopeEntry
from schemas.sections.index import SECTION_INDEX

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
GRANT = UUID("0194f3a0-0000-7000-8000-000000000001")
ARRANGEMENT = "eu-gdpr:A46-3-b"
SECTIONS = ("case_admin", "risk_security")
PERSON = frozenset(field.name for field in fields(Person))
"""What `question` takes as facts about the person."""


def participant(
    name: str,
    kind: OrganisationKind = OrganisationKind.STATE,
    compartments: tuple[Compartment, ...] = (Compartment.CASEWORK,),
) -> Participant:
    return Participant(
        id=name,
        name=f"Invented {name}",
        country=name[:2].upper(),
        kind=kind,
        function=Function.NRM,
        suites=(1,),
        compartments=compartments,
        keys=(
            PublishedKey(
                kid="k" * 43,
                use=KeyUse.SIGN,
                suite=1,
                alg="Ed25519",
                jwk={},
                status=KeyStatus.ACTIVE,
                not_before=NOW - DAY,
                not_after=NOW + DAY,
            ),
        ),
        entry_issued_at=NOW,
    )


IT = participant("it.nrm")
AL = participant("al.nrm")
NGO = participant("al.ngo", OrganisationKind.NGO)


def entry(section: str, purpose: Purpose = Purpose.PROTECTION, **changes: Any) -> ScopeEntry:
    special = SECTION_INDEX[section].data_class if section in SECTION_INDEX else None
    values: dict[str, Any] = {
        "scope": "s" * 22,
        "section": section,
        "purpose": purpose,
        "processing_basis": "eu-gdpr:A9-2-a" if special else "eu-gdpr:A6-1-e",
        "transfer_basis": ARRANGEMENT,
    }
    return ScopeEntry(**(values | changes))


def a_message(type_name: str = "referral.request", **changes: Any) -> Message:
    values: dict[str, Any] = {
        "type": type_name,
        "business_id": UUID(int=7),
        "case_ref": "IT-DEMO-0001",
        "body": {},
        "sections": {section: {} for section in SECTIONS},
        "scopes": tuple(entry(section) for section in SECTIONS),
        "grant_key": bytes(32),
    }
    return Message(**(values | changes))


def a_grant(**changes: Any) -> GrantView:
    values: dict[str, Any] = {
        "grant": GRANT,
        "giver": "it.nrm",
        "recipient": "al.nrm",
        "scopes": frozenset((Purpose.PROTECTION, section) for section in SECTIONS),
        "removed": frozenset(),
        "status": ConsentStatus.GIVEN,
        "valid_from": date(2026, 11, 1),
        "valid_until": date(2027, 5, 1),
        "presumed_child": False,
        "guardian": None,
    }
    return GrantView(**(values | changes))


def an_agreement(suspended: bool = False, **changes: Any) -> AgreementView:
    values: dict[str, Any] = {
        "id": UUID(int=9),
        "title": "Invented agreement",
        "parties": ("it.nrm", "al.nrm"),
        "valid_from": date(2026, 1, 1),
        "valid_until": date(2027, 12, 31),
        "lanes": (Lane.URGENT, Lane.ROUTINE),
        "types": ("referral.*", "transfer.*"),
        "sections": SECTIONS,
        "purposes": (Purpose.PROTECTION, Purpose.CASE_TRANSFER),
        "transfer": (
            TransferBasis(sender="it.nrm", basis=ARRANGEMENT),
            TransferBasis(sender="al.nrm", basis="national-law"),
        ),
        "signed_on": NOW - 9 * DAY,
    }
    return AgreementView(Agreement(**(values | changes)), suspended)


def question(type_name: str = "referral.request", **changes: Any) -> Question:
    values: dict[str, Any] = {
        "message": a_message(type_name),
        "type": catalogue[type_name],
        "sender": IT,
        "recipient": AL,
        "grant": a_grant(),
        "agreement": an_agreement(),
        "now": NOW,
        "moment": Moment.SEND,
    }
    about = {name: changes.pop(name) for name in PERSON & changes.keys()}
    if "exclusions" in about:
        about["exclusions"] = Exclusions.of(about["exclusions"])
    return Question(**({**values, "person": Person(**about)} | changes))


def refused(asked: Question) -> tuple[str, ...]:
    return decide(asked).codes


def a_use(**changes: Any) -> ExceptionUse:
    values: dict[str, Any] = {
        "code": "vital_interest_life",
        "reason": "Invented danger.",
        "decided_by": "duty officer 3",
        "approved_by": "head of unit 1",
        "decided_at": NOW - timedelta(minutes=5),
        "review_by": NOW + 3 * DAY,
        "tell_person_by": NOW + 3 * DAY,
    }
    return ExceptionUse(**(values | changes))


def last_resort(use: ExceptionUse | None) -> str:
    """What it rests on where there is no agreement: vital interests, or the public one."""
    vital = use is None or use.code not in ("legal_obligation", "anonymous_statistics")
    return "eu-gdpr:A49-1-f" if vital else "eu-gdpr:A49-1-d"


def an_alert(use: ExceptionUse | None, **changes: Any) -> Question:
    scopes = (
        entry(
            "risk_security",
            scope=None,
            processing_basis="eu-gdpr:A9-2-c",
            transfer_basis=last_resort(use),
        ),
    )
    message = a_message(
        "safety.alert",
        sections={"risk_security": {}},
        scopes=changes.pop("scopes", scopes),
        exception=use,
        grant_key=None,
    )
    defaults: dict[str, Any] = {"message": message, "grant": None, "agreement": None}
    return question("safety.alert", **(defaults | changes))


def voices(guardian: bool, child: bool) -> GuardianDecision:
    return GuardianDecision(
        guardian_role="appointed guardian",
        guardian_agrees=guardian,
        child_view="Invented view.",
        child_agrees=child,
    )


def codes_given_by(rule: Callable[..., Any]) -> set[str]:
    """The code of every error that a rule names: what it can refuse with."""
    words = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(rule))))
    named = {word.id for word in words if isinstance(word, ast.Name)}
    return {error.code for error in codes().values() if error.__name__ in named}
