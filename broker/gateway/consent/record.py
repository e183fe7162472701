"""A person's consent as a record that others can read: ISO/IEC TS 27560:2023 as JSON-LD.

The shape follows the W3C guide that expresses the technical specification in the Data Privacy
Vocabulary (DPV). All of its mandatory fields are here, each under the DPV or Dublin Core term that
the guide uses; `FIELDS` says which. The person is a pseudonym, and no data of anybody else is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from schemas.base import instant_text
from schemas.consent import ConsentRecord, ConsentStatus
from schemas.directory import Participant
from schemas.sections.index import SECTION_INDEX, DataClass

SCHEMA = "https://w3id.org/dpv/schema/dpv-27560#record"
CONTEXT: Mapping[str, str] = MappingProxyType(
    {
        "dpv": "https://w3id.org/dpv#",
        "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
        "loc": "https://w3id.org/dpv/loc#",
        "dct": "http://purl.org/dc/terms/",
        "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "referral": "urn:referral:",
    }
)

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "schema_version": ("dct:conformsTo",),
        "record_id": ("dct:identifier",),
        "pii_principal_id": ("dpv:hasDataSubject", "dct:identifier"),
        "privacy_notice": ("dpv:hasNotice", "dct:identifier"),
        "language": ("dpv:hasNotice", "dct:language"),
        "purpose": ("dpv:hasProcess", "dpv:hasPurpose"),
        "pii_information": ("dpv:hasProcess", "dpv:hasPersonalData"),
        "pii_type": ("dpv:hasProcess", "dpv:hasPersonalData", "@type"),
        "pii_controllers": ("dpv:hasDataController",),
        "storage_locations": ("dpv:hasStorageCondition", "dpv:hasLocation"),
        "retention_period": ("dpv:hasStorageCondition", "dpv:hasDuration"),
        "jurisdiction": ("dpv:hasJurisdiction",),
        "recipient_third_parties": ("dpv:hasRecipient",),
        "withdrawal_method": ("dpv:hasConsentControl", "rdfs:comment"),
        "party_id": ("dpv:hasDataController", "dct:identifier"),
        "party_name": ("dpv:hasDataController", "dpv:hasName"),
        "party_address": ("dpv:hasDataController", "dpv:hasAddress"),
        "party_contact": ("dpv:hasDataController", "dpv:hasContact"),
        "party_type": ("dpv:hasDataController", "@type"),
        "event_time": ("dpv:hasConsentStatus", "dct:date"),
        "validity_duration": ("dpv:hasConsentStatus", "dct:valid"),
        "entity_id": ("dpv:hasConsentStatus", "dpv:isIndicatedBy"),
        "event_type": ("dpv:hasConsentStatus", "@type"),
        "event_state": ("dpv:hasConsentStatus", "dpv:hasStatus"),
    }
)
"""Mandatory field of ISO/IEC TS 27560 to where it stands."""

_SPECIAL = frozenset({DataClass.SPECIAL, DataClass.SPECIAL_OR_CRIMINAL})
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "state": "dpv:GovernmentalOrganisation",
        "international-organisation": "dpv:InternationalOrganisation",
        "ngo": "dpv:NonGovernmentalOrganisation",
    }
)


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation as a person is told of it."""

    id: str
    name: str
    country: str
    """ISO 3166-1 alpha-2."""
    kind: str = ""
    contact: str = ""
    """How to reach it; empty if it did not say, and then through the worker who wrote this down."""
    host: str = ""
    """Whose machine it is read on, if not its own: name of the organisation."""
    host_country: str = ""

    @classmethod
    def of(
        cls,
        entry: Participant | None,
        name: str,
        contact: str = "",
        *,
        host: Participant | None = None,
    ) -> Party:
        """From the directory; of one that has left it, its name alone."""
        if entry is None:
            return cls(name, name, name.split(".")[0].upper(), contact=contact)
        made = cls(entry.id, entry.name, entry.country, str(entry.kind), contact)
        return made if host is None else replace(made, host=host.name, host_country=host.country)


def as_json_ld(
    record: ConsentRecord,
    *,
    controller: Party,
    recipient: Party,
    status: ConsentStatus,
    removed: frozenset[tuple[str, str]] = frozenset(),
) -> dict[str, Any]:
    """The record with every mandatory field of ISO/IEC TS 27560, and what became of it.

    Args:
        record: What the person said.
        status: What became of it since.
        removed: (purpose, section) taken back since; they stay in the record, marked.
    """
    purposes = dict.fromkeys(scope.purpose for scope in record.scopes)
    return {
        "@context": dict(CONTEXT),
        "@id": f"urn:uuid:{record.record_id}",
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": {"@id": record.schema_version},
        "dct:identifier": str(record.record_id),
        "dct:issued": _instant(record),
        "dpv:hasDataSubject": {
            "@id": "_:person",
            "@type": [
                "dpv:VulnerableDataSubject",
                *(["dpv:Child"] if record.presumed_child else []),
            ],
            "dct:identifier": record.pii_principal_id,
        },
        "dpv:hasNotice": {
            "@type": "dpv:ConsentNotice",
            "dct:identifier": record.privacy_notice,
            "dct:language": record.language,
            "rdfs:comment": record.how + (", interpreter" if record.interpreter else ""),
        },
        "dpv:hasProcess": [
            {
                "@type": "dpv:Process",
                "dpv:hasPurpose": {"@id": f"referral:purpose:{purpose}", "@type": "dpv:Purpose"},
                "dpv:hasLegalBasis": {"@id": "dpv:ExplicitlyExpressedConsent"},
                "dpv:hasPersonalData": [
                    _data(scope.section, (scope.purpose, scope.section) in removed)
                    for scope in record.scopes
                    if scope.purpose == purpose
                ],
            }
            for purpose in purposes
        ],
        "dpv:hasDataController": _party(controller, "dpv:DataController", record),
        "dpv:hasRecipient": [_party(recipient, "dpv:Recipient", record)],
        "dpv:hasStorageCondition": {
            "@type": "dpv:StorageCondition",
            "dpv:hasLocation": [
                {"@id": f"loc:{country}"}
                for country in dict.fromkeys((controller.country, recipient.country))
            ],
            "dpv:hasDuration": {
                "@type": "dpv:UntilTimeDuration",
                "dct:valid": {"@type": "xsd:date", "@value": record.retention_until.isoformat()},
            },
        },
        "dpv:hasJurisdiction": {"@id": f"loc:{record.jurisdiction}"},
        "dpv:hasConsentControl": {
            "@id": "dpv:WithdrawConsent",
            "rdfs:comment": record.withdrawal_method,
        },
        "dpv:hasRight": [{"@id": f"eu-gdpr:{right}"} for right in ("A7-3", "A15", "A16", "A17")],
        "dpv:hasConsentStatus": _events(record, controller, status),
        "referral:consentKind": str(record.kind),
        "referral:derivedFrom": None
        if record.derived_from is None
        else {"@id": f"urn:uuid:{record.derived_from}"},
    }


def _events(
    record: ConsentRecord, controller: Party, status: ConsentStatus
) -> list[dict[str, Any]]:
    given = {
        "@type": "dpv:ExplicitlyExpressedConsent",
        "dpv:hasStatus": {"@id": f"dpv:{record.status}"},
        "dct:date": _instant(record),
        "dct:valid": {"@type": "xsd:date", "@value": record.valid_until.isoformat()},
        "dpv:isIndicatedBy": [{"@id": by} for by in _said_by(record)],
        "dct:creator": {"@id": f"referral:{controller.id}"},
    }
    if status is record.status:
        return [given]
    # When it changed is in the grant's log, with its proof; a record of a record would be a guess.
    changed = {
        name: value for name, value in given.items() if name not in ("dct:date", "dct:valid")
    }
    return [given, {**changed, "dpv:hasStatus": {"@id": f"dpv:{status}"}}]


def _said_by(record: ConsentRecord) -> list[str]:
    """A child's consent is said by two."""
    return ["_:person", "_:guardian"] if record.guardian is not None else ["_:person"]


def _data(section: str, taken_back: bool) -> dict[str, Any]:
    entry = SECTION_INDEX.get(section)
    special = entry is not None and entry.data_class in _SPECIAL
    data: dict[str, Any] = {
        "@id": f"referral:section:{section}",
        "@type": ["dpv:SpecialCategoryPersonalData" if special else "dpv:PersonalData"],
    }
    if taken_back:
        data["dpv:hasStatus"] = {"@id": f"dpv:{ConsentStatus.WITHDRAWN}"}
    return data


def _party(party: Party, role: str, record: ConsentRecord) -> dict[str, Any]:
    kind = _KINDS.get(party.kind)
    return {
        "@id": f"referral:{party.id}",
        "@type": [role, *([kind] if kind else [])],
        "dct:identifier": party.id,
        "dpv:hasName": party.name,
        "dpv:hasAddress": {"@id": f"loc:{party.country}"},
        "dpv:hasContact": party.contact or record.withdrawal_method,
    }


def _instant(record: ConsentRecord) -> dict[str, str]:
    return {"@type": "xsd:dateTime", "@value": instant_text(record.given_at)}
