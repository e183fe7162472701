"""Which field of a section is which native element of FHIR R4: tables, read in both directions.

The rows are the mapping. Writing puts a value in its row's place; reading takes it from there or
from the other places in which foreign systems are known to keep it. What no row takes is left
over, and named by whoever reads.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from adapters.systems.fhir import words
from adapters.systems.fhir.places import Path, add, found, only, put, remove
from schemas import codes

Sections: TypeAlias = Mapping[str, Mapping[str, Any]]
Draft: TypeAlias = dict[str, dict[str, Any]]
Convert: TypeAlias = Callable[[Any], Any]
"""None: it has no counterpart."""

_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is said in FHIR, and read back."""

    write: Convert
    read: Convert


@dataclass(frozen=True, slots=True)
class Row:
    """A field and its place."""

    section: str
    field: str
    kind: Kind
    place: Path
    also: tuple[Path, ...] = ()
    """Read, never written."""
    many: bool = False
    """The field holds several; each has an element of the list that the place selects from."""


def _text(value: Any) -> Any:
    # What FHIR's own grammar of texts refuses stays in our extension alone.
    fits = (
        isinstance(value, str)
        and value.strip() == value != ""
        and all(letter.isprintable() or letter in "\n\t" for letter in value)
    )
    return value if fits else None


def _date_there(value: Any) -> Any:
    bare = re.sub(r"-XX", "", value)
    return bare if _DATE.fullmatch(bare) else None


def _date_here(value: Any) -> Any:
    return value if isinstance(value, str) and _DATE.fullmatch(value) else None


def _day_here(value: Any) -> Any:
    # A dateTime: its day, as its own clock has it; a year or a month is no day.
    match = re.match(r"\d{4}-\d\d-\d\d", value) if isinstance(value, str) else None
    return match[0] if match else None


def coded(table: Mapping[str, str]) -> Kind:
    """By a table; a word that stands for two codes of ours is not read."""
    sole = {word: code for code, word in table.items() if [*table.values()].count(word) == 1}
    return Kind(table.get, lambda word: sole.get(word) if isinstance(word, str) else None)


def _known(find: Callable[[str], str | None]) -> Kind:
    return Kind(lambda value: value, lambda text: find(text) if isinstance(text, str) else None)


def _language(text: str) -> str | None:
    return codes.language(text.partition("-")[0])


@cache
def _shortest() -> Mapping[str, str]:
    """BCP 47 wants the two letters of a language that has them."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = (first + second for first in letters for second in letters)
    return {three: two for two in pairs if (three := codes.language(two)) is not None}


def _phone(text: Any) -> str | None:
    bare = re.sub(r"[ ().\-]", "", text.removeprefix("tel:")) if isinstance(text, str) else ""
    return bare if re.fullmatch(r"\+[1-9]\d{1,14}", bare, re.ASCII) else None


def _service(text: Any) -> Any:
    return text if text in codes.code_list(codes.BROKER, "service").codes else None


TEXT: Final = Kind(_text, _text)
DATE: Final = Kind(_date_there, _date_here)
DAY: Final = Kind(_text, _day_here)
YES_NO: Final = Kind(lambda value: value, lambda value: value if type(value) is bool else None)
COUNTRY: Final = _known(codes.country)
LANGUAGE: Final = Kind(
    lambda three: _shortest().get(three, three),
    lambda text: _language(text) if isinstance(text, str) else None,
)
PHONE: Final = Kind(_text, _phone)
GENDER: Final = coded(words.GENDER)
MARRIED: Final = coded(words.MARRIED)
PRIORITY: Final = coded(words.PRIORITY)
SERVICE: Final = Kind(_text, _service)
RELATION: Final = coded(words.RELATION)

_NAME = {"use": "official"}
_PLAIN = {"use": None}
_OWN = {"use": "usual"}
_HOME = {"use": "home"}


def _typed(code: str) -> dict[str, Any]:
    return {"type": {"coding": [{"system": words.IDENTIFIER_TYPE, "code": code}]}}


def _name(part: str, *rest: Any) -> tuple[Path, tuple[Path, ...]]:
    return ("name", _NAME, part, *rest), (("name", _PLAIN, part, *rest),)


def _address(part: str, *rest: Any) -> tuple[Path, tuple[Path, ...]]:
    return ("address", _HOME, part, *rest), (("address", _PLAIN, part, *rest),)


def _rows(section: str, *given: tuple[Any, ...]) -> tuple[Row, ...]:
    rows = []
    for field, kind, place, *more in given:
        # A pair of a place and others that are read, or a place alone.
        path, also = place if isinstance(place[0], tuple) else (place, ())
        rows.append(Row(section, field, kind, path, also, bool(more)))
    return tuple(rows)


PATIENT: Final = (
    *_rows(
        "identity_core",
        ("salutation", TEXT, _name("prefix", 0)),
        ("first_name", TEXT, _name("given", 0)),
        ("middle_name", TEXT, _name("given", 1)),
        ("second_name", TEXT, _name("family")),
        ("original_first_name", TEXT, ("name", _OWN, "given", 0)),
        ("original_middle_name", TEXT, ("name", _OWN, "given", 1)),
        ("original_second_name", TEXT, ("name", _OWN, "family")),
        ("aliases", TEXT, ("name", {"use": "nickname"}, "text"), "many"),
        ("birthdate", DATE, ("birthDate",)),
        ("gender", GENDER, ("gender",)),
        ("deceased", YES_NO, ("deceasedBoolean",)),
    ),
    *_rows(
        "demographics_language",
        (
            "primary_language",
            LANGUAGE,
            (
                ("communication", {"preferred": True}, "language", "coding", 0, "code"),
                (("communication", {"preferred": None}, "language", "coding", 0, "code"),),
            ),
        ),
        (
            "marital_status",
            MARRIED,
            ("maritalStatus", "coding", {"system": words.MARITAL_STATUS}, "code"),
        ),
        ("interpreter_needed", YES_NO, ("extension", {"url": words.INTERPRETER}, "valueBoolean")),
    ),
    *_rows(
        "nationality_documents",
        ("identity_number", TEXT, ("identifier", _typed("NI"), "value")),
        (
            "citizenship",
            COUNTRY,
            (
                "extension",
                {"url": words.CITIZENSHIP},
                "extension",
                {"url": "code"},
                "valueCodeableConcept",
                "coding",
                {"system": words.COUNTRIES},
                "code",
            ),
            "many",
        ),
    ),
    *_rows(
        "contact_location",
        ("email", TEXT, ("telecom", {"system": "email"}, "value")),
        ("home_phone", PHONE, ("telecom", {"system": "phone", "use": "home"}, "value")),
        (
            "mobile_phone",
            PHONE,
            (
                ("telecom", {"system": "phone", "use": "mobile"}, "value"),
                (("telecom", {"system": "phone", "use": None}, "value"),),
            ),
        ),
        ("mailing_street", TEXT, _address("line", 0)),
        ("mailing_city", TEXT, _address("city")),
        ("mailing_state", TEXT, _address("state")),
        ("mailing_postal_code", TEXT, _address("postalCode")),
        ("mailing_country", COUNTRY, _address("country")),
    ),
)

SERVICE_REQUEST: Final = (
    *_rows(
        "case_admin",
        ("urgency", PRIORITY, ("priority",)),
        ("outgoing_referral_date", DAY, ("authoredOn",)),
    ),
    *_rows(
        "services_support",
        (
            "services_requested",
            SERVICE,
            ("orderDetail", {}, "coding", {"system": words.SERVICE}, "code"),
            "many",
        ),
        ("details", TEXT, ("note", {"authorString": "services"}, "text")),
    ),
    *_rows(
        "risk_security",
        ("summary", TEXT, ("note", {"authorString": "safety"}, "text")),
    ),
    *_rows(
        "case_narrative",
        ("case_comment", TEXT, ("note", {"authorString": "comment"}, "text")),
    ),
)


def _member(role: str) -> Path:
    return ("participant", {"role": [{"text": role}]}, "member", "display")


CARE_TEAM: Final = _rows(
    "case_admin",
    ("case_owner", TEXT, _member("case owner")),
    ("referring_organisation", TEXT, _member("referring organisation")),
    ("referring_case_worker", TEXT, _member("referring case worker")),
    ("worker_name", TEXT, _member("worker")),
)

GUARDIAN: Final = _rows(
    "guardian_child",
    ("guardian_name", TEXT, ("name", {}, "text")),
    ("guardian_phone", PHONE, ("telecom", {"system": "phone"}, "value")),
)
RELATIVE: Final = _rows(
    "family_dependants",
    ("name", TEXT, ("name", {}, "text")),
    ("phone", PHONE, ("telecom", {"system": "phone"}, "value")),
    ("relation", RELATION, ("relationship", {}, "coding", {"system": words.ROLE}, "code")),
)
"""Fields of one of `family_dependants.relatives`."""


def is_guardian(related: Mapping[str, Any]) -> bool:
    """True for the RelatedPerson of a guardian."""
    return bool(
        found(related, ("relationship", {}, "coding", {"system": words.ROLE, "code": "GUARD"}))
    )


def write(rows: tuple[Row, ...], sections: Sections, to: dict[str, Any]) -> None:
    """Put what the rows know of a case into a resource."""
    for row in rows:
        value = sections.get(row.section, {}).get(row.field)
        if value is None:
            continue
        for each in value if row.many else (value,):
            said = row.kind.write(each)
            if said is None:
                continue
            if row.many:
                add(to, row.place, said)
            else:
                put(to, row.place, said)


def clear(rows: tuple[Row, ...], resource: dict[str, Any]) -> None:
    """Take away whatever the rows would write."""
    for row in rows:
        remove(resource, row.place)


def read(rows: tuple[Row, ...], resource: Mapping[str, Any]) -> tuple[Draft, dict[str, Any]]:
    """What the rows find in a resource, and the resource without it."""
    draft: Draft = {}
    left = copy.deepcopy(dict(resource))
    for row in rows:
        for place in (row.place, *row.also):
            value = _read_one(row, resource, place)
            if value is not None:
                draft.setdefault(row.section, {})[row.field] = value
                remove(left, place)
                break
    return draft, left


def _read_one(row: Row, resource: Mapping[str, Any], place: Path) -> Any | None:
    if not row.many:
        value = only(resource, place)
        return None if value is None else row.kind.read(value)
    values = [row.kind.read(value) for value in found(resource, place)]
    # All of them or none: some of a person's citizenships would be a false statement.
    return values if values and None not in values else None
