"""A message's body in the words of a reader's language: its codes by their labels. Pure.

The names of its fields stay as they are on the wire; what a person wrote stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from schemas.codes import labels
from schemas.sections.words import field_in_words


def in_words(model: type[BaseModel], body: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A body as it is, with a label in place of each code.

    Args:
        body: Valid content of the model, as JSON values.

    Raises:
        KeyError: No such language.
    """
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {
        name: _said(value, fields[name].annotation, language) if name in fields else value
        for name, value in body.items()
    }


def own_codes(annotation: Any) -> Iterator[str]:
    """The codes of a body's field that are of no list of a standard."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        yield from (member.value for member in annotation)
    elif get_origin(annotation) is Literal:
        yield from (str(code) for code in get_args(annotation) if isinstance(code, str))
    else:
        for part in get_args(annotation):
            yield from own_codes(part)


def parts_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a body's field, each of which has fields of its own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from parts_of(part)


def _said(value: Any, annotation: Any, language: str) -> Any:
    if isinstance(value, list):
        return [_said(item, annotation, language) for item in value]
    if isinstance(value, Mapping):
        part = next(parts_of(annotation), None)
        return dict(value) if part is None else in_words(part, value, language)
    if isinstance(value, str):
        if value in own_codes(annotation):
            return labels.body_label(value, language)
        return field_in_words(value, annotation, language)
    return value
