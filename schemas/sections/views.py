"""Reduced forms of a section, for recipients who need no more. Pure; what a view leaves is valid.

A view only ever takes away, or says less exactly what the section says: its result is content of
the same section, so that nothing else in the language has to know about views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.sections.index import SECTION_INDEX, View

_ROUTE = frozenset({"country", "type"})
_STAFF_SAFETY = frozenset({"risk_level", "risk_to_staff", "escort", "valid_until"})


def reduced(section: str, content: Mapping[str, Any], view: View) -> dict[str, Any]:
    """What a view leaves of a section's content (JSON values, as `section_content` writes them).

    Raises:
        ValueError: The section has no such view.
    """
    entry = SECTION_INDEX.get(section)
    if entry is None or view not in entry.views:
        raise ValueError("the section has no such view")
    match view:
        case View.COUNTRY_LEVEL:
            return _country_level(content)
        case View.STAFF_SAFETY:
            return _only(content, _STAFF_SAFETY)
        case View.BANDED:
            return {"need_band": need_band(content)}
        case View.FIT_TO_TRAVEL:
            return _only(content, frozenset({"fit_to_travel"}))
        case View.NO_BANK_DATA:
            return {name: value for name, value in content.items() if name != "payout"}


def need_band(content: Mapping[str, Any]) -> str:
    """How much a person's needs ask of a service, in one word: what is said, or else the count.

    A count says less than any list: which needs they are cannot be read out of it.
    """
    said = content.get("need_band")
    if said is not None:
        return str(said)
    needs = len(content.get("needs", ())) + len(content.get("vulnerabilities", ()))
    needs += sum(content.get(name) in (True, "yes") for name in ("disability", "homeless"))
    needs += content.get("addiction") == "yes" and "addiction" not in content.get("needs", ())
    return "none" if needs == 0 else "some" if needs < 3 else "high"


def _country_level(content: Mapping[str, Any]) -> dict[str, Any]:
    events: list[dict[str, Any]] = []
    for event in content.get("events", ()):
        part = _only(event, _ROUTE)
        if part and part not in events:  # how often one was moved within a country says too much
            events.append(part)
    left = _only(content, frozenset({"transit_countries"}))
    return {"events": events, **left} if events else left


def _only(content: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name in names}
