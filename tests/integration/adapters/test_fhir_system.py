"""The FHIR adapter against a strict server: once, whole, to the right Task, and nothing unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.base import (
    Ambiguous,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Filed,
    Kept,
    Match,
    News,
    Step,
    Tools,
)
from adapters.conformance import conform
from adapters.conformance.cases import full_case
from adapters.registry import open_adapter
from adapters.systems.fhir import FhirSystem, words
from adapters.systems.fhir.resources import resources_of
from adapters.systems.files import FilesSystem
from schemas.errors import CaseSystemUnavailable, OutcomeUnknown, SchemaRefused
from tests.support.ctdc import drawn_cases
from tests.support.fhir import Server, Store, fhir_server

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SAMPLE = Path("adapters/systems/files/samples/italy-invented.csv")
OUTBOX = "Organization/abroad"


@pytest.fixture
def server() -> Iterator[Server]:
    with fhir_server(Store(keeps_history=True, page=7)) as server:
        yield server


@pytest.fixture
def system(server: Server) -> FhirSystem:
    return open_fhir(server, outbox=OUTBOX)


def open_fhir(server: Server, **settings: Any) -> FhirSystem:
    system = open_adapter("fhir", {"url": server.base, **settings})
    assert isinstance(system, FhirSystem)
    return system


def filed(system: FhirSystem, case: CaseRecord | None = None) -> tuple[UUID, str]:
    business_id = uuid4()
    answer = system.file(business_id, full_case() if case is None else case)
    assert isinstance(answer, Filed), answer
    return business_id, answer.reference


def task_of(server: Server, business_id: UUID) -> dict[str, Any]:
    [task] = [
        each
        for each in server.store.of("Task")
        if {"system": words.REFERRAL, "value": str(business_id)} in each["identifier"]
    ]
    return dict(task)


def decide(server: Server, business_id: UUID, status: str, reason: str | None = None) -> None:
    task = {**task_of(server, business_id), "status": status}
    task.pop("statusReason", None)
    if reason is not None:
        coding = [{"system": words.DECLINE_REASON, "code": reason}]
        task["statusReason"] = {"coding": coding}
    server.store.put("Task", task["id"], task)


def task(server: Server, identity: str) -> dict[str, Any]:
    found: dict[str, Any] | None = server.store.current("Task", identity)
    assert found is not None
    return found


def outgoing(server: Server, number: str, **more: Any) -> None:
    """A worker here asks for another country's help, in her own system."""
    store = server.store
    store.put("Patient", f"p-{number}", {"resourceType": "Patient", "birthDate": "1998-04"})
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/p-{number}"},
    }
    store.put("ServiceRequest", f"s-{number}", request)
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": f"ServiceRequest/s-{number}"},
        "owner": {"reference": OUTBOX},
        **more,
    }
    store.put("Task", f"t-{number}", task)


def test_it_keeps_every_promise_of_the_port_also_when_it_is_killed() -> None:
    with fhir_server(Store(keeps_history=False)) as server:
        report = conform("fhir", {"url": server.base}, Tools(), now=NOW, kills=2)
        assert report.passed, report.results
        assert not any(server.store.of(kind) for kind in ("Patient", "Task", "Consent"))


def test_every_case_of_the_sample_arrives_with_every_field_and_is_read_back(
    server: Server, system: FhirSystem, tmp_path: Path
) -> None:
    cases = list(FilesSystem(tmp_path).read_cases(SAMPLE))
    assert cases
    for case in cases:
        assert isinstance(case, CaseRecord)
        _, reference = filed(system, case)
        there = system.read(reference)
        assert there is not None
        assert (there.case_ref, there.sections) == (case.case_ref, case.sections)
    for kind in ("Patient", "ServiceRequest", "Task", "Consent"):
        assert len(server.store.of(kind)) == len(cases)


def test_a_seeded_sample_of_public_variables_arrives_whole(
    server: Server, system: FhirSystem
) -> None:
    """`bench/adapters.py` sends tens of thousands; these are their first."""
    drawn = list(drawn_cases(seed=1, count=60))
    batch = [(uuid4(), case) for case in drawn]
    answers = system.file_many(batch)
    assert [answer for answer in answers if not isinstance(answer, Filed)] == []
    for answer, case in zip(answers, drawn, strict=True):
        assert isinstance(answer, Filed)
        there = system.read(answer.reference)
        assert there is not None
        assert (there.case_ref, there.sections) == (case.case_ref, case.sections)
    assert len(server.store.of("ServiceRequest")) == len(server.store.of("Patient")) == len(drawn)


def test_no_url_holds_anything_but_opaque_ids(server: Server, system: FhirSystem) -> None:
    _, reference = filed(system)
    system.read(reference)
    system.erase(reference)
    assert not any("nvented" in each or "XA-" in each for each in server.store.requests)


def test_an_update_leaves_what_others_wrote_beside_it_and_the_task_alone(
    server: Server, system: FhirSystem
) -> None:
    business_id, reference = filed(system)
    decide(server, business_id, "accepted")
    [patient] = server.store.of("Patient")
    own = {"system": "https://clinic.invalid/numbers", "value": "0042"}
    patient = {**patient, "identifier": [*patient["identifier"], own], "multipleBirthBoolean": True}
    server.store.put("Patient", patient["id"], patient)
    case = CaseRecord("XA-TEST-0001", {"identity_core": {"first_name": "Other"}}, sender="xa.nrm")
    assert isinstance(system.update(reference, case), Filed)
    [patient] = server.store.of("Patient")
    assert own in patient["identifier"]
    assert patient["multipleBirthBoolean"] is True
    assert [each["given"] for each in patient["name"]] == [["Other"]]
    assert task_of(server, business_id)["status"] == "accepted"
    assert not server.store.of("RelatedPerson")


# --- erasing -----------------------------------------------------------------------------------


def test_what_the_history_keeps_is_said_to_be_kept_until_it_is_expunged(server: Server) -> None:
    _, reference = filed(open_fhir(server))
    assert open_fhir(server).erase(reference) == Kept("version-history")
    assert open_fhir(server).erase(reference) == Kept("version-history")
    _, other = filed(open_fhir(server))
    assert open_fhir(server, expunge=True).erase(other) == Erased(existed=True)
    assert open_fhir(server, expunge=True).erase(other) == Erased(existed=False)


def test_what_other_records_refer_to_is_kept_whole_and_said(
    server: Server, system: FhirSystem
) -> None:
    business_id, reference = filed(system)
    [patient] = server.store.of("Patient")
    visit = {
        "resourceType": "Basic",
        "code": {"text": "visit"},
        "subject": {"reference": f"Patient/{patient['id']}"},
    }
    server.store.put("Basic", "b1", visit)
    assert system.erase(reference) == Kept("linked-records")
    assert system.find(business_id) is not None


# --- decisions ---------------------------------------------------------------------------------


def test_what_happened_between_two_polls_is_told_in_order(
    server: Server, system: FhirSystem
) -> None:
    business_id, _ = filed(system)
    for status in ("received", "accepted", "in-progress", "completed"):
        decide(server, business_id, status)
    steps = [item.step for item in system.poll(None).items if isinstance(item, News)]
    assert steps == [Step.RECEIVED, Step.ACCEPTED, Step.IN_PROGRESS, Step.COMPLETED]


def test_of_many_changes_at_one_moment_none_is_skipped_and_none_comes_for_ever(
    server: Server, system: FhirSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.systems.fhir.tasks.PAGE", 4)
    server.store.now = lambda: NOW
    ids = {filed(system)[0] for _ in range(11)}
    for business_id in ids:
        decide(server, business_id, "accepted")
    told, cursor, pages = [], None, 0
    while True:
        page = system.poll(cursor)
        told += [item.business_id for item in page.items if isinstance(item, News)]
        cursor, pages = page.cursor, pages + 1
        if not page.more:
            break
    assert (sorted(told), pages) == (sorted(ids), 3)


def test_a_server_that_sorts_otherwise_hides_no_decision(
    server: Server, system: FhirSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.systems.fhir.tasks.PAGE", 2)
    ids = [filed(system)[0] for _ in range(7)]
    for at, business_id in enumerate(reversed(ids)):
        server.store.now = lambda at=at: NOW.replace(minute=at)  # type: ignore[misc]
        decide(server, business_id, "accepted")
    server.store.sorts = False
    told, cursor, more = [], None, True
    while more:
        page = system.poll(cursor)
        told += [item.business_id for item in page.items if isinstance(item, News)]
        cursor, more = page.cursor, page.more
    assert told == ids[::-1]


def test_a_refusal_without_a_known_reason_is_for_a_person(
    server: Server, system: FhirSystem
) -> None:
    first, second, third = (filed(system)[0] for _ in range(3))
    decide(server, first, "rejected", "no_capacity")
    decide(server, second, "rejected", "we-do-not-like-it")
    decide(server, third, "on-hold")
    items = system.poll(None).items
    [known] = [item for item in items if isinstance(item, News)]
    assert (known.business_id, known.step) == (first, Step.DECLINED)
    assert known.reason == "no_capacity"
    assert {item.where for item in items if isinstance(item, Ambiguous)} == {
        ("Task.statusReason: unknown-code",),
        ("Task.status: on-hold",),
    }


def test_a_task_for_abroad_is_one_case_and_takes_the_answer_that_is_about_it(
    server: Server, system: FhirSystem
) -> None:
    outgoing(server, "1")
    outgoing(server, "2")
    first, second = system.read_cases()
    assert isinstance(first, CaseRecord)
    assert isinstance(second, CaseRecord)
    assert (first.case_ref, second.case_ref) == ("t-1", "t-2")
    assert first.sections == {"identity_core": {"birthdate": "1998-04"}}
    news = News("n-1", uuid4(), Step.DECLINED, NOW, reason="no_capacity")
    assert system.tell("t-2", news) == Filed("t-2")
    assert [task(server, each)["status"] for each in ("t-1", "t-2")] == [
        "requested",
        "rejected",
    ]
    told = task(server, "t-2")
    assert told["statusReason"]["coding"][0]["code"] == "no_capacity"
    assert told["businessStatus"]["coding"][0]["code"] == "4.0"
    assert system.tell("t-2", news) == Filed("t-2", already=True)
    assert system.poll(None).items == ()


def test_an_answer_to_an_earlier_referral_of_the_case_is_not_written_to_the_later(
    server: Server, system: FhirSystem
) -> None:
    outgoing(server, "1")
    system.tell("t-1", News("n-1", uuid4(), Step.ACCEPTED, NOW))
    later = News("n-2", uuid4(), Step.DECLINED, NOW, reason="no_capacity")
    assert system.tell("t-1", later) == Declined("other-referral")
    assert task(server, "t-1")["status"] == "accepted"


def test_a_late_word_about_an_earlier_state_moves_nothing_back(
    server: Server, system: FhirSystem
) -> None:
    outgoing(server, "1")
    referral = uuid4()
    system.tell("t-1", News("n-2", referral, Step.COMPLETED, NOW))
    assert system.tell("t-1", News("n-1", referral, Step.ACCEPTED, NOW)) == Filed("t-1")
    assert task(server, "t-1")["status"] == "completed"


def test_an_answer_is_never_written_to_the_first_of_two_tasks_with_one_number(
    server: Server,
) -> None:
    numbers = "https://country.invalid/case-numbers"
    for task in ("1", "2"):
        outgoing(server, task, identifier=[{"system": numbers, "value": "XA-7"}])
    system = open_fhir(server, outbox=OUTBOX, number_system=numbers)
    news = News("n-1", uuid4(), Step.ACCEPTED, NOW)
    assert system.tell("XA-7", news) == Declined("several-referrals")


def test_a_referral_to_us_is_not_taken_for_one_of_ours(server: Server, system: FhirSystem) -> None:
    business_id, _ = filed(system)
    task = task_of(server, business_id)["id"]
    answer = system.tell(task, News("n-1", business_id, Step.ACCEPTED, NOW))
    assert answer == Declined("not-found")


# --- faults ------------------------------------------------------------------------------------


def test_two_records_of_one_referral_are_for_a_person_and_never_the_first_of_them(
    server: Server, system: FhirSystem
) -> None:
    business_id, _ = filed(system)
    [request] = server.store.of("ServiceRequest")
    server.store.put("ServiceRequest", "twin", request)
    with pytest.raises(OutcomeUnknown):
        system.find(business_id)


def test_a_server_that_drops_extensions_has_every_field_named_that_may_be_lost() -> None:
    with fhir_server(Store(keeps_extensions=False)) as server:
        answer = open_fhir(server).file(uuid4(), full_case())
    assert isinstance(answer, Filed)
    assert {path.partition(".")[0] for path in answer.not_held} == set(full_case().sections)


def test_what_a_server_refuses_is_told_by_place_and_never_by_its_words(
    server: Server, system: FhirSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(case: CaseRecord, business_id: UUID) -> dict[str, Any]:
        made = real(case, business_id)
        made["patient"]["gender"] = ["Invented"]
        return made

    real = resources_of
    monkeypatch.setattr("adapters.systems.fhir.system.resources_of", bad)
    answer = system.file(uuid4(), full_case())
    assert isinstance(answer, CannotMap)
    assert answer.where == ("Patient.gender: structure",)
    assert not server.store.of("Patient")


def test_a_transaction_that_was_done_in_part_is_not_taken_for_done(
    server: Server, system: FhirSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def partly(self: Server, bundle: Any) -> Any:
        answer = whole(self, bundle)
        if bundle["type"] == "transaction":
            answer["entry"][-1] = {"response": {"status": "400"}}
        return answer

    whole = Server._bundle
    monkeypatch.setattr(Server, "_bundle", partly)
    with pytest.raises(CaseSystemUnavailable):
        system.file(uuid4(), full_case())


def test_a_token_goes_to_its_server_alone_and_from_a_file_of_its_owner(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "token"
    secret.write_text("invented-token\n")
    secret.chmod(0o600)
    with fhir_server(token="invented-token") as server:
        open_fhir(server, token_file=str(secret)).check()
        with pytest.raises(CaseSystemUnavailable):
            open_fhir(server).check()
        secret.chmod(0o644)
        with pytest.raises(SchemaRefused):
            open_fhir(server, token_file=str(secret)).check()
        server.base = "http://127.0.0.1:9/fhir"  # pages that lead elsewhere
        server.store.page = 1
        secret.chmod(0o600)
    with fhir_server(Store(page=1)) as server:
        system = open_fhir(server)
        filed(system)
        filed(system)
        server.base = "http://127.0.0.1:9/fhir"
        with pytest.raises(CaseSystemUnavailable, match="another address"):
            system.poll(None)


@pytest.mark.parametrize("url", ["http://server.invalid/fhir", "ftp://x/", "https://u:p@x/", ""])
def test_an_address_that_would_show_the_case_to_others_is_refused(url: str) -> None:
    with pytest.raises(SchemaRefused):
        open_adapter("fhir", {"url": url})


# --- who it is ---------------------------------------------------------------------------------

PERSON = CaseRecord(
    "XA-1",
    {
        "identity_core": {
            "first_name": "Zmyślona",
            "second_name": "Łódź",
            "birthdate": "1990-05-14",
        },
        "nationality_documents": {"identity_number": "00700-1"},
    },
)


def known_here(server: Server, id_: str, **more: Any) -> str:
    """Somebody whom people here have put into their system by themselves."""
    names = [{"use": "old", "family": "Other"}, {"family": "ŁÓDŹ", "given": ["ZMYSLONA"]}]
    server.store.put("Patient", id_, {"resourceType": "Patient", "name": names, **more})
    return f"Patient/{id_}"


def test_who_is_known_here_is_found_by_any_of_her_names_and_numbers(
    server: Server, system: FhirSystem
) -> None:
    by_name = known_here(server, "named")
    numbers = [{"value": "x"}, {"system": "urn:oid:1.2", "value": "00700-1"}]
    by_number = known_here(server, "numbered", identifier=numbers)
    known_here(server, "another", birthDate="1991-05-14")
    server.store.requests.clear()

    found = system.candidates(PERSON)

    assert [(each.reference, each.match) for each in found] == [
        (by_number, Match.NUMBER),
        (by_name, Match.NAME),
    ]
    assert "nationality_documents.identity_number" in found[0].fields
    assert server.store.requests == ["POST /fhir/Patient/_search"] * 2


def test_the_servers_own_guess_is_a_candidate_and_never_a_certainty(server: Server) -> None:
    guess = {"resourceType": "Patient", "name": [{"family": "Łódźk"}]}
    server.store.put("Patient", "guess", guess)

    assert open_fhir(server).candidates(PERSON) == ()
    (found,) = open_fhir(server, match=True).candidates(PERSON)
    assert (found.reference, found.match, found.score) == ("Patient/guess", Match.SCORE, 80)


def test_a_link_is_beside_the_record_of_others_and_goes_with_either_erasure(
    server: Server,
) -> None:
    system = open_fhir(server, expunge=True)
    theirs = known_here(server, "known", birthDate="1990")
    before = server.store.current("Patient", "known")
    first_id, first = filed(system, replace(PERSON, same_as=theirs))
    _, second = filed(system, replace(PERSON, same_as=first))

    links = {each["id"]: each.get("link") for each in server.store.of("Patient")}
    assert server.store.current("Patient", "known") == before
    assert [None if link is None else link[0]["type"] for link in links.values()] == [
        None,
        "seealso",
        "seealso",
    ]
    # One person, three records: a worker is asked about her once.
    assert [each.reference for each in system.candidates(PERSON)] == [theirs]
    # The second refers to the first, and that does not keep the first from being erased.
    assert system.erase(first) == Erased(existed=True)
    assert system.find(first_id) is None
    there = system.read(second)
    assert there is not None
    assert there.sections == PERSON.sections
    assert not any(
        link["other"]["reference"] != theirs
        for each in server.store.of("Patient")
        for link in each.get("link", ())
    )


def test_an_update_leaves_the_link(server: Server, system: FhirSystem) -> None:
    theirs = known_here(server, "known")
    _, reference = filed(system, replace(PERSON, same_as=theirs))

    assert isinstance(system.update(reference, PERSON), Filed)
    (linked,) = [each for each in server.store.of("Patient") if "link" in each]
    assert linked["link"] == [{"other": {"reference": theirs}, "type": "seealso"}]


@pytest.mark.parametrize("reference", ["Patient/none", "none", "../Task/1", "Task/1", "a b"])
def test_a_link_to_what_is_no_person_here_files_nothing(
    server: Server, system: FhirSystem, reference: str
) -> None:
    business_id = uuid4()
    answer = system.file(business_id, replace(PERSON, same_as=reference))

    assert answer == Declined("no-such-person")
    assert system.find(business_id) is None
    assert server.store.of("Patient") == []
