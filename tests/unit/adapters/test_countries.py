"""Country data promise: sources with every statement, codes that exist, nothing guessed."""

from __future__ import annotations

import unicodedata
from datetime import date
from importlib.metadata import EntryPoint
from pathlib import Path
from shutil import copytree

import pytest

import adapters.countries
from adapters.base import CaseRecord
from adapters.conformance import full_case
from adapters.countries import (
    CountryProfile,
    Fact,
    NoCode,
    countries_here,
    country_codes,
    country_law,
    country_profile,
)
from adapters.countries import folders as where
from adapters.countries.codes import read_codes
from adapters.countries.folders import Folder, all_folders
from adapters.countries.law import shared_law
from adapters.countries.profile import read_profile
from adapters.registry import adapter_names
from schemas.base import WrittenByAPerson
from schemas.codes import BROKER, code_list
from schemas.codes.sets import CodeSetNote
from schemas.errors import BadSignature, NotFound, SchemaRefused
from schemas.sections import SECTIONS
from tests.support.parties import NOW

PARENT = Path(adapters.countries.__file__).parent
HERE = pytest.mark.parametrize("code", countries_here())

NAMED_IN_THE_SOURCES = (
    "AT CY FR GR IT PL PT ES GB AL MA UA AF DZ TD EG ET IQ LB LY ML NE NG SD TN BD MD "
    "KH LA MM VN CN ID HU BE NL TH"
)


def test_every_country_of_the_sources_has_a_folder() -> None:
    assert {code.upper() for code in countries_here()} >= set(NAMED_IN_THE_SOURCES.split())


@HERE
def test_a_country_is_whole(code: str) -> None:
    profile = country_profile(code)
    readme = (PARENT / code / "README.md").read_text(encoding="utf-8")
    assert profile.country == code.upper()
    assert profile.adapter in adapter_names()
    assert readme.startswith(f"# {profile.name}\n")
    assert readme.count("\n- ") >= 2, "what is particular to it"
    assert {"deciding_body", "service", "guardian_kind"} <= set(country_codes(code).lists)


def test_no_two_readmes_say_the_same() -> None:
    lines = [
        line
        for code in countries_here()
        for line in (PARENT / code / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("- ") and len(line) > 60
    ]
    assert len(lines) == len(set(lines))


@HERE
def test_no_country_requires_free_text_of_a_person(code: str) -> None:
    for path in country_profile(code).required_fields:
        section, _, field = path.partition(".")
        annotation = SECTIONS[section].model.model_fields[field].annotation
        assert WrittenByAPerson.__name__ not in str(annotation)


@HERE
def test_a_profile_cannot_be_changed(code: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        country_profile(code).name = "Elsewhere"  # type: ignore[misc]


# --- law ------------------------------------------------------------------------------------


@HERE
def test_every_statement_says_how_it_is_known(code: str) -> None:
    profile = country_profile(code)
    law = profile.data_protection
    facts = [law.gdpr, law.convention_108, law.cets_197, law.palermo, law.actip]
    assert law.national_law, "none known is said, not left out"
    for fact in [*facts, *law.national_law, profile.age_of_majority, profile.particulars]:
        assert fact.source
        assert fact.recorded_on <= NOW.date()
        assert fact.origin in ("read", "secondary", "memory")


@pytest.mark.parametrize("code", ["af", "iq", "kh", "ly", "mm", "sd"])
def test_where_no_act_is_known_nobody_may_rest_on_national_law(code: str) -> None:
    law = country_law(code.upper())
    assert [fact.value for fact in law.national_law] == ["unknown"]
    assert not law.has_own_law()


def test_a_profile_that_leaves_the_law_out_is_refused(tmp_path: Path) -> None:
    text = (PARENT / "it" / "profile.toml").read_text(encoding="utf-8")
    with pytest.raises(SchemaRefused) as refused:
        read_profile(_copy(tmp_path, "it", "profile.toml", text[text.index("[[data_") :], ""))
    assert refused.value.where == ("data_protection.national_law",)


def test_what_nobody_is_sure_of_counts_as_unknown() -> None:
    guess = Fact(
        value="party", source="x", recorded_on=date(2026, 1, 1), confidence="low", origin="memory"
    )
    assert guess.relied_on == "unknown"
    law = country_law("LB").model_copy(update={"palermo": guess})
    assert not law.bound_by("palermo")


def test_the_united_kingdom_is_adequate_until_a_day_and_no_longer() -> None:
    law = country_law("GB")
    assert not law.under_gdpr()
    assert law.adequate_on(date(2031, 12, 27))
    assert not law.adequate_on(date(2031, 12, 28))


@pytest.mark.parametrize(
    ("code", "gdpr", "c108", "c197", "palermo", "actip"),
    [
        ("IT", "gdpr-applies", True, True, True, False),
        ("DE", "gdpr-applies", True, True, False, False),  # without a folder; Palermo not recorded
        ("AL", "no-adequacy", True, True, True, False),
        ("MA", "no-adequacy", True, False, True, False),
        ("TN", "no-adequacy", True, False, True, False),
        ("KH", "no-adequacy", False, False, True, True),
        ("LY", "no-adequacy", False, False, True, False),
        ("XK", "no-adequacy", False, False, False, False),
    ],
)
def test_positions_follow_the_lists(
    code: str, gdpr: str, c108: bool, c197: bool, palermo: bool, actip: bool
) -> None:
    law = country_law(code)
    treaties = ("convention_108", "cets_197", "palermo", "actip")
    assert law.gdpr.relied_on == gdpr
    assert [law.bound_by(treaty) for treaty in treaties] == [c108, c197, palermo, actip]


def test_the_shared_lists_do_not_contradict_each_other() -> None:
    law = shared_law()
    assert len(law.gdpr.applies) == 30
    assert not set(law.gdpr.applies) & set(law.adequacy.countries)
    assert set(law.gdpr.applies) <= set(law.treaties["convention_108"].parties)
    assert set(law.gdpr.applies) <= set(law.treaties["cets_197"].parties)


@pytest.mark.parametrize(("code", "age"), [("it", 18), ("dz", 19), ("th", 20), ("eg", 21)])
def test_majority_is_each_countrys_own(code: str, age: int) -> None:
    assert country_profile(code).majority == age


# --- codes ----------------------------------------------------------------------------------


def test_words_of_a_country_become_our_codes() -> None:
    assert country_codes("al").code_for("deciding_body", " policia e shtetit ") == "police"
    assert (
        country_codes("it").code_for("guardian_kind", "Tutore volontario") == "appointed_guardian"
    )
    assert country_codes("dz").code_for("service", "Aide juridique") == "legal", "in French"
    assert country_codes("dz").code_for("service", "مساعدة قانونية") == "legal", "in Arabic"


def test_what_may_not_be_guessed_says_why() -> None:
    assert country_codes("lb").code_for("guardian_kind", "كفيل") is NoCode.CANNOT_MAP
    assert country_codes("ma").code_for("guardian_kind", "كافل") == "appointed_guardian"
    assert country_codes("it").code_for("guardian_kind", "Zio") is NoCode.UNKNOWN
    assert country_codes("it").code_for("no_such_list", "Zio") is NoCode.UNKNOWN


@pytest.mark.parametrize(
    "code", ["at", "be", "cy", "es", "fr", "gb", "gr", "hu", "it", "nl", "pl", "pt"]
)
def test_an_asylum_authority_is_never_a_deciding_body(code: str) -> None:
    assert country_codes(code).cannot_map["deciding_body"]


@HERE
def test_each_code_of_ours_has_a_word_or_is_said_to_have_none(code: str) -> None:
    codes = country_codes(code)
    for name in codes.lists:
        for ours in code_list(BROKER, name).codes:
            word = codes.word_for(name, ours)
            assert (word is None) == (ours in codes.cannot_say.get(name, ()))
            if word is not None:
                assert codes.code_for(name, word) == ours
                assert unicodedata.is_normalized("NFC", word)


def _copy(tmp_path: Path, code: str, file: str, old: str, new: str) -> Folder:
    place = tmp_path / code
    copytree(PARENT / code, place)
    text = (place / file).read_text(encoding="utf-8")
    assert old in text
    (place / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return Folder(code, place)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Questura" = "police"', '"Questura" = "sheriff"'),
        ('"Questura" = "police"', '"Questura" = "police"\n"QUESTURA" = "court"'),
        ("[words.service]", "[words.shoe_size]"),
        ('  "transport",\n', ""),
        ('  "transport",\n', '  "transport",\n  "legal",\n'),
        ('"Commissione territoriale"', '"Questura"'),
        ("version = 1", "version = 0"),
        ("version = 1", 'version = 1\nuses = ["zzz"]'),
        ("version = 1", "version = 1\ncolour = 3"),
    ],
)
def test_a_set_that_forgets_repeats_or_invents_is_refused_whole(
    tmp_path: Path, old: str, new: str
) -> None:
    with pytest.raises(SchemaRefused):
        read_codes(_copy(tmp_path, "it", "codes.toml", old, new))


def test_the_digest_moves_with_any_word_and_not_with_the_files_form(tmp_path: Path) -> None:
    same = read_codes(_copy(tmp_path / "1", "it", "codes.toml", "\n\n", "\n\n# a remark\n"))
    other = read_codes(_copy(tmp_path / "2", "it", "codes.toml", '"Genitore"', '"Padre"'))
    assert same.digest == country_codes("it").digest
    assert other.digest != same.digest


def test_a_set_stands_for_what_its_country_signed_and_nothing_else() -> None:
    codes = country_codes("it")
    note = CodeSetNote(
        country="IT", version=codes.version, digest=codes.digest, by="it.nrm", signed_at=NOW
    )
    codes.require(note)
    for change in ({"country": "AL"}, {"version": 2}, {"digest": "d" * 43}):
        with pytest.raises(BadSignature):
            codes.require(note.model_copy(update=change))


# --- folders --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('country = "IT"', 'country = "AL"'),
        ("case_admin.status", "case_admin.shoe_size"),
        ('roles = ["destination", "transit"]', 'roles = ["paradise"]'),
        ('value = "18"', 'value = "eighteen"'),
        ('scripts = ["Latn"]', 'scripts = ["Xxxx"]'),
        ('name = "Italy"', 'name = "Italy"\ncapital = "Rome"'),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(SchemaRefused):
        read_profile(_copy(tmp_path, "it", "profile.toml", old, new))


def test_a_ministrys_own_folder_is_found_by_path_and_takes_over_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = _copy(tmp_path, "it", "profile.toml", 'country = "IT"', 'country = "KE"')
    copytree(PARENT / "al", tmp_path / "al")
    Path(str(ours.place)).rename(tmp_path / "ke")
    monkeypatch.setenv(where.PATHS, str(tmp_path))
    found = all_folders()
    assert read_profile(found["ke"]).country == "KE"
    assert str(found["al"].place) == str(PARENT / "al")


def test_a_folder_is_found_by_entry_point_unless_two_claim_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = EntryPoint("ke", "adapters.countries.it", where.ENTRY_POINT_GROUP)
    monkeypatch.setattr(where, "_entry_points", lambda: [entry])
    assert "ke" in all_folders()
    monkeypatch.setattr(where, "_entry_points", lambda: [entry, entry])
    with pytest.raises(SchemaRefused):
        all_folders()


def test_a_case_is_told_what_it_lacks() -> None:
    profile = country_profile("al")
    assert profile.missing_fields(full_case()) == ()
    assert profile.missing_fields(CaseRecord("XA-1", {})) == profile.required_fields


def test_a_country_without_a_folder_is_not_found() -> None:
    for code in ("zz", "../it", ""):
        with pytest.raises(NotFound):
            country_profile(code)


def test_a_profile_survives_its_own_json() -> None:
    for code in countries_here():
        profile = country_profile(code)
        assert CountryProfile.from_json(profile.to_json()) == profile
