"""The conformance kit finds what an adapter does wrong, says where, and repeats nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from adapters.base import (
    MOST_CANDIDATES,
    Candidate,
    CannotErase,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Erasing,
    Filed,
    Match,
    Memory,
    News,
    Outcome,
    Polled,
    Skill,
    file_one_by_one,
)
from adapters.conformance import CHECKS, Report, Result
from adapters.conformance.cases import cases_with_every_code, together
from adapters.conformance.words import NAMES
from adapters.countries import countries_here, country_profile
from adapters.likeness import likeness
from adapters.registry import open_adapter
from schemas.errors import SchemaRefused
from schemas.sections import validate_section


class Casebook:
    """A case system in memory that keeps every promise; the broken ones below inherit from it."""

    name = "casebook"
    memory = Memory.LOOKUP
    skills = frozenset(Skill)

    def __init__(self) -> None:
        self.cases: dict[str, tuple[UUID, CaseRecord]] = {}
        self._numbers = itertools.count(1)

    def check(self) -> None:
        return

    def find(self, business_id: UUID) -> Filed | None:
        for reference, (known, _) in self.cases.items():
            if known == business_id:
                return Filed(reference, already=True)
        return None

    def read(self, reference: str) -> CaseRecord | None:
        return self.cases[reference][1] if reference in self.cases else None

    def keep(self, case: CaseRecord) -> CaseRecord:
        """What becomes of a case in the system."""
        return case

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        found = []
        for reference, (_, known) in self.cases.items():
            alike = likeness(case.sections, known.sections)
            if alike is not None:
                found.append(Candidate(reference, alike.match, alike.fields))
        return tuple(found[:MOST_CANDIDATES])

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        if case.same_as is not None and case.same_as not in self.cases:
            return Declined("no-such-person")
        try:
            for section, content in case.sections.items():
                validate_section(section, dict(content))
        except SchemaRefused as refused:
            return CannotMap(refused.where)
        if (there := self.find(business_id)) is not None:
            same = self.cases[there.reference][1] == self.keep(case)
            return there if same else Declined("id-conflict")
        reference = str(next(self._numbers))
        self.cases[reference] = (business_id, self.keep(case))
        return Filed(reference)

    def file_many(self, cases: Any) -> list[Outcome]:
        return file_one_by_one(self, cases)

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        if reference not in self.cases:
            return Declined("not-found")
        self.cases[reference] = (self.cases[reference][0], case)
        return Filed(reference, already=True)

    def erase(self, reference: str) -> Erasing:
        return Erased(self.cases.pop(reference, None) is not None)

    def poll(self, cursor: str | None) -> Polled:
        return Polled((), cursor)

    def tell(self, case_ref: str, news: News) -> Outcome:
        return Declined("not-found")

    def read_cases(self, source: object = None) -> Any:
        return iter(())


def changed(case: CaseRecord, section: str, **fields: Any) -> CaseRecord:
    content: Mapping[str, Any] = {**case.sections.get(section, {}), **fields}
    return replace(case, sections={**case.sections, section: content})


class LosesZeros(Casebook):
    def keep(self, case: CaseRecord) -> CaseRecord:
        number = case.sections.get("nationality_documents", {}).get("identity_number")
        if number is None:
            return case
        return changed(case, "nationality_documents", identity_number=number.lstrip("0"))


class MapsWhatItDoesNotKnowToOther(Casebook):
    def keep(self, case: CaseRecord) -> CaseRecord:
        services = case.sections.get("services_support", {}).get("services_requested")
        if services is None:
            return case
        return changed(case, "services_support", services_requested=["other"])


class KnowsOneCodePageOnly(Casebook):
    def keep(self, case: CaseRecord) -> CaseRecord:
        name = case.sections.get("identity_core", {}).get("second_name", "")
        name = name.encode("latin-1", "replace").decode("latin-1")
        return changed(case, "identity_core", second_name=name)


class RunsFormulas(Casebook):
    def keep(self, case: CaseRecord) -> CaseRecord:
        aliases = case.sections.get("identity_core", {}).get("aliases", [])
        if len(aliases) != 1:
            return case
        kept = ["2" if alias.startswith("=") else alias for alias in aliases]
        return changed(case, "identity_core", aliases=kept)


class CutsLongText(Casebook):
    def keep(self, case: CaseRecord) -> CaseRecord:
        summary = case.sections.get("risk_security", {}).get("summary")
        return case if summary is None else changed(case, "risk_security", summary=summary[:8])


class FilesTwice(Casebook):
    def find(self, business_id: UUID) -> Filed | None:
        return None


class UpdatesTheFirstMatch(Casebook):
    def update(self, reference: str, case: CaseRecord) -> Outcome:
        if reference not in self.cases:
            return Declined("not-found")
        return Filed(next(iter(self.cases)), already=True)


class OverwritesUnderTheSameId(Casebook):
    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        there = self.find(business_id)
        if there is not None:
            self.cases[there.reference] = (business_id, case)
            return there
        return super().file(business_id, case)


class RepeatsValues(Casebook):
    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        answer = super().file(business_id, case)
        if isinstance(answer, CannotMap):
            return CannotMap((str(case.sections),))
        return answer


class ForgetsToErase(Casebook):
    def erase(self, reference: str) -> Erasing:
        return Erased(reference in self.cases)


class RemembersTheErased(Casebook):
    def erase(self, reference: str) -> Erasing:
        if reference not in self.cases:
            return Erased(existed=False)
        business_id, case = self.cases[reference]
        self.cases[reference] = (business_id, replace(case, sections={}))
        return Erased(existed=True)


class ServesAnything(Casebook):
    def read(self, reference: str) -> CaseRecord | None:
        return super().read(reference) or CaseRecord("1", {})


class PollsOnceOnly(Casebook):
    def __init__(self) -> None:
        super().__init__()
        self.page = 0

    def poll(self, cursor: str | None) -> Polled:
        self.page += 1
        return Polled((), str(self.page))


class BreaksOnTelling(Casebook):
    def tell(self, case_ref: str, news: News) -> Outcome:
        raise KeyError(case_ref)


class TakesTheFirstCandidate(Casebook):
    """Updates the record that it found, as bridges between case systems have done."""

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        if case.same_as in self.cases:
            self.cases[case.same_as] = (business_id, replace(case, same_as=None))
            return Filed(case.same_as)
        return super().file(business_id, case)


class FindsNobody(Casebook):
    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        return ()


class FindsEverybody(Casebook):
    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        return tuple(Candidate(reference, Match.SCORE) for reference in self.cases)


class MatchesByNameAlone(Casebook):
    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        found = super().candidates(case)
        return tuple(each for each in found if each.match is Match.NAME)


class LinksToAnything(Casebook):
    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        return super().file(business_id, replace(case, same_as=None))


class HidesWhatItLacks(Casebook):
    skills = frozenset(Skill) - {Skill.ERASE}


BROKEN = {
    LosesZeros: "reads_back_every_field",
    MapsWhatItDoesNotKnowToOther: "reads_back_every_code",
    KnowsOneCodePageOnly: "reads_back_every_script",
    RunsFormulas: "reads_back_hostile_text",
    CutsLongText: "reads_back_hostile_text",
    FilesTwice: "files_once_however_often_asked",
    UpdatesTheFirstMatch: "updates_in_place",
    OverwritesUnderTheSameId: "declines_other_content_under_the_same_id",
    RepeatsValues: "says_what_it_cannot_map",
    ForgetsToErase: "erases_for_good_and_again",
    RemembersTheErased: "erases_for_good_and_again",
    ServesAnything: "refuses_foreign_references",
    PollsOnceOnly: "polls_the_same_page_again",
    BreaksOnTelling: "tells_nothing_of_unknown_cases",
    TakesTheFirstCandidate: "links_without_touching_the_other",
    FindsNobody: "finds_who_may_be_the_same_person",
    MatchesByNameAlone: "finds_who_may_be_the_same_person",
    FindsEverybody: "finds_nobody_for_a_stranger",
    LinksToAnything: "links_to_nobody_who_is_not_there",
    HidesWhatItLacks: "says_what_it_does_not_offer",
}


@pytest.mark.parametrize(("kind", "name"), BROKEN.items(), ids=lambda item: str(item)[-40:])
def test_a_broken_adapter_is_found(kind: type[Casebook], name: str) -> None:
    (check,) = [check for check in CHECKS if check.name == name]
    check(Casebook())
    system = kind()
    for number in range(3):
        system.file(UUID(int=number), CaseRecord("XA", {"case_admin": {"status": "Active"}}))
    assert check.applies_to(system)
    with pytest.raises((AssertionError, KeyError)) as failed:
        check(system)
    assert "Unmappable" not in str(failed.value)


def test_an_adapter_that_names_what_it_cannot_hold_is_honest() -> None:
    class SaysSo(CutsLongText):
        def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
            answer = super().file(business_id, case)
            if isinstance(answer, Filed):
                return replace(answer, not_held=("risk_security.summary: too-long",))
            return answer

    for check in CHECKS:
        check(SaysSo())


def test_what_is_not_offered_is_not_tried_and_not_called_kept() -> None:
    class WritesOnly(Casebook):
        memory = Memory.NONE
        skills = frozenset()

        def read(self, reference: str) -> CaseRecord | None:
            return None

        def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
            return ()

        def update(self, reference: str, case: CaseRecord) -> Outcome:
            return Declined("not-supported")

        def erase(self, reference: str) -> Erasing:
            return CannotErase("not-supported")

    system = WritesOnly()
    tried = [check for check in CHECKS if check.applies_to(system)]
    assert 3 < len(tried) < len(CHECKS)
    for check in tried:
        check(system)


def test_the_desk_keeps_every_promise_that_applies_to_it() -> None:
    system = open_adapter("desk", {})
    tried = [check for check in CHECKS if check.applies_to(system)]
    assert len(tried) > 5
    for check in tried:
        check(system)
    with pytest.raises(SchemaRefused):
        open_adapter("desk", {"colour": "red"})


def test_there_is_a_name_in_every_script_of_every_country() -> None:
    needed = {script for code in countries_here() for script in country_profile(code).scripts}
    assert needed <= set(NAMES)


def test_a_report_says_the_same_to_a_program_a_terminal_and_a_ministry() -> None:
    results = (
        Result("one", "One is kept.", "passed"),
        Result("two", "Two <is> kept.", "failed", "came back changed: a.b"),
        Result("three", "Three.", "not offered"),
    )
    at = datetime(2026, 11, 22, tzinfo=UTC)
    report = Report("casebook", "lookup", ("read",), "0.1", at, 1, results)
    assert not report.passed
    value = json.loads(json.dumps(report.to_json()))
    assert [item["outcome"] for item in value["results"]] == ["passed", "failed", "not offered"]
    assert "1 passed, 1 failed, 1 not offered" in report.to_text()
    page = report.to_html()
    assert "Two &lt;is&gt; kept." in page
    assert value["digest"] in page
    assert replace(report, results=results[:1]).passed


def test_cases_put_together_leave_no_code_out_and_share_no_section() -> None:
    every = list(cases_with_every_code())
    packed = list(together(every))
    tried = [(what, part.sections) for _, parts in packed for what, part in parts]
    wanted = [(what, case.sections) for what, case in every]
    assert sorted(tried, key=repr) == sorted(wanted, key=repr)
    assert len(packed) * 4 < len(every)
    for whole, parts in packed:
        assert len(whole.sections) == len(parts)
        for _, part in parts:
            assert part.sections.items() <= whole.sections.items()
