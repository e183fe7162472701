"""The promises of the port, each as a function that tries it.

A check gets a system that is empty of the business ids that the check draws, and leaves it as it
was. It raises `AssertionError` with a sentence when the promise is broken, and returns otherwise.
The sentence names fields and codes, never what a case holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from adapters.base import (
    MOST_CANDIDATES,
    Ambiguous,
    CannotErase,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Filed,
    Kept,
    Match,
    Memory,
    NationalSystem,
    News,
    Outcome,
    Skill,
    Step,
)
from adapters.conformance.cases import (
    cases_in_every_script,
    cases_with_every_code,
    cases_with_hostile_text,
    full_case,
    together,
)
from schemas.errors import Refused

Try: TypeAlias = Callable[[NationalSystem], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise."""

    name: str
    promise: str
    """What a reader may rely on when it holds."""
    needs: frozenset[Skill]
    """Asked only of a system that offers all of these."""
    memory: frozenset[Memory]
    """Asked only of a system that remembers in one of these ways."""
    attempt: Try

    def __call__(self, system: NationalSystem) -> None:
        """Try it; return if it holds."""
        self.attempt(system)

    def applies_to(self, system: NationalSystem) -> bool:
        """False if the system does not offer what the promise is about."""
        return self.needs <= system.skills and system.memory in self.memory


_found: list[Check] = []


def check(
    promise: str, *needs: Skill, memory: frozenset[Memory] = frozenset(Memory)
) -> Callable[[Try], Try]:
    """Marks a function as the trial of a promise."""

    def register(attempt: Try) -> Try:
        _found.append(Check(attempt.__name__, promise, frozenset(needs), memory, attempt))
        return attempt

    return register


ASKED: Final = frozenset({Memory.LOOKUP})
ONCE: Final = frozenset({Memory.LOOKUP, Memory.KEYS})


# --- once --------------------------------------------------------------------------------------


@check("What was never filed is not found.", memory=ASKED)
def finds_nothing_before_filing(system: NationalSystem) -> None:
    expect(system.find(new_id()) is None, "found what was never filed")


@check("Filing twice gives one record and one reference.", memory=ONCE)
def files_once_however_often_asked(system: NationalSystem) -> None:
    business_id = new_id()
    with filing(system, business_id, full_case()) as first:
        second = filed(system.file(business_id, full_case()))
        expect(not first.already, "a new record was said to have been there")
        expect(second.reference == first.reference, "a repetition got another reference")
        if system.memory is Memory.LOOKUP:
            expect(second.already, "a repetition was not noticed")
            found = system.find(business_id)
            expect(found is not None and found.reference == first.reference, "find disagrees")


@check("The same id with other content is declined, and the first content stays.", memory=ASKED)
def declines_other_content_under_the_same_id(system: NationalSystem) -> None:
    business_id = new_id()
    with filing(system, business_id, full_case()) as first:
        other = replace(full_case(), sections={"identity_core": {"first_name": "Another"}})
        answer = system.file(business_id, other)
        expect(answer == Declined("id-conflict"), "other content was taken")
        if Skill.READ in system.skills:
            expect_same(system, first, full_case())


@check("A batch is answered in order, and a case that does not fit spoils only itself.")
def files_a_batch_like_single_cases(system: NationalSystem) -> None:
    ids = [new_id() for _ in range(3)]
    bad = replace(full_case(), sections={"identity_core": {"gender": "?"}})
    answers = system.file_many([(ids[0], full_case()), (ids[1], bad), (ids[2], full_case())])
    try:
        expect([isinstance(answer, Filed) for answer in answers] == [True, False, True], "order")
        if system.memory is Memory.LOOKUP:
            expect(system.find(ids[1]) is None, "a bad case was filed")
    finally:
        for answer in answers:
            clean(system, answer)


@check("Many threads that file different cases at once do not disturb each other.")
def files_from_many_threads(system: NationalSystem) -> None:
    ids = [new_id() for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: system.file(one, full_case()), ids))
    references = {filed(answer).reference for answer in answers}
    for answer in answers:
        clean(system, answer)
    expect(len(references) == len(ids), "two cases under one reference")


# --- whole -------------------------------------------------------------------------------------


@check("What was filed is read back unchanged; what has no place is named.", Skill.READ)
def reads_back_every_field(system: NationalSystem) -> None:
    with filing(system, new_id(), full_case()) as answer:
        expect_same(system, answer, full_case())
        there = system.read(answer.reference)
        expect(there is not None and there.case_ref == full_case().case_ref, "another case number")


@check("Names in every script of the countries come back as they were.", Skill.READ)
def reads_back_every_script(system: NationalSystem) -> None:
    for what, case in cases_in_every_script():
        _round_trip(system, what, case)


@check("Text that breaks careless programs comes back as it was, and does nothing.", Skill.READ)
def reads_back_hostile_text(system: NationalSystem) -> None:
    for what, case in cases_with_hostile_text():
        _round_trip(system, what, case)


@check("Every code comes back as itself, or its field is named; never as another.", Skill.READ)
def reads_back_every_code(system: NationalSystem) -> None:
    for whole, parts in together(cases_with_every_code()):
        if not _round_trip(system, "codes", whole):
            # Something of it cannot be mapped: the rest is tried without it.
            for what, case in parts:
                _round_trip(system, what, case)


@check("A case that does not fit leaves nothing behind, and no answer repeats a value of it.")
def says_what_it_cannot_map(system: NationalSystem) -> None:
    business_id, secret = new_id(), "Unmappable-Value"
    bad = replace(full_case(), sections={"identity_core": {"gender": secret}})
    answer = system.file(business_id, bad)
    expect(isinstance(answer, CannotMap | Declined), "an invalid section was filed")
    expect(secret not in repr(answer), "the answer repeats a value")
    if system.memory is Memory.LOOKUP:
        expect(system.find(business_id) is None, "a refused case left something behind")


# --- afterwards --------------------------------------------------------------------------------


@check("An update replaces the content under the same reference.", Skill.UPDATE)
def updates_in_place(system: NationalSystem) -> None:
    business_id = new_id()
    with filing(system, business_id, full_case()) as first:
        changed = replace(full_case(), sections={"case_admin": {"status": "Closed"}})
        updated = filed(system.update(first.reference, changed))
        expect(updated.reference == first.reference, "moved")
        if Skill.READ in system.skills:
            expect_same(system, updated, changed)
        if system.memory is Memory.LOOKUP:
            found = system.find(business_id)
            expect(found is not None and found.reference == first.reference, "lost by the update")


@check("After erasing nothing is found or read; erasing again is no error.", Skill.ERASE)
def erases_for_good_and_again(system: NationalSystem) -> None:
    business_id = new_id()
    reference = filed(system.file(business_id, full_case())).reference
    answer = system.erase(reference)
    if isinstance(answer, Kept | CannotErase):
        return  # said so, with a reason: the attestation will say it too
    holds_it = system.memory is Memory.LOOKUP or Skill.READ in system.skills
    expect(not holds_it or answer == Erased(existed=True), "not erased, or nothing was there")
    expect(system.read(reference) is None, "read after erasing")
    expect(system.erase(reference) == Erased(existed=False), "erased twice")
    if Skill.UPDATE in system.skills and holds_it:
        gone = system.update(reference, full_case())
        expect(isinstance(gone, Declined), "updated what is not there")
    if system.memory is Memory.LOOKUP:
        expect(system.find(business_id) is None, "found after erasing")
        again = filed(system.file(business_id, full_case()))
        expect(not again.already, "remembered what was erased")
        clean(system, again)


@check("A reference that the system never gave reads and erases nothing.", Skill.READ)
def refuses_foreign_references(system: NationalSystem) -> None:
    for reference in ("../../etc/passwd", "", "a\0b", "1 OR 1=1", "%2e%2e"):
        for act in (system.read, system.erase):
            try:
                answer = act(reference)
            except Refused:
                continue
            served = answer is not None and not (isinstance(answer, Erased) and not answer.existed)
            expect(not served, "a foreign reference was served")


# --- who it is ---------------------------------------------------------------------------------


@check("Somebody who is there already is found by her number and by her name.", Skill.CANDIDATES)
def finds_who_may_be_the_same_person(system: NationalSystem) -> None:
    for case, how in (
        (a_person(number=new_number()), Match.NUMBER),
        (a_person(number=None), Match.NAME),
    ):
        with filing(system, new_id(), case):
            found = system.candidates(case)
            expect(found, f"somebody with the same {how} is not found")
            expect(len(found) <= MOST_CANDIDATES, "more than a worker can look at")
            expect(any(each.match is how for each in found), f"found, and not by the {how}")
            expect(system.candidates(case) == found, "asked again, and another answer")


@check("A stranger is nobody's likeness, and of nobody known everybody is none.", Skill.CANDIDATES)
def finds_nobody_for_a_stranger(system: NationalSystem) -> None:
    with filing(system, new_id(), a_person(number=new_number())):
        for stranger in (a_person(number=new_number()), replace(full_case(), sections={})):
            expect(system.candidates(stranger) == (), "a stranger was taken for somebody")


@check(
    "A case is linked to a person who is known, and what was known of her stays.", Skill.CANDIDATES
)
def links_without_touching_the_other(system: NationalSystem) -> None:
    person = a_person(number=new_number())
    with filing(system, new_id(), person) as first:
        (known, *_) = system.candidates(person)
        more = replace(
            person,
            sections={"identity_core": {**person.sections["identity_core"], "deceased": False}},
            same_as=known.reference,
        )
        business_id = new_id()
        with filing(system, business_id, more) as second:
            expect(second.reference != first.reference, "the known record was taken for the new")
            again = system.file(business_id, more)
            if system.memory is not Memory.NONE:
                expect(filed(again).reference == second.reference, "linked twice")
            if Skill.READ in system.skills:
                expect_same(system, first, person)
                expect_same(system, second, more)
        if Skill.READ in system.skills:
            expect_same(system, first, person)


@check("A link to somebody who is not there is declined, and nothing is filed.", Skill.CANDIDATES)
def links_to_nobody_who_is_not_there(system: NationalSystem) -> None:
    person = a_person(number=new_number())
    gone = filed(system.file(new_id(), person))
    known = system.candidates(person)
    clean(system, gone)
    left = {each.reference for each in system.candidates(person)}
    business_id = new_id()
    for each in known:
        if each.reference in left:
            continue  # a system that cannot erase
        answer = system.file(business_id, replace(person, same_as=each.reference))
        clean(system, answer)
        expect(answer == Declined("no-such-person"), "filed with a link to nobody")
        if system.memory is Memory.LOOKUP:
            expect(system.find(business_id) is None, "declined, and there all the same")


# --- answers -----------------------------------------------------------------------------------


@check("The same page of decisions comes again until the next is asked for.", Skill.POLL)
def polls_the_same_page_again(system: NationalSystem) -> None:
    first = system.poll(None)
    expect(system.poll(None) == first, "another page for the same cursor")
    names = [item.id for item in first.items]
    expect(len(set(names)) == len(names), "one id for two decisions")
    for item in first.items:
        if isinstance(item, News):
            expect(item.at.tzinfo is not None, "a time without a zone")
            expect(item.step is not Step.DECLINED or item.reason, "declined without a reason")
        else:
            expect(isinstance(item, Ambiguous) and item.code, "neither news nor a question")


@check("A decision about a case that is not there is declined, and breaks nothing.", Skill.TELL)
def tells_nothing_of_unknown_cases(system: NationalSystem) -> None:
    news = News("n-1", new_id(), Step.ACCEPTED, datetime(2026, 1, 2, tzinfo=UTC))
    for _ in range(2):
        answer = system.tell("XA-NO-SUCH-CASE", news)
        expect(isinstance(answer, Filed | Declined), "neither taken nor declined")


@check("What the system does not offer is answered as the port says, not with an error.")
def says_what_it_does_not_offer(system: NationalSystem) -> None:
    for skill, act, silent in (
        (Skill.READ, lambda: system.read("none"), None),
        (Skill.POLL, lambda: system.poll(None).items, ()),
        (Skill.UPDATE, lambda: system.update("none", full_case()), Declined("not-supported")),
        (Skill.CANDIDATES, lambda: system.candidates(full_case()), ()),
    ):
        if skill not in system.skills:
            expect(act() == silent, f"{skill} is answered otherwise")
    if Skill.ERASE not in system.skills:
        expect(isinstance(system.erase("none"), CannotErase), "erase is answered otherwise")


CHECKS: Final[tuple[Check, ...]] = tuple(_found)


# --- tools -------------------------------------------------------------------------------------


def new_id() -> UUID:
    """A business id that no system has seen."""
    return UUID(bytes=os.urandom(16), version=4)


def new_number() -> str:
    """An identity number that nobody has; its leading zeros belong to it."""
    return f"00{new_id().hex[:10]}"


def a_person(*, number: str | None) -> CaseRecord:
    """An invented person whose name nobody else has."""
    # Letters alone: some systems take no digits in a name.
    name = new_id().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
    person = {
        "first_name": f"Invented{name[:8]}",
        "second_name": f"Łódź-{name[8:16]}",
        "birthdate": "1990-05-14",
    }
    sections: dict[str, Any] = {"identity_core": person}
    if number is not None:
        sections["nationality_documents"] = {"identity_number": number}
    return replace(full_case(), sections=sections)


def filed(answer: object) -> Filed:
    """The answer, which has to be `Filed`."""
    if isinstance(answer, CannotMap):
        # Paths and codes alone, so they may be shown.
        raise AssertionError(f"not filed but CannotMap {', '.join(answer.where[:5])}")
    expect(isinstance(answer, Filed), f"not filed but {type(answer).__name__}")
    assert isinstance(answer, Filed)  # noqa: S101 - said above, for the type checker
    return answer


def expect(fact: object, complaint: str) -> None:
    """Complain if it is not so."""
    if not fact:
        raise AssertionError(complaint)


@contextmanager
def filing(system: NationalSystem, business_id: UUID, case: CaseRecord) -> Iterator[Filed]:
    """A filed case, for as long as it takes."""
    answer = filed(system.file(business_id, case))
    try:
        yield answer
    finally:
        clean(system, answer)


def clean(system: NationalSystem, answer: Outcome) -> None:
    """Leave the system as it was, where it can be."""
    if isinstance(answer, Filed):
        system.erase(answer.reference)


def expect_same(system: NationalSystem, answer: Filed, case: CaseRecord) -> None:
    """Every field came back as it was, or its path is among those that the system named."""
    there = system.read(answer.reference)
    expect(there is not None, "a filed case cannot be read")
    assert there is not None  # noqa: S101 - said above, for the type checker
    named = {path.partition(":")[0].strip() for path in answer.not_held}
    lost = [
        path
        for path in _differences(case.sections, there.sections)
        if not any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in named)
    ]
    expect(not lost, f"came back changed, and nothing was said: {', '.join(sorted(lost)[:5])}")


def _differences(
    given: Mapping[str, Mapping[str, Any]], there: Mapping[str, Mapping[str, Any]]
) -> set[str]:
    """Paths, `section.field`, of what differs."""
    return {
        f"{section}.{name}"
        for section in given.keys() | there.keys()
        for fields in [(given.get(section, {}), there.get(section, {}))]
        for name in fields[0].keys() | fields[1].keys()
        if fields[0].get(name) != fields[1].get(name)
    }


def _round_trip(system: NationalSystem, what: str, case: CaseRecord) -> bool:
    """False if the system says that it has no place for it."""
    answer = system.file(new_id(), case)
    if isinstance(answer, CannotMap):
        expect(answer.where, f"{what}: cannot be mapped, and the field is not named")
        return False
    try:
        expect_same(system, filed(answer), case)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None
    finally:
        clean(system, answer)
    return True
