"""Primero's field names and codes, and ours: tables, read in both directions. Data.

Names are those of Primero's own child protection configuration, misspellings included; what stands
in no table is named, and never turned into *other*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from adapters.base import Step

CASE: Final = "referral_broker_case"
"""A text area that the operator adds to a form: the whole case, as JSON of ASCII alone."""
SAME_AS: Final = "referral_broker_same_as"
"""A text field that the operator adds: the number of the record whose person a worker has said to
be this one."""
SERVICES: Final = "services_section"

CONSENT_FIELDS: Final = (
    "consent_for_services",
    "consent_reporting",
    "consent_for_tracing",
    "disclosure_other_orgs",
    "unhcr_export_opt_in",
)
"""Boxes of the record. Shown to a worker, and written as they came; never a grant."""


def _table(pairs: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(pairs))


@dataclass(frozen=True, slots=True)
class Row:
    """A field of a section, and Primero's field; with a table if it is a code."""

    section: str
    field: str
    name: str
    codes: Mapping[str, str] | None = None
    whole_date: bool = False
    """Primero has a day or nothing; a year alone is not the first of January."""

    def there(self, value: object) -> object | None:
        """The value in Primero; None if it has none."""
        if self.codes is not None:
            return self.codes.get(str(value))
        if self.whole_date:
            return (
                value if isinstance(value, str) and len(value) == 10 and value[-1] != "X" else None
            )
        return value

    def here(self, value: object) -> object | None:
        """Our value; None if it is no value of ours, or might be two."""
        if value in ("", [], None):
            return None  # an empty text is no answer
        if self.codes is not None:
            ours = [code for code, word in self.codes.items() if word == value]
            return ours[0] if len(ours) == 1 else None
        return value if isinstance(value, str) else None


SEX: Final = _table({"Feminine": "female", "Masculine": "male"})
MARRIED: Final = _table({"Single": "single", "Widowed": "widowed"})
"""Primero has one code for married and cohabiting, and one for divorced and separated."""
RISK: Final = _table({"low": "low", "medium": "medium", "high": "high"})
"""`immediate` is more than high."""

ROWS: Final = (
    Row("identity_core", "first_name", "name_first"),
    Row("identity_core", "middle_name", "name_middle"),
    Row("identity_core", "second_name", "name_last"),
    Row("identity_core", "birthdate", "date_of_birth", whole_date=True),
    Row("identity_core", "gender", "sex", SEX),
    Row("demographics_language", "marital_status", "marital_status", MARRIED),
    Row("nationality_documents", "identity_number", "national_id_no"),
    Row("nationality_documents", "unhcr_id", "unhcr_individual_no"),
    Row("contact_location", "mobile_phone", "telephone_current"),
    Row("contact_location", "mailing_street", "address_current"),
    Row("risk_security", "risk_level", "risk_level", RISK),
)

SERVICE: Final = _table(
    {
        "safe_house": "safehouse",
        "health": "health_medical",
        "psychosocial": "psychosocial",
        "legal": "legal_assistance",
        "livelihood": "livelihoods",
        "child_protection": "child_protection",
        "family_mediation": "family_mediation",
        "education": "education",
        "food": "food",
        "other": "other",
    }
)
"""Not mapped, and so named: `family_seunification_service` (sic), `police_other`, `nfi`,
`water_sanitation`, `registration` there; thirteen services here."""

STEP_OF: Final = MappingProxyType(
    {
        "accepted": Step.ACCEPTED,
        "rejected": Step.DECLINED,
        "done": Step.COMPLETED,
        "revoked": Step.CANCELLED,
    }
)
STATUS_OF: Final = MappingProxyType(
    {
        Step.ACCEPTED: "accepted",
        Step.IN_PROGRESS: "accepted",
        Step.DECLINED: "rejected",
        Step.COMPLETED: "done",
        Step.FAILED: "done",
        Step.CANCELLED: "revoked",
    }
)
OPEN: Final = frozenset({"in_progress", "accepted"})
NOT_SUCCESSFUL: Final = _table({"contact_lost": "unable_to_contact_client"})
"""Our results in Primero's words; the others are `other`, beside which our own code stands."""
