"""Questions to the content rules that are in order, so that a test changes one thing."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
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
from schemas.sections.index import SECTION_INDEX, DataClass

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


ALL = tuple(Compartment)
TODAY = NOW.date()
SHELTERED = {"contact_location": {"shelter_address": "An invented road 1"}}
NARRATED = {"case_narrative": {"case_comment": "Invented."}}


def party(
    name: str, function: Function = Function.NRM, kind: OrganisationKind = OrganisationKind.STATE
) -> Participant:
    return participant(name, kind, ALL).model_copy(update={"function": function})


FOCAL_POINT = party("al.nrm")
POLICE = party("al.police", Function.POLICE)
SHELTER = party("al.shelter", Function.SHELTER, OrganisationKind.NGO)


def basis_for(section: str) -> str:
    match SECTION_INDEX[section].data_class:
        case DataClass.CRIMINAL:
            return "eu-gdpr:A6-1-e"
        case DataClass.SPECIAL | DataClass.SPECIAL_OR_CRIMINAL:
            return "eu-gdpr:A9-2-a"
        case _:
            return "eu-gdpr:A6-1-e"


def says(
    sections: Mapping[str, Mapping[str, Any]],
    *,
    purpose: Purpose = Purpose.PROTECTION,
    to: Participant = FOCAL_POINT,
    transfer: str = "eu-gdpr:A49-1-d",
    **person: Any,
) -> Question:
    """Italy refers to `to`, consented and agreed in every other respect."""
    message = a_message(
        sections={name: dict(content) for name, content in sections.items()},
        scopes=tuple(
            entry(name, purpose, processing_basis=basis_for(name), transfer_basis=transfer)
            for name in sections
        ),
    )
    return question(
        message=message,
        recipient=to,
        grant=a_grant(
            recipient=to.id, scopes=frozenset((purpose, section) for section in sections)
        ),
        agreement=an_agreement(
            parties=("it.nrm", to.id),
            sections=("*",),
            purposes=tuple(Purpose),
            types=("*",),
            transfer=(TransferBasis(sender="it.nrm", basis=transfer),),
        ),
        **person,
    )


def alert(
    sections: Mapping[str, Mapping[str, Any]], *, transfer: str | None = None, **use: Any
) -> Question:
    """An alert under an exception, with these sections."""
    asked = an_alert(a_use(**use))
    basis = transfer or last_resort(a_use(**use))
    scopes = tuple(
        entry(name, scope=None, processing_basis="eu-gdpr:A9-2-c", transfer_basis=basis)
        for name in sections
    )
    content = {name: dict(values) for name, values in sections.items()}
    message = asked.message.model_copy(update={"sections": content, "scopes": scopes})
    return replace(asked, message=message)


def granted(asked: Question, **changes: Any) -> Question:
    assert asked.grant is not None
    return replace(asked, grant=replace(asked.grant, **changes))


def bases(asked: Question, **changes: str) -> Question:
    scopes = tuple(item.model_copy(update=changes) for item in asked.message.scopes)
    return replace(asked, message=asked.message.model_copy(update={"scopes": scopes}))


def under(asked: Question, **changes: Any) -> Question:
    """Under an agreement that differs."""
    assert asked.agreement is not None
    content = asked.agreement.content.model_copy(update=changes)
    return replace(asked, agreement=replace(asked.agreement, content=content))


def offer(sections: Mapping[str, Mapping[str, Any]]) -> Question:
    """The case is offered to Albania."""
    asked = says({"case_admin": {}, **sections}, purpose=Purpose.CASE_TRANSFER)
    message = asked.message.model_copy(update={"type": "transfer.offer"})
    return replace(asked, message=message, type=catalogue["transfer.offer"])


def plan(sections: Mapping[str, Mapping[str, Any]]) -> Question:
    """A return is planned together with Albania, whose focal point keeps health apart."""
    asked = says({"return_travel": {}, **sections}, purpose=Purpose.RETURN_PLANNING)
    body = {"risk_valid_until": TODAY.isoformat()}
    message = asked.message.model_copy(update={"type": "return.plan.propose", "body": body})
    recipient = asked.recipient.model_copy(update={"compartments": tuple(Compartment)})
    row = catalogue["return.plan.propose"]
    return replace(asked, message=message, type=row, recipient=recipient)


def tracing(origin: str) -> Question:
    """Italy asks Albania to look for a family."""
    asked = says({"family_dependants": {}, "identity_core": {}}, purpose=Purpose.FAMILY_TRACING)
    message = asked.message.model_copy(update={"type": "family.tracing.request"})
    person = replace(asked.person, origin=origin)
    return replace(asked, message=message, type=catalogue["family.tracing.request"], person=person)


# --- bases -----------------------------------------------------------------------------------------


def with_basis(*, transfer: str = ARRANGEMENT, processing: str | None = None) -> Message:
    changes: dict[str, Any] = {"transfer_basis": transfer}
    if processing:
        changes["processing_basis"] = processing
    return a_message(scopes=tuple(entry(section, **changes) for section in SECTIONS))
