"""Country data promise: sources with every statement, codes that exist, no free text required."""

from __future__ import annotations

from pathlib import Path

import pytest

import adapters.countries
from adapters.base import CaseRecord
from adapters.conformance import full_case
from adapters.countries import (
    CountryProfile,
    country_codes,
    country_codes_here,
    country_profile,
    from_national,
)
from adapters.registry import adapter_names
from schemas.base import WrittenByAPerson
from schemas.errors import NotFound, SchemaRefused
from schemas.sections import SECTIONS

HERE = pytest.mark.parametrize("code", country_codes_here())


@HERE
def test_a_country_is_whole(code: str) -> None:
    profile = country_profile(code)
    folder = Path(adapters.countries.__file__).parent / code
    assert profile.country == code.upper()
    assert profile.adapter in adapter_names()
    assert profile.majority == 18
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {profile.name}")


def test_every_folder_is_a_country_and_the_reverse() -> None:
    parent = Path(adapters.countries.__file__).parent
    folders = {path.name for path in parent.iterdir() if (path / "profile.toml").exists()}
    assert folders == set(country_codes_here())


@HERE
def test_no_country_requires_free_text_of_a_person(code: str) -> None:
    for path in country_profile(code).required_fields:
        section, _, field = path.partition(".")
        annotation = SECTIONS[section].model.model_fields[field].annotation
        assert WrittenByAPerson.__name__ not in str(annotation)


@HERE
def test_a_profile_cannot_be_changed(code: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        country_profile(code).name = "Elsewhere"


def test_words_of_a_country_become_our_codes_and_unknown_ones_nothing() -> None:
    assert from_national("al", "deciding_body", " policia e shtetit ") == "police"
    assert from_national("it", "guardian_kind", "Tutore volontario") == "appointed_guardian"
    assert from_national("it", "guardian_kind", "Zio") is None
    assert from_national("it", "no_such_list", "Zio") is None
    with pytest.raises(TypeError):
        country_codes("it")["service"]["x"] = "legal"  # type: ignore[index]


def test_a_case_is_told_what_it_lacks() -> None:
    profile = country_profile("al")
    assert profile.missing_fields(full_case()) == ()
    assert profile.missing_fields(CaseRecord("XA-1", {})) == profile.required_fields


def test_a_country_without_a_folder_is_not_found() -> None:
    for code in ("zz", "../it", ""):
        with pytest.raises(NotFound):
            country_profile(code)


def test_a_profile_that_requires_an_unknown_field_is_refused() -> None:
    data = country_profile("it").to_json().replace(b"case_admin.status", b"case_admin.shoe_size")
    with pytest.raises(SchemaRefused):
        CountryProfile.from_json(data)
