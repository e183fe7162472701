"""Answers of the gateway in the words of a reader's language: for a person, never for a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

CODED = ("urgency", "purpose")


def in_language(value: Any, language: str | None) -> Any:
    """An answer with sections, bodies, types and states in words of a language; without one as it is.

    Ids, names and what a person wrote stay as they are, and so does a word that nobody has a label
    for: a newer gateway may say one.
    """
    if language is None:
        return value
    if isinstance(value, Mapping):
        return {name: _said(value, name, item, language) for name, item in value.items()}
    if isinstance(value, list):
        return [in_language(item, language) for item in value]
    return value


def rows_in_language(
    rows: Sequence[Mapping[str, Any]], language: str | None
) -> list[Mapping[str, Any]]:
    """A list of answers; see `in_language`."""
    return [in_language(row, language) for row in rows]


def _said(whole: Mapping[str, Any], name: str, item: Any, language: str) -> Any:
    # Models and labels are loaded when somebody reads.
    from schemas.bodies.words import in_words as body_in_words
    from schemas.catalogue import catalogue
    from schemas.codes import labels

    if isinstance(item, str):
        match name:
            case "type":
                return _or_itself(labels.type_label, item, language)
            case "state" | "fact":
                return _or_itself(labels.state_label, item, language)
            case _ if name in CODED:
                return _or_itself(labels.body_label, item, language)
            case _:
                return item
    if isinstance(item, Mapping):
        if name == "sections":
            return _worded(item, language)
        if name == "body" and whole.get("type") in catalogue:
            return body_in_words(catalogue[whole["type"]].body, item, language)
    return in_language(item, language)


def _or_itself(label: Callable[[str, str], str], code: str, language: str) -> str:
    try:
        return label(code, language)
    except KeyError:
        return code


def _worded(sections: Mapping[str, Any], language: str) -> dict[str, Any]:
    from schemas.codes.labels import section_label
    from schemas.sections.words import in_words

    return {
        section_label(name, language): dict(in_words(name, content, language))
        for name, content in sections.items()
    }
