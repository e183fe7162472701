"""Who needs no more than a part of a section gets no more: a carrier learns whether she can travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.rules.content.exceptions import MINIMUM_VIEW
from broker.rules.content.question import Found, Question, known, rule
from schemas.consent import Purpose
from schemas.errors import PolicyRefused
from schemas.families.base import MessageType
from schemas.message import ExceptionUse
from schemas.sections.index import View
from schemas.sections.views import reduced


def view_of(
    section: str, row: MessageType, purpose: Purpose | None, exception: ExceptionUse | None
) -> View | None:
    """The form in which a section travels; None if it may travel whole."""
    if exception is not None and (exception.code, section) in MINIMUM_VIEW:
        return MINIMUM_VIEW[exception.code, section]
    if section == "compensation_finance" and purpose is not Purpose.COMPENSATION:
        return View.NO_BANK_DATA
    return row.views.get(section)


def fitting(
    content: dict[str, Any],
    *,
    section: str,
    row: MessageType,
    purpose: Purpose | None,
    exception: ExceptionUse | None,
) -> dict[str, Any]:
    """What of a section's content goes into such a message; what is left is valid content."""
    view = view_of(section, row, purpose, exception)
    return content if view is None else reduced(section, content, view)


@rule("what.reduced", "GDPR Art 5(1)(c); Art 9(3)")
def no_more_than_its_view(question: Question) -> Found:
    """Where the type gives a reduced form of a section, nothing else of it travels, nor a file."""
    files = {file.section for file in question.message.attachments}
    for section in known(question.carried()):
        view = question.type.views.get(section)
        if view is None:
            continue
        content: Mapping[str, Any] = question.content(section)
        if section in files or reduced(section, content, view) != content:
            yield PolicyRefused, f"sections.{section}"
