"""A section in the words of a reader's language: its fields and codes by their labels. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas import codes
from schemas.base import ProtectedModel
from schemas.codes import labels
from schemas.sections.fields import Kind, Shape, shape_of
from schemas.sections.registry import SECTIONS, part_model

_YES_NO = codes.code_list(codes.BROKER, "yes_no_unknown")


def in_words(section: str, content: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    """Each field that says something, as (label, text); parts as `label 1: label`.

    What a person wrote stays as it is: nothing here translates free text.

    Args:
        content: Valid content of the section, as JSON values.

    Raises:
        KeyError: No such section or language.
    """
    yield from _lines(SECTIONS[section].model, section, content, language)


def _lines(
    model: type[ProtectedModel], path: str, content: Mapping[str, Any], language: str
) -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        here = f"{path}.{name}"
        said = labels.field_label(here, language)
        annotation = model.model_fields[name].annotation
        part = part_model(annotation)
        if part is None:
            yield said, _text(value, annotation, language)
        elif isinstance(value, Mapping):
            for label, text in _lines(part, here, value, language):
                yield f"{said}: {label}", text
        else:
            for number, item in enumerate(value, start=1):
                for label, text in _lines(part, here, item, language):
                    yield f"{said} {number}: {label}", text


def field_in_words(value: str, annotation: Any, language: str) -> str:
    """One value of a field, by its label if it is a code."""
    return _text(value, annotation, language)


def _text(value: Any, annotation: Any, language: str) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(_text(item, annotation, language) for item in value)
    if isinstance(value, bool):
        return labels.label(_YES_NO, "yes" if value else "no", language)
    try:
        shape = shape_of(annotation)
    except TypeError:
        return str(value)
    return _named(str(value), shape, language)


def _named(value: str, shape: Shape, language: str) -> str:
    match shape.kind:
        case Kind.CODE if shape.codes is not None:
            return labels.label(shape.codes, value, language)
        case Kind.COUNTRY | Kind.SUBDIVISION:
            return labels.place_label(value, language)
        case Kind.LANGUAGE:
            return labels.language_label(value, language)
        case Kind.SCRIPT:
            return labels.script_label(value, language)
        case Kind.SECTION:
            return labels.section_label(value, language)
        case Kind.CURRENCY:
            return labels.currency_label(value, language)
        case _:
            return value
