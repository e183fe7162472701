"""Cases and FHIR R4 resources: what is native stands there, what is foreign is read or named."""

from __future__ import annotations

import io
import json
from typing import Any
from uuid import UUID

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import CaseRecord, RejectedRow
from adapters.conformance.cases import (
    cases_in_every_script,
    cases_with_every_code,
    cases_with_hostile_text,
    full_case,
)
from adapters.systems.fhir import native, words
from adapters.systems.fhir.foreign import read_bundle
from adapters.systems.fhir.resources import case_there, checked, resources_of
from schemas.errors import SchemaRefused

ID = UUID("0190a000-0000-7000-8000-000000000001")


def made_of(case: CaseRecord) -> dict[str, Any]:
    return resources_of(checked(case), ID)


def bundle(*resources: dict[str, Any], urls: bool = False) -> io.BytesIO:
    entries: list[dict[str, Any]] = [{"resource": each} for each in resources]
    if urls:
        entries = [{"fullUrl": f"urn:uuid:{i}", **each} for i, each in enumerate(entries)]
    return io.BytesIO(
        json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    )


def cases(*resources: dict[str, Any]) -> list[CaseRecord | RejectedRow]:
    return list(read_bundle(bundle(*resources)))


def only_case(*resources: dict[str, Any]) -> CaseRecord:
    [case] = cases(*resources)
    assert isinstance(case, CaseRecord), case
    return case


PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p1", "birthDate": "1998"}
REQUEST: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "s1",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p1"},
}


@pytest.mark.parametrize(
    "case",
    [
        full_case(),
        *(case for _, case in cases_in_every_script()),
        *(case for _, case in cases_with_hostile_text()),
    ],
)
def test_an_independent_library_takes_every_resource_that_we_make(case: CaseRecord) -> None:
    for resource in made_of(case).values():
        get_fhir_model_class(resource["resourceType"]).model_validate_json(json.dumps(resource))


def test_what_was_filed_is_read_back_and_an_exported_bundle_of_ours_is_the_case_again() -> None:
    for case in (full_case(), *(case for _, case in cases_with_every_code())):
        resources = list(made_of(case).values())
        there = case_there(resources, ID)
        assert there is not None
        assert there.sections == checked(case).sections
        assert (there.case_ref, there.sender) == (case.case_ref, case.sender)


def test_native_elements_say_in_fhirs_words_what_the_case_says() -> None:
    made = made_of(full_case())
    patient = made["patient"]
    assert patient["birthDate"] == "1990"
    assert {"system": "phone", "use": "mobile", "value": "+447700900100"} in patient["telecom"]
    assert patient["communication"][0]["language"]["coding"][0]["code"] == "sq"
    assert [each["coding"][0]["code"] for each in made["request"]["orderDetail"]] == [
        "legal",
        "housing",
    ]
    assert made["consent"]["status"] == "proposed"
    assert words.TEST_DATA in patient["meta"]["security"]


def test_what_people_change_in_the_system_counts_and_the_rest_stays() -> None:
    made = made_of(full_case())
    made["patient"]["address"][0]["postalCode"] = "00185"
    made["patient"]["telecom"] = []
    there = case_there(list(made.values()), ID)
    assert there is not None
    contact = there.sections["contact_location"]
    assert contact["mailing_postal_code"] == "00185"
    assert "mobile_phone" not in contact
    assert there.sections["perpetrator"] == checked(full_case()).sections["perpetrator"]


def test_a_gender_that_may_be_any_of_three_is_named_and_not_guessed() -> None:
    case = only_case({**PATIENT, "gender": "other"}, REQUEST)
    assert "gender" not in case.sections["identity_core"]
    assert case.not_carried == ("Patient.gender",)


def test_of_two_official_names_none_is_taken() -> None:
    names = [{"use": "official", "family": "Invented"}, {"use": "official", "family": "Other"}]
    case = only_case({**PATIENT, "name": names}, REQUEST)
    assert "second_name" not in case.sections["identity_core"]
    assert case.not_carried == ("Patient.name[0]", "Patient.name[1]")


def test_zeros_in_front_stay_and_a_partial_date_stays_partial() -> None:
    number = {
        "type": {"coding": [{"system": words.IDENTIFIER_TYPE, "code": "NI"}]},
        "value": "007",
    }
    case = only_case({**PATIENT, "identifier": [number]}, REQUEST)
    assert case.sections["nationality_documents"]["identity_number"] == "007"
    assert case.sections["identity_core"]["birthdate"] == "1998"


def test_one_unknown_citizenship_makes_both_unread_and_named() -> None:
    def citizenship(code: str) -> dict[str, Any]:
        coding = [{"system": words.COUNTRIES, "code": code}]
        inner = {"url": "code", "valueCodeableConcept": {"coding": coding}}
        return {"url": words.CITIZENSHIP, "extension": [inner]}

    case = only_case({**PATIENT, "extension": [citizenship("AL"), citizenship("??")]}, REQUEST)
    assert "nationality_documents" not in case.sections
    assert case.not_carried == ("Patient.extension[0]", "Patient.extension[1]")


def test_a_service_of_another_code_system_is_named_and_never_another_service() -> None:
    detail = {"coding": [{"system": "http://example.org/services", "code": "legal"}]}
    case = only_case(PATIENT, {**REQUEST, "code": {"text": "x"}, "orderDetail": [detail]})
    assert "services_support" not in case.sections
    assert set(case.not_carried) == {"ServiceRequest.code", "ServiceRequest.orderDetail[0]"}


def test_unknown_extensions_and_elements_are_named_and_hostile_names_are_not_repeated() -> None:
    strange = {
        **PATIENT,
        "extension": [{"url": "http://example.org/tattoo", "valueString": "invented"}],
        "Invented Name, born 1998": "x",
    }
    case = only_case(strange, REQUEST)
    assert case.not_carried == ("Patient.extension[0]", "Patient.unknown-element")


def test_contained_and_absolute_references_are_followed() -> None:
    inside = {**REQUEST, "contained": [PATIENT], "subject": {"reference": "#p1"}}
    assert only_case(inside).sections["identity_core"] == {"birthdate": "1998"}
    far = {**REQUEST, "subject": {"reference": "https://server.invalid/fhir/Patient/p1"}}
    assert only_case(PATIENT, far).case_ref == "s1"


def test_a_request_for_nobody_and_a_resource_of_nobody_are_rejected_by_number() -> None:
    observation = {"resourceType": "Observation", "id": "o1"}
    assert cases(REQUEST, observation) == [
        RejectedRow(1, ("ServiceRequest.subject: missing",)),
        RejectedRow(2, ("Observation: of-no-case",)),
    ]


def test_a_persons_other_resources_are_named_as_not_read() -> None:
    observation = {"resourceType": "Observation", "subject": {"reference": "Patient/p1"}}
    assert only_case(PATIENT, REQUEST, observation).not_carried == ("Observation: not-read",)


def test_a_consent_is_a_box_to_look_at_and_never_a_grant() -> None:
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "patient": {"reference": "Patient/p1"},
        "provision": {"type": "deny"},
    }
    assert only_case(PATIENT, REQUEST, consent).consent_boxes == {"Consent[0]": False}


def test_guardian_and_relatives_are_told_apart_by_their_role() -> None:
    def related(code: str, name: str) -> dict[str, Any]:
        return {
            "resourceType": "RelatedPerson",
            "patient": {"reference": "Patient/p1"},
            "relationship": [{"coding": [{"system": words.ROLE, "code": code}]}],
            "name": [{"given": ["Invented"], "family": name}],
        }

    case = only_case(PATIENT, REQUEST, related("GUARD", "One"), related("MTH", "Two"))
    assert case.sections["guardian_child"] == {"guardian_name": "Invented One"}
    assert case.sections["family_dependants"]["relatives"] == [
        {"name": "Invented Two", "relation": "mother"}
    ]
    assert case.not_carried == ()


def test_a_case_number_that_names_the_person_is_refused() -> None:
    named = {**PATIENT, "name": [{"family": "Shembulli"}]}
    assert cases(named, {**REQUEST, "id": "Shembulli-1"}) == [
        RejectedRow(2, ("ServiceRequest.identifier: names-the-person",))
    ]


def test_many_people_in_one_bundle_are_never_mixed_up() -> None:
    resources: list[dict[str, Any]] = []
    for number in range(40):
        resources.append({**PATIENT, "id": f"p{number}", "birthDate": f"{1960 + number}"})
        subject = {"reference": f"Patient/p{number}"}
        resources.append({**REQUEST, "id": f"s{number}", "subject": subject})
    found = cases(*resources)
    assert {
        case.case_ref: case.sections["identity_core"]["birthdate"]
        for case in found
        if isinstance(case, CaseRecord)
    } == {f"s{number}": f"{1960 + number}" for number in range(40)}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"resourceType": "Patient"}', b"\xff", b"[" * 9])
def test_what_is_no_bundle_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(SchemaRefused):
        list(read_bundle(io.BytesIO(content)))


def test_each_table_says_each_field_once_and_reads_what_it_writes() -> None:
    for table in (native.PATIENT, native.SERVICE_REQUEST, native.CARE_TEAM, native.GUARDIAN):
        fields = [(row.section, row.field) for row in table]
        assert len(set(fields)) == len(fields)
        assert len({str(row.place) for row in table}) == len(table)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@given(st.data())
def test_a_bundle_that_is_damaged_anywhere_gives_cases_or_reasons_and_never_another_error(
    data: st.DataObject,
) -> None:
    whole = [*made_of(full_case()).values(), PATIENT, REQUEST]
    resources = json.loads(json.dumps(whole))
    node: Any = resources
    while isinstance(node, dict | list) and node:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(ANYTHING)
            break
        node = node[key]
    try:
        found = list(read_bundle(bundle(*resources)))
    except SchemaRefused:
        return
    assert all(isinstance(each, CaseRecord | RejectedRow) for each in found)


def test_a_forged_extension_is_a_reason_and_no_case() -> None:
    made = made_of(full_case())
    [extension] = made["request"]["extension"]
    forged = json.loads(extension["valueString"])
    forged["sections"]["family_dependants"] = {"relatives": 5}
    extension["valueString"] = json.dumps(forged)
    made["request"]["subject"] = {"reference": "Patient/p1"}
    assert cases(PATIENT, made["request"]) == [
        RejectedRow(2, ("ServiceRequest.extension: bad-value",))
    ]


# --- as others write them -----------------------------------------------------------------------

FOREIGN: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "resource": {
                "resourceType": "Patient",
                "meta": {"profile": ["http://example.org/StructureDefinition/other-patient"]},
                "name": [{"given": ["Zmyślona"], "family": "Łódź"}],
                "_birthDate": {"extension": [{"url": "http://example.org/x", "valueCode": "y"}]},
                "multipleBirthBoolean": False,
            },
        },
        {
            "fullUrl": "https://other.invalid/fhir/ServiceRequest/77",
            "resource": {
                "resourceType": "ServiceRequest",
                "id": "77",
                "status": "on-hold",
                "intent": "order",
                "subject": {"reference": "urn:uuid:7C9E6679-7425-40DE-944B-E07FC1F90AE7"},
                "contained": [
                    {"resourceType": "Practitioner", "id": "a"},
                    {"resourceType": "Condition", "id": "b"},
                ],
                "requester": {"reference": "#a"},
            },
        },
        {
            "resource": {
                "resourceType": "Task",
                "status": "requested",
                "intent": "order",
                "focus": {"reference": "https://other.invalid/fhir/ServiceRequest/77/_history/3"},
                "description": "invented",
                "note": [{"text": "invented"}],
            }
        },
        {
            "resource": {
                "resourceType": "Consent",
                "status": "active",
                "patient": {"reference": "urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7"},
                "provision": {"type": "permit", "provision": [{"type": "deny"}]},
            }
        },
    ],
    "link": [{"relation": "next", "url": "https://other.invalid/fhir?page=2"}],
}


def test_of_a_foreign_bundle_nothing_is_lost_without_being_named() -> None:
    case, more = read_bundle(io.BytesIO(json.dumps(FOREIGN).encode()))

    assert isinstance(case, CaseRecord)
    assert case.sections["identity_core"] == {"first_name": "Zmyślona", "second_name": "Łódź"}
    assert set(case.not_carried) == {
        "Patient._birthDate",
        "Patient.multipleBirthBoolean",
        "ServiceRequest.status",
        "ServiceRequest.requester",
        "ServiceRequest.contained[0]",
        "ServiceRequest.contained[1]",
        "Task.description",
        "Task.note[0]",
        "Consent.provision",
    }
    assert more == RejectedRow(5, ("Bundle.link: more-pages",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "revoked"}, "ServiceRequest.status: not-in-force"),
        ({"status": "entered-in-error"}, "ServiceRequest.status: not-in-force"),
        ({"doNotPerform": True}, "ServiceRequest.doNotPerform: not-in-force"),
        (
            {"modifierExtension": [{"url": "http://example.org/not", "valueBoolean": True}]},
            "ServiceRequest.modifierExtension: not-understood",
        ),
    ],
)
def test_a_request_that_is_taken_back_or_negated_is_no_case(
    change: dict[str, Any], reason: str
) -> None:
    assert RejectedRow(2, (reason,)) in cases(PATIENT, {**REQUEST, **change})


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p1",
        "patient/p1",
        "Patient/p1/_history/4",
        "https://other.invalid/fhir/Patient/p1",
        "https://other.invalid/fhir/Patient/p1/_history/4",
    ],
)
def test_a_person_is_found_however_she_is_referred_to(reference: str) -> None:
    case = only_case(PATIENT, {**REQUEST, "subject": {"reference": reference}})
    assert case.sections["identity_core"] == {"birthdate": "1998"}


def test_of_two_people_under_one_reference_none_is_taken() -> None:
    two = [PATIENT, {**PATIENT, "birthDate": "1999"}]
    assert RejectedRow(3, ("ServiceRequest.subject: missing",)) in cases(*two, REQUEST)


def test_a_bundle_of_two_thousand_people_is_read_in_one_go() -> None:
    resources = []
    for number in range(2_000):
        resources.append({**PATIENT, "id": f"p{number}", "birthDate": f"{1900 + number % 100}"})
        subject = {"reference": f"Patient/p{number}"}
        resources.append({**REQUEST, "id": f"s{number}", "subject": subject})
    found = {
        case.case_ref: case.sections["identity_core"]["birthdate"]
        for case in read_bundle(bundle(*resources))
        if isinstance(case, CaseRecord)
    }
    assert found == {f"s{number}": f"{1900 + number % 100}" for number in range(2_000)}
