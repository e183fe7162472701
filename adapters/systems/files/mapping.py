"""Between one row of an HTCDS 2.0 CSV file and the sections of one case; pure, both ways.

Which field lies in which column is said by the section models (`Column`); how a kind of field is
spelled, by `cells`. The law: for every valid case, `read_row` of `write_row` is that case.

What has no column of its own travels in `x_more`, as JSON, so that a file that we write loses
nothing. What a foreign file holds and we cannot carry is named: as a reason to reject the row, or
in `CaseRecord.not_carried`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from adapters.base import CaseRecord
from adapters.systems.files.cells import CellRefused, read_cell, write_cell
from adapters.systems.files.spelling import NOT_CARRIED, PLAIN, Spelling, comparable
from schemas.codes.htcds import marked
from schemas.errors import SchemaRefused
from schemas.sections import SECTIONS, section_content, validate_section
from schemas.sections.fields import Kind, Shape, shape_of
from schemas.sections.whole import check_together

CASE_REF = "x_case_ref"
BUSINESS_ID = "x_business_id"
SENDER = "x_sender"
INVENTED = "x_invented"
MORE = "x_more"

CONSENT_COLUMNS = (
    *marked("consent"),
    # Version 1.0 had one box for each question; 2.0 has one for all of them.
    "con_PurposeOfInterview",
    "con_UseOfData",
    "con_DataForResearch",
    "con_RightToBeForgotten",
)
"""Read into `CaseRecord.consent_boxes`, never written: a grant is not a box in a file."""

NOT_CARRIED_COLUMNS = marked("directory")
"""HTCDS columns about organisations and their workers: the directory's, not a case's."""

CASE_REF_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_PARTICIPANT = re.compile(r"[a-z]{2,3}\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
BOX = Shape(Kind.YES_NO)
_DIRECTORY = frozenset(NOT_CARRIED_COLUMNS)
_PLACE = "column "
"""Names a column by its place, where its own name may say anything."""


class RowRefused(Exception):
    """A row that cannot become a case; `reasons` name columns and codes, never values."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one column belongs: the field of a section, and how its cells are spelled.

    With a `part`, the field holds several, and the column is that part of the first of them.
    """

    column: str
    section: str
    field: str
    part: str | None
    shape: Shape

    @property
    def path(self) -> str:
        """`section.field`, as refusals and reports name it."""
        steps = (self.section, self.field, self.part)
        return ".".join(step for step in steps if step is not None)


@cache
def placed_columns() -> Mapping[str, Placed]:
    """Every column that holds a section's field, in the order of the sections."""
    return {
        each.column.name: Placed(
            each.column.name, spec.id, each.field, each.part, shape_of(each.annotation)
        )
        for spec in SECTIONS.values()
        for each in spec.placements()
    }


@cache
def _places() -> Mapping[tuple[str, str, str | None], Placed]:
    """The same, by section, field and part."""
    return {(each.section, each.field, each.part): each for each in placed_columns().values()}


@cache
def _parted() -> frozenset[tuple[str, str]]:
    """The fields that hold several, of which the first has columns."""
    return frozenset((each.section, each.field) for each in placed_columns().values() if each.part)


@cache
def written_columns() -> tuple[str, ...]:
    """The header of every file that we write."""
    return (CASE_REF, BUSINESS_ID, SENDER, INVENTED, *placed_columns(), MORE)


@cache
def _known_columns() -> Mapping[str, str]:
    """Every column that may stand in a header, by its comparable form.

    The survey form of the standard spells some of them with underscores (`prs_First_Name`).
    """
    names = (*written_columns(), *CONSENT_COLUMNS, *NOT_CARRIED_COLUMNS)
    return {comparable(name): name for name in names}


def names_of(cells: Sequence[str], spelling: Spelling = PLAIN) -> tuple[str | None, ...]:
    """The column that each cell of a header names: "" for an empty cell, None for an unknown one.

    What the country's own spelling says is not carried is `column N`, by its place.
    """
    return tuple(_name(at, cell, spelling) for at, cell in enumerate(cells, start=1))


def _name(at: int, cell: str, spelling: Spelling) -> str | None:
    bare = comparable(cell)
    if not bare:
        return ""
    name = spelling.columns.get(bare) or _known_columns().get(bare)
    return f"{_PLACE}{at}" if name == NOT_CARRIED else name


def is_known_column(name: str) -> bool:
    """True for a name that a country's spelling may map one of its columns to."""
    return name in {*written_columns(), *CONSENT_COLUMNS, *NOT_CARRIED_COLUMNS}


def is_header(names: Sequence[str | None]) -> bool:
    """True for a row that is meant as a header: it has the case number's column and another one."""
    return CASE_REF in names and len(set(names) - {None, ""}) > 1


def read_header(cells: Sequence[str], spelling: Spelling = PLAIN) -> tuple[str, ...]:
    """The columns of a file, each by its HTCDS name; see `names_of`.

    Raises:
        SchemaRefused: A column is unknown, doubled or missing. Known names are named; of unknown
            ones only the position, since anything may stand there.
    """
    if len(cells) == 1 and ("\t" in cells[0] or ";" in cells[0]):
        raise SchemaRefused("the columns must be separated by commas")
    found = names_of(cells, spelling)
    unknown = [position for position, name in enumerate(found, start=1) if name is None]
    names = tuple(name for name in found if name is not None)
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    where = tuple(f"doubled: {name}" for name in doubled)
    if CASE_REF not in names:
        where = (*where, f"missing: {CASE_REF}")
    if unknown:
        positions = ", ".join(str(position) for position in unknown[:10])
        where = (*where, f"{len(unknown)} unknown, at position {positions}")
    if where:
        raise SchemaRefused("these are not the columns of a case file", where=where)
    if not any(name in placed_columns() for name in names):
        raise SchemaRefused("no column of any section", where=("expected: HTCDS 2.0 columns",))
    return names


def read_row(
    header: Sequence[str],
    cells: Sequence[str],
    more: Sequence[Sequence[str]] = (),
    *,
    spelling: Spelling = PLAIN,
) -> CaseRecord:
    """The case in one row.

    Args:
        more: Further rows about the same case, as a workbook with a sheet for each entity has
            them: each holds one more of a field that holds several.

    Raises:
        RowRefused: With every reason found, each as `column: code`.
    """
    if len(cells) != len(header):
        raise RowRefused("row: wrong-number-of-cells")
    filled, beside = _filled(header, cells)
    sections, reasons = _read_sections(filled, [_filled(header, row)[0] for row in more], spelling)
    reasons += beside
    case_ref = filled.get(CASE_REF, "").strip()
    if not CASE_REF_FORM.fullmatch(case_ref):
        reasons.append(f"{CASE_REF}: {'bad-form' if case_ref else 'missing'}")
    elif names_the_person(case_ref, sections.get("identity_core", {})):
        reasons.append(f"{CASE_REF}: names-the-person")
    boxes = {}
    for column in (*CONSENT_COLUMNS, INVENTED):
        if column in filled:
            try:
                boxes[column] = bool(read_cell(spelling.word(column, filled[column]), BOX))
            except CellRefused as refused:
                reasons.append(f"{column}: {refused.code}")
    business_id = _read_uuid(filled, reasons)
    sender = filled.get(SENDER, "").strip() or None
    if sender is not None and not _PARTICIPANT.fullmatch(sender):
        reasons.append(f"{SENDER}: bad-form")
    if reasons:
        raise RowRefused(*reasons)
    return CaseRecord(
        case_ref=case_ref,
        sections=sections,
        business_id=business_id,
        sender=sender,
        invented=boxes.pop(INVENTED, False),
        consent_boxes=boxes,
        not_carried=tuple(
            column for column in filled if column in _DIRECTORY or column.startswith(_PLACE)
        ),
    )


def _filled(header: Sequence[str], cells: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The cells that say something, by column; and those under no column, as reasons."""
    filled: dict[str, str] = {}
    beside: list[str] = []
    for position, (column, cell) in enumerate(zip(header, cells, strict=True), start=1):
        if not cell or cell.isspace():
            continue
        if column:
            filled[column] = unicodedata.normalize("NFC", cell.replace("\r\n", "\n"))
        else:
            beside.append(f"{_PLACE}{position}: no-column")
    return filled, beside


def _read_sections(
    filled: Mapping[str, str], more: Sequence[Mapping[str, str]], spelling: Spelling
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    reasons: list[str] = []
    drafts: dict[str, dict[str, Any]] = {}
    if MORE in filled:
        try:
            drafts = _read_more(filled[MORE])
        except (ValueError, RecursionError):
            reasons.append(f"{MORE}: bad-json")
    places = placed_columns()
    for column, text in filled.items():
        place = places.get(column)
        if place is None:
            continue
        name, draft = _where(drafts, place)
        if name in draft:
            reasons.append(f"{column}: also-in-{MORE}")
            continue
        try:
            draft[name] = read_cell(spelling.cell(column, text, place.shape), place.shape)
        except CellRefused as refused:
            reasons.append(f"{column}: {refused.code}")
    for row in more:
        reasons += _add_parts(drafts, filled, row, spelling)
    if reasons:
        return {}, reasons
    sections: dict[str, dict[str, Any]] = {}
    for section, draft in drafts.items():
        try:
            sections[section] = section_content(validate_section(section, draft))
        except SchemaRefused as refused:
            reasons.extend(_by_column(refused.where) or [f"{MORE}: unknown-section"])
    try:
        check_together(sections)
    except SchemaRefused as refused:
        reasons.extend(_by_column(refused.where))
    return {section: sections[section] for section in SECTIONS if section in sections}, reasons


def _where(drafts: dict[str, dict[str, Any]], place: Placed) -> tuple[str, dict[str, Any]]:
    """The name under which a column's value goes, and the dictionary into which."""
    draft = drafts.setdefault(place.section, {})
    if place.part is None:
        return place.field, draft
    several = draft.setdefault(place.field, [{}])
    if not isinstance(several, list) or not several or not isinstance(several[0], dict):
        return place.part, {place.part: None}  # not a list of parts: the model refuses it by path
    return place.part, several[0]


def _add_parts(
    drafts: dict[str, dict[str, Any]],
    filled: Mapping[str, str],
    row: Mapping[str, str],
    spelling: Spelling,
) -> list[str]:
    """One more of what a case has several of, from a further row; returns why not."""
    reasons: list[str] = []
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for column, text in row.items():
        place = placed_columns().get(column)
        if place is None or place.part is None:
            if filled.get(column) != text:
                reasons.append(f"{column}: several-values")
            continue
        try:
            value = read_cell(spelling.cell(column, text, place.shape), place.shape)
        except CellRefused as refused:
            reasons.append(f"{column}: {refused.code}")
            continue
        items.setdefault((place.section, place.field), {})[place.part] = value
    for (section, field), item in items.items():
        several = drafts.setdefault(section, {}).setdefault(field, [])
        if isinstance(several, list):
            several.append(item)
        else:
            reasons.append(f"{MORE} {section}.{field}: bad-value")
    return reasons


def _read_more(text: str) -> dict[str, dict[str, Any]]:
    def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member twice")
        return members

    more = json.loads(text, object_pairs_hook=no_doubles)
    if not isinstance(more, dict) or not all(isinstance(value, dict) for value in more.values()):
        raise ValueError("not sections")
    return more


def _by_column(paths: Sequence[str]) -> list[str]:
    """Say a model's complaint in terms of the file: the column, where the field has one."""
    reasons = []
    for path in paths:
        location, _, rule = path.rpartition(": ")
        section, _, rest = location.partition(".")
        field, *steps = rest.split(".")
        part = steps[1] if len(steps) > 1 and steps[0] == "0" else None
        place = _places().get((section, field, part)) or _places().get((section, field, None))
        code = rule.replace("_", "-") or "bad-value"
        reasons.append(f"{place.column}: {code}" if place else f"{MORE} {location}: {code}")
    return reasons


def _read_uuid(filled: Mapping[str, str], reasons: list[str]) -> UUID | None:
    text = filled.get(BUSINESS_ID, "").strip()
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        reasons.append(f"{BUSINESS_ID}: bad-form")
        return None


def names_the_person(case_ref: str, identity: Mapping[str, Any]) -> bool:
    """True if a case number gives the person away (`no-name-in-case-number`)."""
    number = case_ref.casefold()
    words = [identity.get(field, "") for field in ("first_name", "middle_name", "second_name")]
    if any(len(word) >= 4 and word.casefold() in number for text in words for word in text.split()):
        return True
    digits = re.sub(r"\D", "", number)
    year, _, rest = str(identity.get("birthdate", "")).partition("-")
    month, _, day = rest.partition("-")
    return day.isdigit() and any(
        text in digits for text in (year + month + day, day + month + year)
    )


def write_row(case: CaseRecord, *, business_id: UUID | None, sender: str | None) -> list[str]:
    """The row for a case, under `written_columns()`.

    Raises:
        SchemaRefused: A section does not fit its model.
    """
    row = dict.fromkeys(written_columns(), "")
    row[CASE_REF] = case.case_ref
    row[BUSINESS_ID] = str(business_id) if business_id else ""
    row[SENDER] = sender or ""
    row[INVENTED] = "yes" if case.invented else ""
    more: dict[str, dict[str, Any]] = {}
    for section, given in case.sections.items():
        content = section_content(validate_section(section, given))
        if not content:
            more[section] = {}  # an empty section is still one that was sent
        for field, value in content.items():
            rest = (
                _write_first(row, section, field, value)
                if (section, field) in _parted()
                else _write_field(row, section, field, None, value)
            )
            if rest is not None:
                more.setdefault(section, {})[field] = rest
    if more:
        row[MORE] = json.dumps(more, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return list(row.values())


def _write_field(
    row: dict[str, str], section: str, field: str, part: str | None, value: Any
) -> Any | None:
    """Put a value into its column; what no cell can hold comes back."""
    place = _places().get((section, field, part))
    cell = None if place is None else write_cell(value, place.shape)
    if place is None or cell is None:
        return value
    row[place.column] = cell
    return None


def _write_first(
    row: dict[str, str], section: str, field: str, several: list[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """Put the first of several into its columns; what is left of it, and the others, come back."""
    first, *others = several
    left = {
        part: value
        for part, value in first.items()
        if _write_field(row, section, field, part, value) is not None
    }
    return [left, *others] if left or others or not first else None


def beyond_columns(case: CaseRecord) -> tuple[str, ...]:
    """Every field of a case that the columns of HTCDS 2.0 cannot hold, as `section.field`.

    They travel in columns of ours (`x_…`), which only this adapter and those who know it read: a
    system that imports the file by its HTCDS columns goes without them.
    """
    standard = {
        (each.section, each.field, each.part)
        for each in placed_columns().values()
        if not each.column.startswith("x_")
    }
    found: list[str] = []
    for section, content in case.sections.items():
        for field, value in content.items():
            if (section, field) not in _parted():
                if (section, field, None) not in standard:
                    found.append(f"{section}.{field}")
                continue
            found += [
                f"{section}.{field}.0.{p}" for p in value[0] if (section, field, p) not in standard
            ]
            found += [f"{section}.{field}.{index}" for index in range(1, len(value))]
    return tuple(found)
