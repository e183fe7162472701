"""What every adapter must do, as checks that its own tests call.

An adapter's test suite makes its system and its cases, and calls these::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conforms(check, system):
        check(system, sample_case())

Each check raises `AssertionError` with a sentence. No test framework is needed. The system must
be empty of the business ids that the checks draw, and is left as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeAlias
from uuid import UUID

from adapters.base import CannotMap, CaseRecord, Declined, Erased, Filed, NationalSystem
from schemas.errors import Refused

Check: TypeAlias = Callable[[NationalSystem, CaseRecord], None]


def finds_nothing_before_filing(system: NationalSystem, case: CaseRecord) -> None:
    """`find` of an unknown business id is None, not an error."""
    _expect(case is not None and system.find(_new_id()) is None, "found what was never filed")


def files_once_however_often_asked(system: NationalSystem, case: CaseRecord) -> None:
    """Filing twice gives one record, one reference, and says the second time that it was there."""
    business_id = _new_id()
    first = _filed(system.file(business_id, case))
    try:
        second = _filed(system.file(business_id, case))
        found = system.find(business_id)
        _expect(not first.already, "a new record was said to have been there")
        _expect(second.already, "a repetition was not noticed")
        _expect(second.reference == first.reference, "a repetition got another reference")
        _expect(found is not None and found.reference == first.reference, "find disagrees")
    finally:
        system.erase(first.reference)


def reads_back_every_field(system: NationalSystem, case: CaseRecord) -> None:
    """What was filed is read back with the same content, section by section."""
    reference = _filed(system.file(_new_id(), case)).reference
    try:
        there = system.read(reference)
        _expect(there is not None, "a filed case cannot be read")
        for section in case.sections:
            same = there is not None and there.sections.get(section) == case.sections[section]
            _expect(same, f"{section} came back changed")
        _expect(
            there is not None and there.sections.keys() == case.sections.keys(), "more sections"
        )
        _expect(there is not None and there.case_ref == case.case_ref, "another case number")
    finally:
        system.erase(reference)


def declines_other_content_under_the_same_id(system: NationalSystem, case: CaseRecord) -> None:
    """The same business id with other content is declined, and the first content stays."""
    business_id = _new_id()
    reference = _filed(system.file(business_id, case)).reference
    try:
        answer = system.file(business_id, replace(case, case_ref="XA-OTHER-0002"))
        _expect(answer == Declined("id-conflict"), "other content was taken")
        there = system.read(reference)
        _expect(there is not None and there.case_ref == case.case_ref, "the first was overwritten")
    finally:
        system.erase(reference)


def says_what_it_cannot_map(system: NationalSystem, case: CaseRecord) -> None:
    """A case that does not fit leaves nothing behind, and the answer holds no value of it."""
    business_id, secret = _new_id(), "Unmappable-Value"
    bad = replace(case, sections={**case.sections, "identity_core": {"gender": secret}})
    answer = system.file(business_id, bad)
    _expect(isinstance(answer, CannotMap | Declined), "an invalid section was filed")
    _expect(secret not in repr(answer), "the answer repeats a value")
    _expect(system.find(business_id) is None, "a refused case left something behind")


def updates_in_place(system: NationalSystem, case: CaseRecord) -> None:
    """`update` replaces the content under the same reference."""
    business_id = _new_id()
    reference = _filed(system.file(business_id, case)).reference
    try:
        changed = replace(case, sections={"case_admin": {"status": "Closed"}})
        _expect(_filed(system.update(reference, changed)).reference == reference, "moved")
        there = system.read(reference)
        _expect(there is not None and there.sections == changed.sections, "not replaced")
        found = system.find(business_id)
        _expect(found is not None and found.reference == reference, "lost by the update")
    finally:
        system.erase(reference)


def erases_for_good_and_again(system: NationalSystem, case: CaseRecord) -> None:
    """After `erase` nothing is found or read; erasing again is no error; filing anew works."""
    business_id = _new_id()
    reference = _filed(system.file(business_id, case)).reference
    _expect(system.erase(reference) == Erased(existed=True), "not erased, or nothing was there")
    _expect(system.find(business_id) is None, "found after erasing")
    _expect(system.read(reference) is None, "read after erasing")
    _expect(system.erase(reference) == Erased(existed=False), "erased twice")
    _expect(isinstance(system.update(reference, case), Declined), "updated what is not there")
    again = _filed(system.file(business_id, case))
    _expect(not again.already, "remembered what was erased")
    system.erase(again.reference)


def files_a_batch_like_single_cases(system: NationalSystem, case: CaseRecord) -> None:
    """`file_many` answers in order, and a bad case in the batch spoils only itself."""
    ids = [_new_id() for _ in range(3)]
    bad = replace(case, sections={"identity_core": {"gender": "?"}})
    answers = system.file_many([(ids[0], case), (ids[1], bad), (ids[2], case)])
    try:
        _expect([isinstance(answer, Filed) for answer in answers] == [True, False, True], "order")
        _expect(system.find(ids[1]) is None, "a bad case was filed")
    finally:
        for answer in answers:
            if isinstance(answer, Filed):
                system.erase(answer.reference)


def files_from_many_threads(system: NationalSystem, case: CaseRecord) -> None:
    """Many threads that file different ids at once do not disturb each other."""
    ids = [_new_id() for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda business_id: system.file(business_id, case), ids))
    references = {_filed(answer).reference for answer in answers}
    _expect(len(references) == len(ids), "two cases under one reference")
    for reference in references:
        system.erase(reference)


def refuses_foreign_references(system: NationalSystem, case: CaseRecord) -> None:
    """A reference that the system never gave cannot make it read or erase something else."""
    for reference in ("../../etc/passwd", "", "a\0b"):
        for act in (system.read, system.erase):
            try:
                answer = act(reference)
            except Refused:
                continue
            missing = answer is None or not getattr(answer, "existed", True)
            _expect(case is not None and missing, "a foreign reference was served")


CHECKS: tuple[Check, ...] = (
    finds_nothing_before_filing,
    files_once_however_often_asked,
    reads_back_every_field,
    declines_other_content_under_the_same_id,
    says_what_it_cannot_map,
    updates_in_place,
    erases_for_good_and_again,
    files_a_batch_like_single_cases,
    files_from_many_threads,
    refuses_foreign_references,
)


def _new_id() -> UUID:
    return UUID(bytes=os.urandom(16), version=4)


def _filed(answer: object) -> Filed:
    _expect(isinstance(answer, Filed), f"not filed but {type(answer).__name__}")
    assert isinstance(answer, Filed)  # noqa: S101 - said above, for the type checker
    return answer


def _expect(fact: object, complaint: str) -> None:
    if not fact:
        raise AssertionError(complaint)
