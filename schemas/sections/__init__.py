"""The consent-scoped sections of a case: what a person can agree to share, one by one.

`schemas.sections.index` lists them without their models. The models, `SECTIONS` and
`validate_section` are loaded when first asked for, so that naming a section costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from schemas.sections.index import SECTION_IDS, SECTION_INDEX, SectionEntry, compartment_of

if TYPE_CHECKING:
    from schemas.sections.registry import (
        SECTIONS,
        SectionSpec,
        section_content,
        validate_section,
    )

__all__ = [
    "SECTIONS",
    "SECTION_IDS",
    "SECTION_INDEX",
    "SectionEntry",
    "SectionSpec",
    "compartment_of",
    "section_content",
    "validate_section",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("schemas.sections.registry"), name)
    raise AttributeError(name)
