"""A case on paper, for the worker who goes to an interview: in her language, marked confidential.

It is made of what opening shows, and opens the message: the sender learns that it was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.gateway.consent.receipt import Line, Receipt, isolated, words_of
from broker.gateway.core import Core
from schemas.bodies.words import in_words as body_in_words
from schemas.catalogue import message_type
from schemas.codes.labels import field_label, place_label, section_label, type_label
from schemas.sections.words import in_words


def case_sheet(core: Core, opened: Mapping[str, Any], language: str) -> Receipt:
    """What the paper says of an opened message.

    Raises:
        NotFound: Not a language that papers are in.
    """
    words = words_of(language, __package__)
    sender = core.partner(opened["partner"])
    known = {
        "case": opened["case_ref"],
        "ours": opened["recipient_case_ref"],
        "from": f"{sender.name} ({place_label(sender.country, language)})",
        "type": type_label(opened["type"], language),
        "business_id": opened["business_id"],
    }
    head = tuple(
        Line(words[name].format(value=isolated(str(value))))
        for name, value in known.items()
        if value is not None
    )
    body = body_in_words(message_type(opened["type"]).body, opened["body"], language)
    asked = tuple(_lines(_said(body, language)))
    parts = [(words["about"], head)]
    parts += [(words["asked"], asked)] if asked else []
    parts += [
        (section_label(name, language), tuple(_lines(in_words(name, content, language))))
        for name, content in opened["sections"].items()
    ]
    files = [one["digest"] for one in opened["attachments"]]
    if files:
        parts.append((words["files"], tuple(Line(isolated(name), listed=True) for name in files)))
    return Receipt(
        language=language,
        title=words["title"],
        safe=words["confidential"],
        state=words["destroy"],
        parts=tuple(parts),
        number=words["number"].format(number=isolated(str(opened["id"]))),
    )


def _said(body: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    """Each field of a body that says something. One that has no label keeps its name."""
    for name, value in body.items():
        try:
            label = field_label(f"body.{name}", language)
        except KeyError:
            label = name.replace("_", " ")
        if isinstance(value, Mapping):
            yield from ((f"{label}: {inner}", text) for inner, text in _said(value, language))
        elif value not in (None, [], ""):
            several = value if isinstance(value, list) else [value]
            yield label, "; ".join(_text(item, language) for item in several)


def _text(value: Any, language: str) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{label}: {text}" for label, text in _said(value, language))
    return str(value)


def _lines(said: Iterator[tuple[str, str]]) -> Iterator[Line]:
    for label, text in said:
        yield Line(f"{label}: {isolated(text)}", listed=True)
