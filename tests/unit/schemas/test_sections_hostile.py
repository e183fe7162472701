"""Sections promise: whatever comes, it is valid or refused by path and rule, and never repeated."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adapters.conformance import full_case
from schemas import codes
from schemas.base import ProtectedModel
from schemas.errors import SchemaRefused
from schemas.sections import SECTIONS, section_content, validate_section
from schemas.sections.fields import Kind, Shape, shape_of
from schemas.sections.registry import part_model

# A path says sections, fields and positions; a rule is one word of ours or of the models.
COMPLAINT = re.compile(r"[a-z_]+(\.([a-z_]+|\d+|\?))*: [a-z_]+")

Path = tuple[str, str | None, str, Shape | None]
"""Section, the field that holds parts (or none), field, and its shape if it has one."""


def fields() -> Iterator[Path]:
    """Every plain field of every section and of their parts of the first depth."""
    for spec in SECTIONS.values():
        yield from _fields(spec.id, None, spec.model)


def _fields(section: str, within: str | None, model: type[ProtectedModel]) -> Iterator[Path]:
    for name, field in model.model_fields.items():
        part = part_model(field.annotation)
        if part is None:
            try:
                shape: Shape | None = shape_of(field.annotation)
            except TypeError:
                shape = None
            yield section, within, name, shape
        elif within is None and "tuple" in str(field.annotation):
            yield from _fields(section, name, part)


FIELDS = list(fields())
CODED = [each for each in FIELDS if each[3] is not None and each[3].kind is Kind.CODE]
TEXTS = [each for each in FIELDS if each[3] is not None and each[3].kind is Kind.TEXT]


def content(path: Path, value: Any) -> tuple[str, dict[str, Any], str]:
    """Section, its content with one field said, and the field's path."""
    section, within, name, _ = path
    if within is None:
        return section, {name: value}, f"{section}.{name}"
    return section, {within: [{name: value}]}, f"{section}.{within}.0.{name}"


def refused(section: str, given_content: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(SchemaRefused) as caught:
        validate_section(section, given_content)
    for complaint in caught.value.where:
        assert COMPLAINT.fullmatch(complaint), complaint
    return caught.value.where


def many(path: Path, value: Any) -> Any:
    shape = path[3]
    return [value] if shape is not None and shape.many else value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_is_valid_or_refused_at_that_field(path: Path, value: Any) -> None:
    section, said, at = content(path, value)
    complaints: tuple[str, ...] = ()
    try:
        again = section_content(validate_section(section, said))
    except SchemaRefused as refusal:
        complaints = refusal.where or ("nothing said",)
    else:
        assert section_content(validate_section(section, again)) == again
    for complaint in complaints:
        assert complaint.startswith(at) or complaint.endswith("string_unicode")
        assert COMPLAINT.fullmatch(complaint), complaint


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(CODED),
    st.text(min_size=1, max_size=12) | st.sampled_from(["\u200b", "\ufeff", "\u200f", " "]),
    st.data(),
)
def test_a_code_that_is_not_in_the_list_is_refused_however_close(
    path: Path, extra: str, data: st.DataObject
) -> None:
    assert path[3] is not None
    assert path[3].codes is not None
    known = path[3].codes.codes
    code = data.draw(st.sampled_from(known))
    at = data.draw(st.integers(0, len(code)))
    wrong = code[:at] + extra + code[at:]
    assume(wrong not in known and not any("\ud800" <= c <= "\udfff" for c in wrong))
    section, said, where = content(path, many(path, wrong))
    (complaint,) = refused(section, said)
    assert complaint.startswith(where)
    assert complaint.endswith(": unknown_code")


HOSTILE = {
    "nul": "a\0b",
    "escape": "a\x1bb",
    "override": "a\u202eb",
    "isolate": "a\u2067b",
    "unassigned": "a\u0378b",
    "decomposed": unicodedata.normalize("NFD", "Shëmbull"),
    "angstrom": "\u212b",
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE)
def test_text_that_shows_other_than_it_says_is_refused_in_every_field_that_takes_text(
    bad: str,
) -> None:
    for path in TEXTS:
        section, said, where = content(path, many(path, bad))
        complaints = refused(section, said)
        assert complaints[0].startswith(where)


def test_text_that_is_too_long_is_refused_in_every_field_that_takes_text() -> None:
    for path in TEXTS:
        section, said, where = content(path, many(path, "a" * 20_001))
        assert refused(section, said)[0].startswith(where)


def test_a_name_in_any_script_stays_as_it_is_written() -> None:
    for name in ("مريم", "Олена", "ኢትዮጵያ", "မြန်မာ", "ខ្មែរ", "云南", "می\u200cخواهم", "Nguyễn"):
        said = {"first_name": unicodedata.normalize("NFC", name)}
        assert section_content(validate_section("identity_core", said)) == said


ORDERED = (
    ("nationality_documents", "documents", "issued_on", "expires_on"),
    ("identification_status", "identifications", "reflection_from", "reflection_until"),
    ("risk_security", None, "assessed_on", "valid_until"),
    ("migration_status", "permits", "valid_from", "valid_until"),
    ("asylum_protection", None, "claimed_on", "decided_on"),
    ("criminal_justice", "proceedings", "opened_on", "verdict_on"),
    ("compensation_finance", "claims", "filed_on", "awarded_on"),
    ("return_travel", "legs", "departs_on", "arrives_on"),
    ("reintegration_plan", "plans", "starts_on", "planned_end_date"),
    ("monitoring_followup", None, "monitoring_from", "monitoring_until"),
)


@given(st.sampled_from(ORDERED), st.dates(date(1900, 1, 1)), st.dates(date(1900, 1, 1)))
def test_nothing_ends_before_it_begins(
    where: tuple[str, str | None, str, str], one: date, other: date
) -> None:
    section, within, start, end = where
    part = {start: one.isoformat(), end: other.isoformat()}
    said = part if within is None else {within: [part]}
    if other >= one:
        assert section_content(validate_section(section, said)) == said
    else:
        path = ".".join(step for step in (section, within, within and "0", end) if step)
        assert refused(section, said) == (f"{path}: before_start",)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SECTIONS)), st.text(min_size=1, max_size=20))
def test_a_field_that_nobody_knows_is_refused_without_its_name(section: str, name: str) -> None:
    assume(name not in SECTIONS[section].model.model_fields)
    assume(not any("\ud800" <= c <= "\udfff" for c in name))
    assert refused(section, {name: 1}) == (f"{section}.?: extra_forbidden",)


def test_a_whole_case_survives_its_own_json() -> None:
    for section, said in full_case().sections.items():
        through = json.loads(json.dumps(said))
        assert section_content(validate_section(section, through)) == said


def test_no_list_has_a_code_for_what_was_not_tested() -> None:
    for name in ("health_test", "test_result"):
        assert not any("not" in code for code in codes.code_list(codes.BROKER, name).codes)
