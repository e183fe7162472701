"""Whose data stand in a person's case besides her own: what her copy of it leaves out.

Her right to a copy must not harm others' rights (GDPR Art 15(4)): a relative, a person suspected, a
worker by name. Each section declares the fields that are theirs. Text that a person wrote may name
anybody, so a worker reads it before it is given out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from schemas.base import ProtectedModel, WrittenByAPerson
from schemas.sections.registry import SECTIONS, part_model

OTHERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        section: frozenset(fields.split())
        for section, fields in {
            "case_admin": "case_owner referring_case_worker referred_case_worker worker_name"
            " worker_phone worker_email",
            "contact_location": "safe_contact.who_may_answer",
            "family_dependants": "relatives.name relatives.age relatives.whereabouts"
            " relatives.phone relatives.consent relatives.knows_of_trafficking relatives.attitude"
            " relatives.income_source relatives.housing relatives.financial_capacity"
            " relatives.suspected children_travelling.case_number",
            "guardian_child": "guardian_phone caregiver_name caregiver_phone",
            "perpetrator": "persons use_restrictions",
            "trafficking_route": "location_of_recruitment location_of_exploitation",
            "risk_security": "assessed_by risk_to_staff police_liaison",
            "mental_health_psychosocial": "clinician clinician_phone",
            "criminal_justice": "legal_representative",
            "compensation_finance": "claims.against debts_owed_to",
            "return_travel": "legs.escort_name legs.escort_phone reception_person reception_phone"
            " handovers.handed_over_by handovers.received_by",
            "reintegration_plan": "plans.responsible written_by",
            "case_narrative": "redacted_by",
        }.items()
    }
)
"""Section to paths `field`, or `field.part` of one that holds parts."""


def written_by_somebody(section: str) -> frozenset[str]:
    """Paths of text that a person wrote, in which anybody may be named."""
    return frozenset(_texts(SECTIONS[section].model))


def own_data(
    section: str, content: Mapping[str, Any], *, texts_read: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A section without what is others', and the paths that were left out.

    Args:
        texts_read: A worker has read what people wrote: it names nobody else.
    """
    hidden = OTHERS.get(section, frozenset())
    if not texts_read:
        hidden |= written_by_somebody(section)
    left: dict[str, Any] = {}
    out: list[str] = []
    for name, value in content.items():
        inner = {path.partition(".")[2] for path in hidden if path.startswith(f"{name}.")}
        if name in hidden:
            out.append(f"{section}.{name}")
        elif inner:
            parts, gone = _without(value, inner)
            out += [f"{section}.{name}.{part}" for part in gone]
            left[name] = parts
        else:
            left[name] = value
    return left, tuple(sorted(out))


def _without(value: Any, hidden: set[str]) -> tuple[Any, list[str]]:
    if isinstance(value, list):
        kept = [_without(item, hidden) for item in value]
        return [item for item, _ in kept], sorted({name for _, gone in kept for name in gone})
    if isinstance(value, dict):
        return (
            {name: item for name, item in value.items() if name not in hidden},
            sorted(hidden & value.keys()),
        )
    return value, []


def _texts(model: type[ProtectedModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if any(isinstance(item, WrittenByAPerson) for item in _marks(field)):
            yield before + name
        elif not before and (part := part_model(field.annotation)) is not None:
            yield from _texts(part, f"{name}.")


def _marks(field: Any) -> Iterator[Any]:
    yield from field.metadata
    yield from _inner_marks(field.annotation)


def _inner_marks(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for argument in getattr(annotation, "__args__", ()):
        yield from _inner_marks(argument)
