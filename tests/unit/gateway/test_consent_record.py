"""A consent as others may read it: every mandatory field, the person's words, nobody else's data."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from datetime import date
from importlib.resources import files
from typing import Any
from uuid import UUID

import pytest

from broker.gateway.consent.receipt import Receipt, as_html, as_text, receipt
from broker.gateway.consent.record import CONTEXT, FIELDS, SCHEMA, Party, as_json_ld
from schemas.codes.labels import LANGUAGES, section_label
from schemas.consent import (
    USUAL_WITHDRAWAL,
    ConsentKind,
    ConsentRecord,
    ConsentStatus,
    Purpose,
    ScopeGrant,
)
from schemas.directory import OrganisationKind
from schemas.errors import NotFound, SchemaRefused
from schemas.sections.index import SECTION_IDS
from tests.support.questions import NOW, voices

ITALY = Party("it.nrm", "Ufficio <inventato>", "IT", "state", "+39 06 0000000")
ALBANIA = Party("al.nrm", "Zyra e shpikur", "AL", "state")
GRANT = "0194f3a0-0000-7000-8000-000000000001"
LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)


def a_record(**changes: Any) -> ConsentRecord:
    values: dict[str, Any] = {
        "schema_version": SCHEMA,
        "record_id": UUID(int=3),
        "pii_principal_id": "corridor-17",
        "privacy_notice": "notice-3",
        "language": "sqi",
        "how": "read-out",
        "interpreter": True,
        "scopes": (
            ScopeGrant(purpose=Purpose.PROTECTION, section="case_admin"),
            ScopeGrant(purpose=Purpose.PROTECTION, section="risk_security"),
            ScopeGrant(purpose=Purpose.JUSTICE, section="case_admin"),
        ),
        "controller": "it.nrm",
        "recipient": "al.nrm",
        "jurisdiction": "IT",
        "withdrawal_method": USUAL_WITHDRAWAL,
        "retention_until": date(2027, 8, 1),
        "status": ConsentStatus.GIVEN,
        "given_at": NOW,
        "valid_until": date(2027, 5, 1),
        "presumed_child": False,
        "guardian": None,
        "derived_from": None,
    }
    return ConsentRecord(**(values | changes))


def linked(record: ConsentRecord | None = None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "controller": ITALY,
        "recipient": ALBANIA,
        "status": ConsentStatus.GIVEN,
    }
    return as_json_ld(record or a_record(), **(values | changes))


def paper(language: str, record: ConsentRecord | None = None, **changes: Any) -> Receipt:
    values: dict[str, Any] = {
        "controller": ITALY,
        "recipient": ALBANIA,
        "status": ConsentStatus.GIVEN,
        "number": GRANT,
    }
    return receipt(record or a_record(), language=language, **(values | changes))


def at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[0] if isinstance(value, list) else value
        value = value[name]
    return value


# --- the record -----------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_every_mandatory_field_of_the_technical_specification_says_something(field: str) -> None:
    assert at(linked(), FIELDS[field])


def test_it_is_json_and_every_term_has_a_vocabulary() -> None:
    found = linked()
    text = json.dumps(found)
    terms = re.findall(r'"([a-z-]+):[A-Za-z0-9_-]+"', text)
    assert set(terms) <= CONTEXT.keys()
    assert found["@type"] == "dpv:ConsentRecord"
    assert found["dct:conformsTo"] == {"@id": SCHEMA}


def test_each_purpose_has_its_own_sections_and_special_ones_say_so() -> None:
    one, two = linked()["dpv:hasProcess"]
    assert [len(one["dpv:hasPersonalData"]), len(two["dpv:hasPersonalData"])] == [2, 1]
    kinds = {data["@id"]: data["@type"] for data in one["dpv:hasPersonalData"]}
    assert kinds == {
        "referral:section:case_admin": ["dpv:PersonalData"],
        "referral:section:risk_security": ["dpv:SpecialCategoryPersonalData"],
    }


def test_a_childs_consent_is_indicated_by_two_and_names_neither() -> None:
    found = linked(a_record(presumed_child=True, guardian=voices(True, True)))
    assert at(found, ("dpv:hasConsentStatus", "dpv:isIndicatedBy")) == [
        {"@id": "_:person"},
        {"@id": "_:guardian"},
    ]
    assert "dpv:Child" in found["dpv:hasDataSubject"]["@type"]
    assert "Invented view" not in json.dumps(found)


def test_what_was_taken_back_stays_in_the_record_and_is_marked() -> None:
    found = linked(status=ConsentStatus.WITHDRAWN, removed=frozenset({("justice", "case_admin")}))
    given, ended = found["dpv:hasConsentStatus"]
    assert given["dpv:hasStatus"] == {"@id": "dpv:ConsentGiven"}
    assert ended["dpv:hasStatus"] == {"@id": "dpv:ConsentWithdrawn"}
    marked = [
        d for p in found["dpv:hasProcess"] for d in p["dpv:hasPersonalData"] if "dpv:hasStatus" in d
    ]
    assert len(marked) == 1


def test_a_record_is_one_of_four_consents() -> None:
    assert a_record().kind is ConsentKind.SHARING
    with pytest.raises(SchemaRefused):
        ConsentRecord.from_json(a_record().to_json().replace(b'"justice"', b'"case_transfer"'))


# --- the receipt ----------------------------------------------------------------------------


@LANGUAGE
def test_the_receipt_says_who_what_why_until_when_and_how_to_end_it(language: str) -> None:
    text = as_text(paper(language))
    for said in ("Ufficio <inventato>", "Zyra e shpikur", "2027-05-01", "2027-08-01", GRANT):
        assert said in text
    for section in ("case_admin", "risk_security"):
        assert section_label(section, language) in text
    assert USUAL_WITHDRAWAL not in text or language == "en"


@LANGUAGE
@pytest.mark.parametrize("status", list(ConsentStatus))
def test_it_can_be_written_whatever_became_of_it(language: str, status: ConsentStatus) -> None:
    for guardian in (None, voices(True, True)):
        for how in ("read", "read-out", "pictogram", "audio"):
            assert as_html(paper(language, a_record(guardian=guardian, how=how), status=status))


@LANGUAGE
def test_it_repeats_nothing_that_somebody_else_said(language: str) -> None:
    record = a_record(presumed_child=True, guardian=voices(True, True))
    for shown in (as_text(paper(language, record)), as_html(paper(language, record))):
        assert "Invented view" not in shown
        assert "appointed guardian" not in shown
        assert "corridor-17" not in shown


@LANGUAGE
def test_the_page_is_whole_safe_and_runs_the_right_way(language: str) -> None:
    page = as_html(paper(language))
    direction = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in page
    assert "&lt;inventato&gt;" in page
    assert "<bdi>Ufficio &lt;inventato&gt;</bdi>" in page
    assert "http" not in page
    assert "<script" not in page
    assert "<title>·</title>" in page
    for tag in ("ul", "li", "p", "h2", "bdi"):
        assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>")


def test_what_was_taken_back_is_struck_out_and_said() -> None:
    page = as_html(paper("en", removed=frozenset({("justice", "case_admin")})))
    assert page.count('class="gone"') == 1
    assert "you took this back" in page


def test_all_languages_say_the_same_things() -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(item) for name, item in value.items()}
        if isinstance(value, list):
            return len(value)
        return sorted(re.findall(r"\{\w+\}", value))

    place = files("broker.gateway.consent") / "words"
    shapes = [
        shape(tomllib.loads((place / f"{lang}.toml").read_text("utf-8"))) for lang in LANGUAGES
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert shapes[0]["purpose"].keys() == set(Purpose)
    assert shapes[0]["kind"].keys() == set(ConsentKind)


@LANGUAGE
def test_every_section_has_a_name_for_the_person(language: str) -> None:
    scopes = tuple(ScopeGrant(purpose=Purpose.PROTECTION, section=name) for name in SECTION_IDS)
    text = as_text(paper(language, a_record(scopes=scopes)))
    assert not [name for name in SECTION_IDS if "_" in name and name in text]


def test_no_other_language_is_pretended() -> None:
    with pytest.raises(NotFound):
        paper("sqi")


def test_a_party_that_left_the_directory_is_its_name() -> None:
    assert Party.of(None, "al.nrm") == Party("al.nrm", "al.nrm", "AL")
    assert OrganisationKind.STATE in ITALY.kind


@LANGUAGE
def test_the_paper_says_on_whose_computer_it_is_read(language: str) -> None:
    hosted = replace(ALBANIA, host="Invented host", host_country="XK")
    assert "Invented host" in as_text(paper(language, recipient=hosted))
    assert "Invented host" not in as_text(paper(language))
