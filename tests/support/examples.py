"""One body for each type of the catalogue, invented. A test holds them and the catalogue together."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from schemas.base import b64u
from schemas.catalogue import catalogue, message_type
from schemas.message import Message

WHEN = "2026-11-22T12:00:00Z"
DAY = "2026-11-22"
ASSESSED = "2099-12-31"
"""Until when the risk assessment holds; far off, since gateways under test have the real time."""
GRANT = "0194f3a0-0000-7000-8000-000000000001"
OTHER = "0194f3a0-0000-7000-8000-0000000000bb"

RECORD = {
    "schema_version": "https://w3id.org/dpv/schema/dpv-27560#record",
    "record_id": GRANT,
    "pii_principal_id": "IT-AL-7F3",
    "privacy_notice": "notice 3",
    "language": "sqi",
    "how": "read-out",
    "interpreter": True,
    "scopes": [{"purpose": "protection", "section": "case_admin"}],
    "controller": "it.nrm",
    "recipient": "al.nrm",
    "jurisdiction": "IT",
    "withdrawal_method": "any worker, any time",
    "retention_until": "2027-11-22",
    "status": "ConsentGiven",
    "given_at": WHEN,
    "valid_until": "2027-05-22",
    "presumed_child": False,
    "guardian": None,
    "derived_from": None,
}
_STATEMENT = {"record": RECORD, "statement": b64u(b'{"payload":"","signature":""}')}
_PLAN = {
    "decision_recorded": True,
    "risk_valid_until": ASSESSED,
    "alternatives": ["supported flat"],
    "transport": "air",
    "reception_role": "duty officer",
    "proceedings_considered": True,
}
_ALERT = {
    "danger": "threat_to_life",
    "facts": "Invented facts.",
    "action": "protect",
    "emergency_contact": "duty officer, +39 000 0000000",
}
_MONEY = {"amount": "500.00", "currency": "EUR"}
_MEETING = {"at": WHEN, "place": "office", "with_role": "case worker 4"}
_ATTESTED = (
    "informed_decision",
    "guardian_and_best_interests",
    "risk_current",
    "no_protection_obstacle",
    "recovery_over",
    "identification_complete",
    "proceedings_considered",
    "travel_document",
    "reception_named",
)

BODIES: dict[str, dict[str, Any]] = {
    "directory.announce": {
        "services": [{"service": "legal", "capacity": "yes"}],
        "languages": ["sqi", "eng"],
        "hours": "Mon to Fri, 8 to 16",
        "emergency_telephone": "+355422222222",
        "confirm_again_by": "2027-02-20",
    },
    "capacity.query": {"services": ["safe_house"], "age": "18-20", "with_children": True},
    "capacity.reply": {"capacity": "yes_later", "from_day": "2026-12-01"},
    "notify.anonymous": {"month": "2026-11", "found_by": "helpline"},
    "notify.presumed": {"found_by": "ngo", "found_on": DAY},
    "nationality.verify.request": {},
    "nationality.verify.result": {"result": "confirmed"},
    "traveldoc.request": {"document": "laissez_passer", "decision_recorded": True},
    "traveldoc.result": {"result": "issued", "document": "laissez_passer"},
    "status.notify": {"decision": "formal", "decided_by": "police", "decided_on": DAY},
    "status.recognition.request": {"decided_by": "police", "decided_on": DAY},
    "status.recognition.result": {"result": "recognised", "decided_by": "social_service"},
    "age.assessment.notice": {"result": "still_uncertain"},
    "info.request": {
        "about": ["family_identification", "consequences_upon_return"],
        "sections": ["family_dependants", "risk_security"],
        "purpose": "return_planning",
        "ground": "cets_197_34",
    },
    "info.reply": {"withheld": [{"section": "risk_security", "reason": "cannot_say"}]},
    "info.refuse": {"reason": "cannot_say"},
    "info.conditions": {"conditions": ["no_onward"]},
    "info.conditions.accept": {"conditions": ["no_onward"]},
    "info.conditions.reject": {"conditions": ["no_onward"]},
    "info.spontaneous": {"about": ["risk_assessment"]},
    "family.tracing.request": {"family_suspected": False},
    "family.tracing.result": {"result": "relative_refuses", "relatives_agreed": True},
    "family.assessment.request": {"relatives_informed": True},
    "family.assessment.result": {"finding": "favourable", "relatives_agreed": True},
    "risk.assessment.request": {"sources": ["traffickers", "debt"]},
    "risk.assessment.contribution": {"scores": [{"source": "debt", "grade": "medium"}]},
    "risk.assessment.joint": {"level": "medium", "assessed_on": DAY, "valid_until": ASSESSED},
    "bestinterests.request": {"authority": "child protection agency"},
    "bestinterests.result": {
        "result": "relatives",
        "authority": "child protection agency",
        "decided_on": DAY,
        "child_heard": True,
    },
    "referral.early_notice": {"services": ["housing"]},
    "referral.request": {"urgency": "urgent", "services": ["safe_house", "legal"]},
    "referral.received": {"worker_role": "duty officer"},
    "referral.clarify.request": {
        "question": "Which language does the person prefer?",
        "fields": ["demographics_language.primary_language"],
    },
    "referral.clarify.reply": {"answer": "Albanian"},
    "referral.accept": {
        "services": ["safe_house"],
        "worker_role": "case worker 4",
        "first_meeting": _MEETING,
    },
    "referral.decline": {"reason": "no_capacity"},
    "referral.redirect": {"to": "al.shelter"},
    "referral.amend": {"services": ["legal"], "replaces": OTHER},
    "referral.cancel.request": {"reason": "duplicate"},
    "referral.cancel.confirm": {},
    "referral.cancel.refuse": {"reason": "service_under_way"},
    "referral.recall": {"messages": [OTHER]},
    "referral.scheduled": {"meeting": _MEETING},
    "referral.no_show": {"appointment": WHEN},
    "referral.appointment_cancelled": {"appointment": WHEN, "reason": "by_provider"},
    "referral.interim": {"progress": "started"},
    "referral.outcome": {"result": "service_given", "services": ["safe_house"]},
    "referral.not_possible": {"reason": "no_provider", "next_step": "refer_elsewhere"},
    "return.plan.propose": _PLAN,
    "return.plan.agree": {"reception_role": "duty officer"},
    "return.plan.amend": _PLAN,
    "return.plan.reject": {"reason": "no_reception"},
    "return.decision": {"decision": "stay", "decided_on": DAY, "advised": True},
    "travel.notice": {
        "planned_arrival": WHEN,
        "transport": "air",
        "escort": True,
        "received_by_role": "duty officer",
        "risk_valid_until": ASSESSED,
        "via": ["XK"],
    },
    "transit.assist.request": {"help": ["meet"], "arrives_at": WHEN},
    "transit.assist.reply": {"possible": True, "worker_role": "duty officer"},
    "departure.confirm": {
        "planned_arrival": WHEN,
        "risk_valid_until": ASSESSED,
        **dict.fromkeys(_ATTESTED, True),
    },
    "departure.cancelled": {"reason": "unfit"},
    "arrival.handover.confirm": {
        "at": WHEN,
        "received_by_role": "duty officer",
        "place": "border point",
        "belongings": "all_handed_over",
        "documents_returned": True,
        "condition": "well",
    },
    "arrival.failed": {"reason": "not_on_board"},
    "return.completed": {"completed_on": DAY},
    "transfer.offer": {
        "effective_date": "2026-12-01",
        "new_worker_known": True,
        "risk_valid_until": ASSESSED,
    },
    "transfer.pull.request": {"person_asked": True, "asked_on": DAY, "match_confirmed_twice": True},
    "transfer.accept": {"worker_role": "case worker 2"},
    "transfer.accept_conditional": {"worker_role": "case worker 2", "needs": ["later_date"]},
    "transfer.decline": {"reason": "other", "note": "The shelter closes."},
    "transfer.casefile": {
        "part": 1,
        "parts": 1,
        "manifest": [{"kind": "section", "name": "case_admin"}],
    },
    "transfer.casefile.ack": {"outcome": "complete"},
    "transfer.complete": {"met_person": True, "met_on": "2026-12-03", "worker_role": "worker"},
    "transfer.revoke": {"reason": "person_asked"},
    "transfer.return_back": {"reason": "project_ended", "last_day": "2026-12-31"},
    "exit.handover": {"to": "municipality", "first_day": DAY, "monitoring_goes_on": True},
    "reintegration.plan.share": {"made_by_person": True},
    "reintegration.plan.comment": {"version": 1, "can_provide": ["housing"]},
    "reintegration.plan.update": {"version": 2, "made_by_person": True},
    "grant.authorise": {"line": "livelihood", "up_to": _MONEY, "until": "2027-05-01"},
    "grant.disbursed": {"line": "livelihood", "paid": _MONEY, "paid_on": DAY},
    "grant.adjust": {"line": "housing", "up_to": _MONEY, "until": "2027-05-01"},
    "monitoring.request": {"form": "visit", "months_after_return": 3, "domains": ["social"]},
    "monitoring.report": {"form": "visit", "months_after_return": 3, "contact_made": True},
    "contact.lost": {
        "last_contact_on": DAY,
        "missed": 2,
        "agreed_way": "messenger",
        "who_may_try": "case worker 4",
    },
    "contact.restored": {"contact_on": DAY, "way": "visit"},
    "conference.invite": {
        "at": WHEN,
        "form": "video",
        "agenda": ["housing"],
        "person_invited": True,
    },
    "conference.attend": {"coming": True, "roles": ["case worker"]},
    "conference.minutes": {"held_on": DAY, "person_took_part": True, "decisions": ["flat found"]},
    "case.reopen": {"reason": "re_trafficking_suspected"},
    "case.close": {"reason": "goals_reached", "closed_on": DAY},
    "justice.status.request": {"asked_by_person": True},
    "justice.status.notify": {"stage": "verdict", "what": "released", "on": DAY},
    "witness.request": {"free_choice_recorded": True, "by_video": True, "measures": ["anonymous"]},
    "compensation.info": {"ways": ["state_fund"], "limitation_date": "2029-11-22"},
    "compensation.claim": {"way": "state_fund", "limitation_date": "2029-11-22", "claimed": _MONEY},
    "compensation.result": {"result": "awarded", "awarded": _MONEY},
    "nonpunishment.notice": {"acts": ["false_documents"]},
    "safety.alert": _ALERT,
    "safety.ack": {"taken_over_by": "duty officer"},
    "safety.action": {"actions": ["protected"], "at": WHEN},
    "missing.alert": {**_ALERT, "danger": "missing_child", "is_child": True},
    "missing.resolved": {"result": "found_safe", "at": WHEN},
    "staff.security.alert": {
        "danger": "threat_to_staff",
        "facts": "Invented facts.",
        "emergency_contact": "duty officer, +39 000 0000000",
    },
    "breach.notice": {"nature": ["confidentiality"], "noticed_at": WHEN, "messages": [OTHER]},
    "consent.record": _STATEMENT,
    "consent.renew": _STATEMENT,
    "consent.update": {"removed": [{"purpose": "protection", "section": "case_admin"}]},
    "consent.withdraw": {},
    "consent.revoke_by_other": {"reason_code": "by_court"},
    "consent.majority": {"of_age_on": DAY},
    "consent.withdraw.ack": {
        "stopped_at": WHEN,
        "stores": [{"store": "vault", "outcome": "erased"}],
        "onward": [{"participant": "al.ngo", "told_at": WHEN, "outcome": "unknown"}],
    },
    "access.request": {"identity_proved": True, "delivery": "handed_over"},
    "access.reply": {"third_parties_redacted": True, "purposes": ["protection"]},
    "disclosure.list": {
        "disclosures": [
            {
                "recipient": "al.nrm",
                "sections": ["case_admin"],
                "purpose": "protection",
                "on": DAY,
                "basis": "eu-gdpr:A6-1-e",
            }
        ],
        "complete": True,
    },
    "rectify.notice": {"corrects": OTHER, "sections": ["identity_core"]},
    "rectify.ack": {"outcome": "done", "done_at": WHEN},
    "erase.notice": {"ground": "withdrawn", "about": OTHER},
    "erase.ack": {"outcome": "kept", "done_at": WHEN, "basis": "legal-claims"},
    "restrict.notice": {"ground": "accuracy_contested"},
    "restrict.lift": {},
    "exclude.notice": {},
    "complaint.submit": {"about": "pressure", "by_person": True},
    "complaint.reply": {"result": "upheld"},
    "filing.report": {
        "referral": "0194f3a0-0000-7000-8000-0000000000aa",
        "outcome": "filed_with_gaps",
        "fields": ["case_admin.status"],
    },
    "stats.aggregate": {
        "first": "2026-07-01",
        "last": "2026-09-30",
        "origin": "AL",
        "destination": "IT",
        "cells": [{"exploitation": "unknown", "age": "18-20", "sex": "female", "count": 11}],
    },
}
"""By type."""


BUSINESS = UUID("0194f3a0-0000-7000-8000-0000000000aa")


def message(name: str, **changes: Any) -> Message:
    row = message_type(name) if name in catalogue else None
    content: dict[str, Any] = {
        "type": name,
        "business_id": str(BUSINESS),
        "case_ref": "IT-DEMO-0001",
        "body": BODIES.get(name, {}),
        "sections": {section: {} for section in (row.required_sections if row else ())}
        | ({"case_admin": {}} if name == "transfer.casefile" else {}),
    }
    return Message.from_json(json.dumps(content | changes))
