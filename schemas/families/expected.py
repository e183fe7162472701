"""What a message usually carries beyond what it must: the mechanism's own table, type by type.

A section is *required* where the message says nothing without it. Everything else is the person's to
give, section by section, so a message without it still travels; but whoever prepares it is told
(`referral send --dry-run`, `referral catalogue TYPE`) that the other side expects it. Why some rows
expect nothing at all: `docs/adr/0009-expected-sections.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from schemas.families.base import NO_SECTION, MessageType, sections

_EXPECTED = {
    "notify.anonymous": "STT RTE",
    "nationality.verify.result": "NAT",
    "traveldoc.request": "ATT",
    "traveldoc.result": "NAT",
    "status.recognition.request": "ATT",
    "status.recognition.result": "STA",
    "info.reply": "FAM VUL RSK STA",
    "family.tracing.request": "RSK",
    "family.tracing.result": "FAM",
    "family.assessment.request": "VUL RSK",
    "family.assessment.result": "FAM VUL RSK",
    "risk.assessment.request": "PER MIG",
    "risk.assessment.contribution": "RSK PER MIG",
    "risk.assessment.joint": "RSK",
    "bestinterests.request": "FAM RSK",
    "bestinterests.result": "GUA FAM RSK",
    "referral.early_notice": "DEM VUL SVC",
    "referral.request": "IDC DEM SVC RSK STA",
    "referral.accept": "SVC",
    "referral.scheduled": "SVC",
    "referral.interim": "SVC",
    "referral.outcome": "SVC",
    "return.plan.propose": "RSK REI NAT HLT",
    "return.plan.amend": "RSK REI NAT HLT",
    "return.decision": "RET",
    "travel.notice": "RSK CON",
    "transit.assist.reply": "RET",
    "departure.confirm": "RET",
    "departure.cancelled": "RET",
    "arrival.handover.confirm": "RET",
    "arrival.failed": "RET",
    "return.completed": "RET",
    "transfer.offer": "IDC STA RSK VUL SVC REI",
    "transfer.return_back": "ADM",
    "exit.handover": "ADM MON",
    "reintegration.plan.share": "VUL",
    "reintegration.plan.comment": "REI VUL",
    "reintegration.plan.update": "VUL",
    "grant.authorise": "CMP",
    "grant.disbursed": "CMP",
    "grant.adjust": "CMP",
    "monitoring.request": "MON",
    "monitoring.report": "MON",
    "contact.lost": "MON RSK",
    "contact.restored": "MON",
    "case.reopen": "ADM",
    "case.close": "ADM",
    "justice.status.request": "JUS",
    "justice.status.notify": "JUS",
    "witness.request": "JUS RSK",
    "compensation.info": "CMP JUS",
    "compensation.claim": "JUS",
    "compensation.result": "CMP JUS",
    "safety.alert": "RSK IDC CON",
    "safety.action": "RSK",
    "missing.alert": "IDC RSK",
    "missing.resolved": "RSK",
    "staff.security.alert": "RSK",
}
EXPECTED: Mapping[str, frozenset[str]] = MappingProxyType(
    {name: sections(codes) for name, codes in _EXPECTED.items()}
)
"""By type; those that it requires are not repeated."""


def expected_sections(row: MessageType) -> frozenset[str]:
    """The sections that the other side expects, and a message may travel without."""
    return EXPECTED.get(row.name, NO_SECTION)
