"""The values of the port as JSON, for adapters that run in a process of their own.

One JSON object is one line of UTF-8. The gateway asks, the adapter's process answers::

    > {"id": 7, "do": "file", "with": {"business_id": "0190…", "case": {"case_ref": "…", …}}}
    < {"id": 7, "gives": {"outcome": "filed", "reference": "42", "already": false, "not_held": []}}

`read_cases` answers with any number of ``{"id": 7, "item": …}`` before its ``gives``. Instead of
an answer there may be ``{"id": 7, "raises": "unavailable", "where": []}``, with one of `RAISED`.
Before it answers, the process may ask for a tool, one at a time::

    < {"id": 7, "need": "sign_request", "with": {"method": "POST", …}}
    > {"id": 7, "lends": {"signature": "…", …}}

Foreign code is not trusted with words: a code or a path that could hold a value is replaced by
`unreadable`, so that no text of a case reaches an answer, an alarm or a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from adapters.base import (
    MOST_CANDIDATES,
    Ambiguous,
    Candidate,
    CannotErase,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Erasing,
    Filed,
    Kept,
    Match,
    Memory,
    NationalSystem,
    News,
    Outcome,
    Polled,
    RejectedRow,
    Skill,
    Step,
)
from schemas.errors import (
    BrokerError,
    CaseSystemUnavailable,
    NotFound,
    OutcomeUnknown,
    SchemaRefused,
)

Json: TypeAlias = Any
"""What `json` reads and writes. Every value is checked before it becomes a value of the port."""

MAX_LINE: Final = 8 << 20
"""Bytes of one line. A case is at most 1 MiB; the rest is room for escapes."""

_CODE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_LOWER = r"[a-z][a-z0-9_.\[\]-]{0,99}"
_UPPER = r"[A-Za-z][A-Za-z0-9_.\[\]-]{0,99}"
_PATH = re.compile(rf"{_LOWER}|(?=[^:]*[.\[]){_UPPER}|{_UPPER}: [a-z][a-z0-9_-]{{0,39}}")
"""`section.field`, `prs_FirstName: code`, `Patient.name[0]`: a word with a capital that is no more
than a word could be a name."""
_REFERENCE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


class Unreadable(ValueError):
    """A line that is not of this protocol."""


def code(value: Json) -> str:
    """A code, or `unreadable`."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else "unreadable"


def paths(value: Json) -> tuple[str, ...]:
    """Paths with codes; what looks like neither is replaced."""
    if not isinstance(value, list):
        raise Unreadable("where")
    return tuple(
        item if isinstance(item, str) and _PATH.fullmatch(item) else "unreadable"
        for item in value[:200]
    )


def reference(value: Json) -> str:
    """A reference of the system, as it will be handed back."""
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return value
    raise Unreadable("reference")


# --- cases ----------------------------------------------------------------------------------


def case_to_json(case: CaseRecord) -> dict[str, Json]:
    """A case for the other process."""
    fields: dict[str, Json] = {
        "case_ref": case.case_ref,
        "sections": {name: dict(section) for name, section in case.sections.items()},
        "business_id": None if case.business_id is None else str(case.business_id),
        "sender": case.sender,
        "invented": case.invented,
        "consent_boxes": dict(case.consent_boxes),
        "not_carried": list(case.not_carried),
    }
    if case.handed_over:
        fields["handed_over"] = True
    return fields if case.same_as is None else {**fields, "same_as": case.same_as}


def case_from_json(value: Json) -> CaseRecord:
    """A case of the other process. Its sections are checked by who uses them, as always."""
    fields = _object(value)
    sections = _object(fields.get("sections", {}))
    if not all(isinstance(section, dict) for section in sections.values()):
        raise Unreadable("sections")
    boxes = _object(fields.get("consent_boxes", {}))
    if not all(isinstance(ticked, bool) for ticked in boxes.values()):
        raise Unreadable("consent_boxes")
    business_id = fields.get("business_id")
    sender = fields.get("sender")
    return CaseRecord(
        case_ref=reference(fields.get("case_ref")),
        sections=sections,
        business_id=None if business_id is None else _uuid(business_id),
        sender=None if sender is None else reference(sender),
        invented=fields.get("invented") is True,
        consent_boxes=boxes,
        not_carried=paths(fields.get("not_carried", [])),
        handed_over=fields.get("handed_over") is True,
        same_as=None if fields.get("same_as") is None else reference(fields["same_as"]),
    )


def item_to_json(item: CaseRecord | RejectedRow) -> Json:
    """One item of `read_cases`."""
    if isinstance(item, CaseRecord):
        return {"case": case_to_json(item)}
    return {"rejected": {"line": item.line, "reasons": list(item.reasons)}}


def item_from_json(value: Json) -> CaseRecord | RejectedRow:
    fields = _object(value)
    if "case" in fields:
        return case_from_json(fields["case"])
    row = _object(fields.get("rejected"))
    line = row.get("line")
    if not isinstance(line, int) or isinstance(line, bool):
        raise Unreadable("line")
    return RejectedRow(line, paths(row.get("reasons")))


def candidates_to_json(candidates: Sequence[Candidate]) -> list[Json]:
    """What `candidates` answered."""
    return [
        {
            "reference": each.reference,
            "match": each.match.value,
            "fields": list(each.fields),
            "score": each.score,
        }
        for each in candidates
    ]


def candidates_from_json(value: Json) -> tuple[Candidate, ...]:
    found = []
    for each in _list(value)[:MOST_CANDIDATES]:
        fields = _object(each)
        score = fields.get("score")
        if score is not None and not (type(score) is int and 0 <= score <= 100):
            raise Unreadable("score")
        try:
            match = Match(str(fields.get("match")))
        except ValueError:
            raise Unreadable("match") from None
        where = paths(fields.get("fields", []))
        found.append(Candidate(reference(fields.get("reference")), match, where, score))
    return tuple(found)


# --- what a system answers ------------------------------------------------------------------


def outcome_to_json(outcome: Outcome | Erasing | None) -> Json:
    """What `find`, `file`, `update`, `tell` or `erase` answered."""
    match outcome:
        case None:
            return None
        case Filed(reference=name, already=already, not_held=not_held):
            return {
                "outcome": "filed",
                "reference": name,
                "already": already,
                "not_held": list(not_held),
            }
        case Declined(code=why, where=where):
            return {"outcome": "declined", "code": why, "where": list(where)}
        case CannotMap(where=where):
            return {"outcome": "cannot_map", "where": list(where)}
        case Erased(existed=existed):
            return {"outcome": "erased", "existed": existed}
        case Kept(basis=basis):
            return {"outcome": "kept", "basis": basis}
        case CannotErase(code=why):
            return {"outcome": "cannot_erase", "code": why}


def outcome_from_json(value: Json) -> Outcome:
    fields = _object(value)
    match fields.get("outcome"):
        case "filed":
            return Filed(
                reference(fields.get("reference")),
                already=fields.get("already") is True,
                not_held=paths(fields.get("not_held", [])),
            )
        case "declined":
            return Declined(code(fields.get("code")), paths(fields.get("where", [])))
        case "cannot_map":
            return CannotMap(paths(fields.get("where")))
    raise Unreadable("outcome")


def found_from_json(value: Json) -> Filed | None:
    """What `find` answered."""
    if value is None:
        return None
    outcome = outcome_from_json(value)
    if not isinstance(outcome, Filed):
        raise Unreadable("find")
    return outcome


def outcomes_from_json(value: Json, count: int) -> list[Outcome]:
    """What `file_many` answered about so many cases."""
    answers = _list(value)
    if len(answers) != count:
        raise Unreadable("not an answer for each case")
    return [outcome_from_json(answer) for answer in answers]


def found_case_from_json(value: Json) -> CaseRecord | None:
    """What `read` answered."""
    return None if value is None else case_from_json(value)


@dataclass(frozen=True, slots=True)
class Description:
    """How the system behind a process describes itself."""

    name: str
    memory: Memory
    skills: frozenset[Skill]


def description_to_json(system: NationalSystem) -> dict[str, Json]:
    return {
        "name": system.name,
        "memory": system.memory.value,
        "skills": sorted(skill.value for skill in system.skills),
    }


def description_from_json(value: Json) -> Description:
    fields = _object(value)
    try:
        return Description(
            name=code(fields.get("name")),
            memory=Memory(str(fields.get("memory"))),
            skills=frozenset(Skill(str(skill)) for skill in _list(fields.get("skills"))),
        )
    except ValueError:
        raise Unreadable("description") from None


def erasing_from_json(value: Json) -> Erasing:
    fields = _object(value)
    match fields.get("outcome"):
        case "erased" if isinstance(fields.get("existed"), bool):
            return Erased(fields["existed"])
        case "kept":
            return Kept(code(fields.get("basis")))
        case "cannot_erase":
            return CannotErase(code(fields.get("code")))
    raise Unreadable("outcome")


# --- news -----------------------------------------------------------------------------------


def news_to_json(news: News) -> dict[str, Json]:
    return {
        "id": news.id,
        "business_id": str(news.business_id),
        "step": news.step.value,
        "at": news.at.isoformat(),
        "reason": news.reason,
        "services": list(news.services),
        "sections": {name: dict(section) for name, section in news.sections.items()},
    }


def news_from_json(value: Json) -> News:
    fields = _object(value)
    try:
        step = Step(str(fields.get("step")))
        at = datetime.fromisoformat(str(fields.get("at")))
    except ValueError:
        raise Unreadable("news") from None
    if at.tzinfo is None:
        raise Unreadable("at")
    reason = fields.get("reason")
    return News(
        id=reference(fields.get("id")),
        business_id=_uuid(fields.get("business_id")),
        step=step,
        at=at,
        reason=None if reason is None else code(reason),
        services=tuple(code(service) for service in _list(fields.get("services", []))),
        sections=_object(fields.get("sections", {})),
    )


def page_to_json(page: Polled) -> Json:
    """One page of `poll`."""
    return {
        "items": [
            {"news": news_to_json(item)}
            if isinstance(item, News)
            else {
                "ambiguous": {
                    "id": item.id,
                    "reference": item.reference,
                    "code": item.code,
                    "where": list(item.where),
                }
            }
            for item in page.items
        ],
        "cursor": page.cursor,
        "more": page.more,
    }


def page_from_json(value: Json) -> Polled:
    fields = _object(value)
    cursor = fields.get("cursor")
    if cursor is not None and not (isinstance(cursor, str) and len(cursor) <= 4096):
        raise Unreadable("cursor")
    return Polled(
        tuple(_page_item(_object(item)) for item in _list(fields.get("items"))),
        cursor,
        more=fields.get("more") is True,
    )


def _page_item(fields: Mapping[str, Json]) -> News | Ambiguous:
    if "news" in fields:
        return news_from_json(fields["news"])
    item = _object(fields.get("ambiguous"))
    return Ambiguous(
        reference(item.get("id")),
        reference(item.get("reference")),
        code(item.get("code")),
        paths(item.get("where", [])),
    )


# --- errors ---------------------------------------------------------------------------------

RAISED: Final[Mapping[str, Callable[[tuple[str, ...]], BrokerError]]] = {
    "unavailable": lambda _: CaseSystemUnavailable("the adapter's process says so"),
    "unknown-outcome": lambda _: OutcomeUnknown("the adapter's process says so"),
    "not-found": lambda _: NotFound("the adapter's process says so"),
    "schema": lambda where: SchemaRefused(where=where),
}
"""What a process may raise, and as what it arrives. Any other word is `unavailable`."""


def raised_by(error: Exception) -> tuple[str, list[str]]:
    """The word for an error on the adapter's side. A bug of the adapter is `unavailable`: nothing
    is known of what it did, and its text may hold anything."""
    match error:
        case OutcomeUnknown():
            return "unknown-outcome", []
        case NotFound():
            return "not-found", []
        case SchemaRefused():
            return "schema", list(error.where)
        case _:
            return "unavailable", []


def _object(value: Json) -> dict[str, Json]:
    if isinstance(value, dict):
        return value
    raise Unreadable("not an object")


def _list(value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    raise Unreadable("not a list")


def _uuid(value: Json) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise Unreadable("not a UUID") from None
