"""The Primero adapter against a stand-in with Primero's traps: none of them is stepped into."""

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
    CannotErase,
    CaseRecord,
    Declined,
    Filed,
    Match,
    News,
    RejectedRow,
    Step,
    Tools,
)
from adapters.conformance import conform
from adapters.conformance.cases import full_case
from adapters.registry import open_adapter
from adapters.systems.files import FilesSystem
from adapters.systems.primero import PrimeroSystem, words
from schemas.errors import CaseSystemUnavailable, SchemaRefused
from tests.support.ctdc import drawn_cases
from tests.support.primero import Fault, Installation, Server, primero_server

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SAMPLE = Path("adapters/systems/files/samples/italy-invented.csv")
CONSENT = {"disclosure_other_orgs": True, "consent_for_services": True}
ABROAD = {"remote": True, "transitioned_to_agency": "abroad"}


@pytest.fixture
def server() -> Iterator[Server]:
    with primero_server() as server:
        yield server


@pytest.fixture
def settings(server: Server, tmp_path: Path) -> dict[str, Any]:
    secret = tmp_path / "password"
    secret.write_text("invented\n")
    secret.chmod(0o600)
    return {
        "url": server.base,
        "user": "gateway",
        "password_file": str(secret),
        "refer_to": "worker",
        "outbox": "abroad",
    }


@pytest.fixture
def system(settings: dict[str, Any]) -> PrimeroSystem:
    return opened(settings)


def opened(settings: dict[str, Any], **more: Any) -> PrimeroSystem:
    system = open_adapter("primero", {**settings, **more})
    assert isinstance(system, PrimeroSystem)
    return system


def filed(system: PrimeroSystem, case: CaseRecord | None = None) -> UUID:
    business_id = uuid4()
    answer = system.file(business_id, full_case() if case is None else case)
    assert isinstance(answer, Filed), answer
    return business_id


def asking(*services: str, **identity: str) -> CaseRecord:
    sections: dict[str, Any] = {"services_support": {"services_requested": list(services)}}
    if identity:
        sections["identity_core"] = identity
    return CaseRecord("XA-1", sections, sender="xa.nrm")


def referrals(server: Server, business_id: UUID) -> dict[str, dict[str, Any]]:
    """By service."""
    return {
        each["service"]: each
        for each in server.held.referrals.values()
        if each["record_id"] == str(business_id)
    }


def test_it_keeps_every_promise_of_the_port_also_when_it_is_killed(
    settings: dict[str, Any],
) -> None:
    report = conform("primero", settings, Tools(), now=NOW, kills=2)
    assert report.passed, report.results


def test_every_case_of_the_sample_arrives_with_every_field_and_is_read_back(
    server: Server, system: PrimeroSystem, tmp_path: Path
) -> None:
    cases = list(FilesSystem(tmp_path).read_cases(SAMPLE))
    assert cases
    for case in cases:
        assert isinstance(case, CaseRecord)
        there = system.read(str(filed(system, case)))
        assert there is not None
        assert (there.case_ref, there.sections) == (case.case_ref, case.sections)
    assert len(server.held.records) == len(cases)


def test_a_seeded_sample_of_public_variables_arrives_whole(
    server: Server, system: PrimeroSystem
) -> None:
    """`bench/adapters.py` sends tens of thousands; these are their first."""
    drawn = list(drawn_cases(seed=1, count=100))
    answers = system.file_many([(uuid4(), case) for case in drawn])
    assert [answer for answer in answers if not isinstance(answer, Filed)] == []
    for answer, case in zip(answers, drawn, strict=True):
        assert isinstance(answer, Filed)
        there = system.read(answer.reference)
        assert there is not None
        assert (there.case_ref, there.sections) == (case.case_ref, case.sections)
        record = server.held.records[answer.reference]
        number = case.sections["nationality_documents"]["identity_number"]
        assert record["national_id_no"] == number
    assert len(server.held.records) == len(drawn)


def test_zeros_in_front_stay_and_what_is_unknown_is_not_an_empty_text(
    server: Server, system: PrimeroSystem
) -> None:
    record = server.held.records[str(filed(system))]
    assert record["national_id_no"] == "007"
    assert "" not in record.values()
    assert "date_of_birth" not in record  # `1990-XX` is no day


def test_a_field_that_no_form_has_is_named_although_primero_says_nothing(
    server: Server, settings: dict[str, Any]
) -> None:
    server.held.fields.discard("national_id_no")
    answer = opened(settings, carry=False).file(uuid4(), full_case())
    assert isinstance(answer, Filed)
    assert "nationality_documents.identity_number: no-field" in answer.not_held
    assert "perpetrator.persons: no-field" in answer.not_held
    assert "identity_core.first_name: no-field" not in answer.not_held


def test_without_the_field_of_ours_the_system_is_not_ready(
    server: Server, system: PrimeroSystem
) -> None:
    system.check()
    server.held.fields.discard(words.CASE)
    with pytest.raises(CaseSystemUnavailable, match=words.CASE):
        system.check()


def test_one_service_is_one_referral_and_an_unmapped_one_is_named_and_not_another(
    server: Server, system: PrimeroSystem
) -> None:
    business_id = uuid4()
    answer = system.file(business_id, asking("legal", "education", "family_tracing"))
    assert isinstance(answer, Filed)
    assert answer.not_held == ("services_support.services_requested: no-service-type",)
    assert set(referrals(server, business_id)) == {"legal_assistance", "education"}


def test_a_referral_that_a_killed_process_left_out_is_made_when_the_case_is_looked_for(
    server: Server, system: PrimeroSystem
) -> None:
    business_id = filed(system, asking("legal", "education"))
    server.held.referrals.popitem()
    assert system.find(business_id) == Filed(str(business_id), already=True)
    assert len(referrals(server, business_id)) == 2


def test_an_update_takes_away_the_services_that_are_no_more(
    server: Server, system: PrimeroSystem
) -> None:
    business_id = filed(system, asking("legal", "education"))
    assert isinstance(system.update(str(business_id), asking("legal")), Filed)
    rows = server.held.records[str(business_id)][words.SERVICES]
    assert [row["service_type"] for row in rows] == ["legal_assistance"]


# --- consent -----------------------------------------------------------------------------------


def test_a_withdrawal_revokes_also_when_the_boxes_say_that_there_is_no_consent(
    server: Server, system: PrimeroSystem
) -> None:
    business_id = filed(system, asking("legal", first_name="Nobody"))
    record = server.held.records[str(business_id)]
    record |= {"disclosure_other_orgs": False, "consent_for_services": False}
    assert system.erase(str(business_id)) == CannotErase("record-history")
    assert {each["status"] for each in referrals(server, business_id).values()} == {"revoked"}
    assert record["record_state"] is False
    assert record["name_first"] is None
    assert record[words.CASE] is None
    assert system.find(business_id) is None


def test_boxes_are_read_and_written_as_they_are_and_are_never_a_grant(
    server: Server, system: PrimeroSystem
) -> None:
    plain = server.held.records[str(filed(system))]
    assert not any(box in plain for box in words.CONSENT_FIELDS)
    case = CaseRecord("XA-1", {}, sender="xa.nrm", consent_boxes={"disclosure_other_orgs": False})
    business_id = filed(system, case)
    assert server.held.records[str(business_id)]["disclosure_other_orgs"] is False
    there = system.read(str(business_id))
    assert there is not None
    assert there.consent_boxes == {"disclosure_other_orgs": False}


def test_a_revocation_that_primeros_boxes_block_is_noted_beside_the_service(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    row = {"unique_id": "s1", "service_type": "legal_assistance"}
    record = held.make(name_first="Nobody", services_section=[row], **CONSENT)
    referral = held.refer(record, service_record_id="s1", **ABROAD)
    [case] = system.read_cases()
    assert isinstance(case, CaseRecord)
    held.records[record]["consent_for_services"] = False
    answer = system.tell(case.case_ref, News("n", uuid4(), Step.CANCELLED, NOW))
    assert answer == Filed(referral)
    assert held.records[record]["consent_for_services"] is False
    [there] = held.records[record][words.SERVICES]
    assert there["note_on_referral_from_provider"] == "cancelled"


# --- decisions ---------------------------------------------------------------------------------


def test_each_decision_is_about_its_own_service_and_comes_with_its_own_id(
    server: Server, settings: dict[str, Any]
) -> None:
    system = opened(settings, reasons={"We are full": "no_capacity"})
    business_id = filed(system, asking("legal", "education", "food"))
    mine = referrals(server, business_id)
    server.held.decide(mine["legal_assistance"]["id"], "accepted")
    server.held.decide(mine["education"]["id"], "rejected", rejected_reason="We are full")
    server.held.decide(mine["food"]["id"], "rejected", rejected_reason="Because.")
    items = system.poll(None).items
    told = {i.services: (i.step, i.reason) for i in items if isinstance(i, News)}
    assert told == {
        ("legal",): (Step.ACCEPTED, None),
        ("education",): (Step.DECLINED, "no_capacity"),
    }
    [asked] = [item for item in items if isinstance(item, Ambiguous)]
    assert (asked.reference, asked.code) == (mine["food"]["id"], "unknown-code")
    assert "Because" not in repr(items)


def test_what_is_done_was_accepted_before_also_if_nobody_looked_in_between(
    server: Server, system: PrimeroSystem
) -> None:
    [referral] = referrals(server, filed(system, asking("legal"))).values()
    server.held.decide(referral["id"], "done", success_status="successful")
    steps = [item.step for item in system.poll(None).items if isinstance(item, News)]
    assert steps == [Step.ACCEPTED, Step.COMPLETED]


def test_changes_of_one_moment_are_told_once_each_over_all_pages(
    server: Server, system: PrimeroSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.systems.primero.decisions.PAGE", 4)
    server.held.now = lambda: NOW
    for _ in range(11):
        [referral] = referrals(server, filed(system, asking("legal"))).values()
        server.held.decide(referral["id"], "accepted")
    told, cursor, pages = [], None, 0
    while True:
        page = system.poll(cursor)
        told += [item.id for item in page.items]
        cursor, pages = page.cursor, pages + 1
        if not page.more:
            break
    assert (len(told), len(set(told)), pages) == (11, 11, 3)


def test_an_answer_goes_to_the_referral_that_it_is_about_and_to_no_other_of_the_case(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    record = held.make(name_first="Nobody", sex="female", **CONSENT)
    first = held.refer(record, service="legal_assistance", **ABROAD)
    second = held.refer(record, service="food", **ABROAD)
    one, two = system.read_cases()
    assert isinstance(one, CaseRecord)
    assert isinstance(two, CaseRecord)
    assert one.sections["services_support"] == {"services_requested": ["legal"]}
    assert two.sections["services_support"] == {"services_requested": ["food"]}
    for each in (first, second):
        held.referrals[each]["remote"] = False
    news = News("n", uuid4(), Step.DECLINED, NOW, reason="no_capacity")
    assert system.tell(two.case_ref, news) == Filed(second)
    assert system.tell(two.case_ref, news) == Filed(second, already=True)
    assert held.referrals[first]["status"] == "in_progress"
    assert held.referrals[second]["rejected_reason"] == "no_capacity"


def test_a_referral_of_another_record_is_not_changed_through_this_one(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    mine, other = held.make(**CONSENT), held.make(**CONSENT)
    held.refer(mine, **ABROAD)
    foreign = held.refer(other, **ABROAD)
    first, second = (case.case_ref for case in system.read_cases() if isinstance(case, CaseRecord))
    mixed = ".".join([*first.split(".")[:2], second.split(".")[2]])
    answer = system.tell(mixed, News("n", uuid4(), Step.ACCEPTED, NOW))
    assert answer == Declined("not-found")
    assert held.referrals[foreign]["status"] == "in_progress"


def test_a_late_revocation_does_not_undo_what_is_done(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    record = held.make(**CONSENT)
    referral = held.refer(record, **ABROAD)
    [case] = system.read_cases()
    assert isinstance(case, CaseRecord)
    held.decide(referral, "done", success_status="successful")
    answer = system.tell(case.case_ref, News("n", uuid4(), Step.CANCELLED, NOW))
    assert answer == Filed(referral)
    assert held.referrals[referral]["status"] == "done"


def test_a_remote_referral_has_its_answer_beside_the_service(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    rows = [{"unique_id": f"s{n}", "service_type": "food"} for n in range(2)]
    record = held.make(services_section=rows, **CONSENT)
    held.refer(record, service_record_id="s1", **ABROAD)
    [case] = system.read_cases()
    assert isinstance(case, CaseRecord)
    news = News("n", uuid4(), Step.DECLINED, NOW, reason="no_capacity")
    assert isinstance(system.tell(case.case_ref, news), Filed)
    first, second = held.records[record][words.SERVICES]
    assert "note_on_referral_from_provider" not in first
    assert second["note_on_referral_from_provider"] == "declined: no_capacity"


def test_primeros_misspelt_service_and_an_unknown_sex_are_named_and_not_guessed(
    server: Server, system: PrimeroSystem
) -> None:
    record = server.held.make(sex="unknown", **CONSENT)
    server.held.refer(record, service="family_seunification_service", **ABROAD)
    [case] = system.read_cases()
    assert isinstance(case, CaseRecord)
    assert case.sections == {}
    assert case.not_carried == (
        "sex: unknown-code",
        "services_section.service_type: unknown-code",
    )


# --- faults ------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once_and_a_wrong_password_is_not_tried_for_ever(
    server: Server, system: PrimeroSystem, settings: dict[str, Any]
) -> None:
    filed(system)
    server.held.tokens.clear()
    filed(system)
    Path(settings["password_file"]).write_text("other\n")
    server.held.tokens.clear()
    server.held.requests.clear()
    with pytest.raises(CaseSystemUnavailable):
        system.find(uuid4())
    assert len(server.held.requests) <= 2


def test_an_answer_that_is_no_json_is_no_answer(server: Server, system: PrimeroSystem) -> None:
    filed(system)
    server.held.not_json = True
    with pytest.raises(CaseSystemUnavailable):
        system.find(uuid4())
    with pytest.raises(CaseSystemUnavailable):
        system.poll(None)


def test_no_url_holds_anything_but_opaque_ids(server: Server, system: PrimeroSystem) -> None:
    business_id = filed(system)
    system.read(str(business_id))
    system.poll(system.poll(None).cursor)
    system.erase(str(business_id))
    assert not any("nvented" in each or "XA-" in each for each in server.held.requests)


def test_a_password_that_others_can_read_is_refused(
    system: PrimeroSystem, settings: dict[str, Any]
) -> None:
    Path(settings["password_file"]).chmod(0o644)
    with pytest.raises(SchemaRefused):
        system.check()


def test_an_installation_of_our_making_has_the_traps_that_these_tests_are_about() -> None:
    held = Installation()
    record = held.make(**CONSENT)
    referral = held.refer(record)
    held.records[record]["consent_for_services"] = False
    with pytest.raises(Fault, match="consent"):
        held.decide(referral, "revoked")


# --- who it is ---------------------------------------------------------------------------------

PERSON = CaseRecord(
    "XA-1",
    {
        "identity_core": {"first_name": "Zmyślona", "second_name": "Łódź", "birthdate": "1990"},
        "nationality_documents": {"identity_number": "00700-1"},
    },
)


def test_who_is_known_here_is_found_and_no_url_says_whom_we_looked_for(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    by_name = held.make(name_first="ZMYSLONA", name_last="ŁÓDŹ", date_of_birth="1990-05-14")
    by_number = held.make(name_first="Other", name_last="Name", national_id_no="007001")
    held.make(name_first="Zmyślona", name_last="Łódź", date_of_birth="1991-05-14")
    held.make(name_first="Zmyślona", name_last="Łódź", record_state=False)

    found = system.candidates(PERSON)

    assert [(each.reference, each.match) for each in found] == [
        (by_number, Match.NUMBER),
        (by_name, Match.NAME),
    ]
    said = " ".join(held.requests).casefold()
    assert not any(word in said for word in ("zmy", "łódź", "%c5", "00700", "1990"))


def test_who_changed_since_is_seen_and_who_is_unchanged_is_not_read_again(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    held.now = lambda: datetime(2026, 1, 2, tzinfo=UTC)
    for number in range(30):
        held.make(name_first=f"Nobody{number}", name_last="Known")
    assert system.candidates(PERSON) == ()
    held.now = lambda: datetime(2026, 3, 4, tzinfo=UTC)
    new = held.make(name_first="Zmyślona", name_last="Łódź")
    assert [each.reference for each in system.candidates(PERSON)] == [new]

    held.requests.clear()
    held.records[new]["name_last"] = "Renamed"
    held.touch(held.records[new])
    assert system.candidates(PERSON) == ()
    assert len([each for each in held.requests if "cases?" in each]) == 1


def test_a_link_is_beside_the_record_of_others_and_goes_with_either_erasure(
    server: Server, system: PrimeroSystem
) -> None:
    held = server.held
    theirs = held.make(name_first="Zmyślona", name_last="Łódź")
    before = dict(held.records[theirs])
    first, second = uuid4(), uuid4()
    assert isinstance(system.file(first, replace(PERSON, same_as=theirs)), Filed)
    assert isinstance(system.file(second, replace(PERSON, same_as=str(first))), Filed)

    assert held.records[theirs] == before
    assert held.records[str(first)][words.SAME_AS] == before["case_id_display"]
    # One person, three records: a worker is asked about her once.
    assert [each.reference for each in system.candidates(PERSON)] == [theirs]
    assert isinstance(system.update(str(second), PERSON), Filed)
    assert held.records[str(second)][words.SAME_AS]
    system.erase(str(first))
    assert not held.records[str(second)][words.SAME_AS]
    assert not held.records[str(first)][words.SAME_AS]


def test_a_link_to_a_record_that_is_disabled_files_nothing(
    server: Server, system: PrimeroSystem
) -> None:
    gone, business_id = server.held.make(record_state=False), uuid4()
    for reference in (gone, str(uuid4()), "c000001", "../users"):
        answer = system.file(business_id, replace(PERSON, same_as=reference))
        assert answer == Declined("no-such-person")
    assert system.find(business_id) is None


# --- hand-overs --------------------------------------------------------------------------------


def test_a_case_that_is_handed_over_is_one_transfer_and_no_referral(
    server: Server, settings: dict[str, Any]
) -> None:
    held, business_id = server.held, uuid4()
    handed_over = replace(full_case(), handed_over=True)
    system = opened({**settings, "transfer_to": "supervisor"})
    for _ in range(2):
        assert isinstance(system.file(business_id, handed_over), Filed)

    (transfer,) = held.referrals.values()
    assert (transfer["type"], transfer["transitioned_to"]) == ("Transfer", "supervisor")
    there = system.read(str(business_id))
    assert there is not None
    assert there.handed_over
    # A process that died before it offered the transfer: the next one does.
    held.referrals.clear()
    system.find(business_id)
    assert [each["type"] for each in held.referrals.values()] == ["Transfer"]


def test_what_becomes_of_a_transfer_is_news_of_the_whole_case(
    server: Server, settings: dict[str, Any]
) -> None:
    system = opened({**settings, "transfer_to": "supervisor", "reasons": {"full": "no_capacity"}})
    ids = [uuid4(), uuid4()]
    for business_id in ids:
        system.file(business_id, replace(full_case(), handed_over=True))
    accepted, rejected = server.held.referrals
    server.held.decide(accepted, "accepted")
    server.held.decide(rejected, "rejected", rejected_reason="full")

    items = [item for item in system.poll(None).items if isinstance(item, News)]
    assert {(item.business_id, item.step, item.reason, item.services) for item in items} == {
        (ids[0], Step.ACCEPTED, None, ()),
        (ids[1], Step.DECLINED, "no_capacity", ()),
    }


def test_erasing_takes_an_open_transfer_back(server: Server, settings: dict[str, Any]) -> None:
    system, business_id = opened({**settings, "transfer_to": "supervisor"}), uuid4()
    system.file(business_id, replace(full_case(), handed_over=True))

    system.erase(str(business_id))

    (transfer,) = server.held.referrals.values()
    assert transfer["status"] == "revoked"


def test_a_transfer_to_another_country_is_never_sent_as_a_referral(
    server: Server, system: PrimeroSystem
) -> None:
    record = server.held.make(name_first="Nobody", **CONSENT)
    server.held.transition(record, "Transfer", **ABROAD)

    (item,) = system.read_cases()
    assert isinstance(item, RejectedRow)
    assert item.reasons == ("transfer: by-hand",)
