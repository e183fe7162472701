"""The catalogue: each type says what it carries, and a message that is something else is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from schemas.base import ProtectedModel, b64u
from schemas.bodies.common import Body, Urgency
from schemas.catalogue import (
    Direction,
    MessageType,
    answered_by,
    catalogue,
    check_message,
)
from schemas.consent import Purpose
from schemas.envelope import BARE, NEVER_HELD_BACK, Kind, Lane
from schemas.errors import SchemaRefused, UnknownType
from schemas.machine import By
from schemas.sections.index import SECTION_INDEX
from schemas.states import MACHINES, THREADED
from tests.support.examples import BODIES, message
from tests.support.exchanges import next_words, ways

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", sorted(catalogue))
def test_every_type_accepts_a_body_made_for_it(name: str) -> None:
    assert isinstance(check_message(message(name)), catalogue[name].body)


@pytest.mark.parametrize("name", sorted(catalogue))
def test_every_type_refuses_a_field_that_it_does_not_know(name: str) -> None:
    with pytest.raises(SchemaRefused) as refused:
        check_message(message(name, body=BODIES[name] | {"Invented Person": "Invented value"}))
    assert "body.?: extra_forbidden" in refused.value.where
    assert "Invented" not in str(refused.value)


def test_examples_cover_the_whole_catalogue() -> None:
    assert BODIES.keys() == catalogue.keys()


def test_an_unknown_type_is_refused_without_repeating_it() -> None:
    with pytest.raises(UnknownType) as refused:
        check_message(message("invented.type"))
    assert "invented" not in str(refused.value)


# --- the rows and the machines agree ---------------------------------------------------------


@pytest.mark.parametrize(
    "name", [row.name for row in catalogue.values() if row.machine in THREADED]
)
def test_what_a_row_names_as_a_reply_can_be_said_after_it(name: str) -> None:
    reached = {way[-1].after for (said, _), way in ways().items() if said == name}
    assert reached, "there is no way to it"
    queue, later = list(reached), set()
    while queue:
        for word in next_words(queue.pop()):
            later.add(word.row.name)
            if word.after not in reached:
                reached.add(word.after)
                queue.append(word.after)
    assert set(catalogue[name].replies) <= later


def test_there_is_a_way_to_every_type_in_every_exchange_that_its_row_names() -> None:
    named = {(row.name, machine) for row in catalogue.values() for machine in row.events()}
    assert ways().keys() == {(name, machine) for name, machine in named if machine in THREADED}


# --- each row is whole -------------------------------------------------------------------------

rows = pytest.mark.parametrize("row", catalogue.values(), ids=lambda row: row.name)


@rows
def test_a_row_names_only_what_exists(row: MessageType) -> None:
    assert row.name.startswith(row.family + ".")
    assert set(row.replies) <= catalogue.keys()
    named = (row.required_sections | row.permitted_sections | row.child_sections) - {"*"}
    assert named <= SECTION_INDEX.keys()
    assert all(row.permits(section) for section in row.required_sections)
    assert issubclass(row.body, Body)
    assert issubclass(row.body, ProtectedModel)


@rows
def test_a_row_moves_machines_that_know_its_events_from_that_party(row: MessageType) -> None:
    for name, event in row.events().items():
        machine = MACHINES[name]
        body = _body(row)
        said = row.event_in(name, body)
        assert said is not None
        parties = {by for (_, known, by) in machine.edges if known == said}
        assert parties, f"{name} has no event {said}"
        assert event == said or name == row.machine
        if name in THREADED:
            assert any(row.direction.allows(by) for by in parties)
            if row.direction is not Direction.EITHER:
                assert By.SENDER in parties or not row.direction.allows(By.SENDER)


def _body(row: MessageType) -> Body:
    return row.body.model_validate_json(json.dumps(BODIES[row.name]))


@rows
def test_who_opens_a_thread_can_make_the_first_step_of_its_machine(row: MessageType) -> None:
    machine = MACHINES[row.machine]
    if row.machine not in THREADED:
        return
    event = row.event_in(row.machine, _body(row))
    first = (machine.initial, event, By.SENDER) in machine.edges
    assert first == row.opens or (row.name == "return.decision" and not row.opens)


@rows
def test_a_type_without_sections_never_needs_consent(row: MessageType) -> None:
    if not row.permitted_sections:
        assert not row.needs_consent


@rows
def test_what_is_owed_an_answer_names_its_answers(row: MessageType) -> None:
    if row.deadline is not None:
        assert row.replies
        assert row.deadline.due(NOW) > NOW
        assert row.deadline.text()


@rows
def test_what_is_said_back_to_the_opener_answers_something(row: MessageType) -> None:
    if row.direction is Direction.BACK:
        follows = {"referral.no_show", "return.completed"}
        assert answered_by(row.name) or row.name in follows | {"info.reply", "info.conditions"}
    for name in answered_by(row.name):
        shared = row.events().keys() & catalogue[name].events().keys()
        assert shared or row.machine == "erasure", f"{name} is in no thread with {row.name}"


@rows
def test_without_a_grant_the_hub_lets_through_only_what_may_do_without(row: MessageType) -> None:
    if row.opens and not row.needs_consent and row.machine in THREADED:
        assert row.kind in (Kind.NOTICE, Kind.SAFETY, Kind.RIGHTS)
    if row.needs_consent:
        assert row.kind not in NEVER_HELD_BACK


@rows
def test_agreements_are_passed_by_safety_withdrawal_and_rights_alone(row: MessageType) -> None:
    assert row.exceptions or not row.needs_exception
    if row.kind in NEVER_HELD_BACK:
        assert row.passes_agreement
        assert row.lane is Lane.URGENT
    elif row.passes_agreement and not row.needs_exception:
        assert row.name == "filing.report", "the hub would stop it, whatever its preconditions say"
    if row.kind in BARE:
        assert not row.permitted_sections
        assert not row.exceptions
    if row.needs_exception and row.name != "notify.anonymous":
        assert row.kind is Kind.SAFETY


def test_refusing_cancelling_and_taking_back_carry_no_sections_and_need_no_consent() -> None:
    for name in (
        "info.refuse",
        "info.conditions.reject",
        "referral.decline",
        "referral.redirect",
        "referral.recall",
        "referral.cancel.refuse",
        "return.plan.reject",
        "return.decision",
        "departure.cancelled",
        "transfer.return_back",
        "erase.notice",
        "erase.ack",
        "restrict.notice",
        "referral.cancel.request",
        "referral.cancel.confirm",
        "transfer.decline",
        "transfer.revoke",
        "consent.update",
        "consent.withdraw",
        "consent.withdraw.ack",
    ):
        row = catalogue[name]
        assert not row.needs_consent
        assert not row.required_sections
        assert row.kind is not Kind.REQUEST, "the hub lets a request through only under a grant"


@rows
def test_what_the_hub_must_see_answered_is_a_request_and_its_answers_are_answers(
    row: MessageType,
) -> None:
    if row.kind is Kind.REQUEST:
        assert row.deadline is not None
        assert any(catalogue[reply].kind is Kind.ANSWER for reply in row.replies)
    if row.pauses_clock:
        assert row.kind is Kind.REQUEST, "its answer is what lets the clock run again"


def test_only_an_open_question_pauses_the_clock() -> None:
    assert [row.name for row in catalogue.values() if row.pauses_clock] == [
        "referral.clarify.request"
    ]


def test_consent_to_refer_is_not_consent_to_transfer() -> None:
    assert catalogue["transfer.casefile"].purposes == frozenset({Purpose.CASE_TRANSFER})
    purposes = catalogue["referral.request"].purposes
    assert purposes is not None
    assert Purpose.CASE_TRANSFER not in purposes


def test_the_catalogue_cannot_be_changed_by_who_reads_it() -> None:
    with pytest.raises(TypeError):
        catalogue["x"] = catalogue["safety.ack"]  # type: ignore[index]


def test_deadlines_follow_the_urgency() -> None:
    row = catalogue["referral.request"]
    assert row.answer_by(NOW, Urgency.EMERGENCY) == NOW + timedelta(hours=24)
    assert row.answer_by(NOW, Urgency.URGENT) == NOW + timedelta(hours=72)
    assert row.answer_by(NOW, Urgency.NORMAL) == NOW + timedelta(days=14)
    assert catalogue["safety.alert"].answer_by(NOW) == NOW + timedelta(hours=1)
    assert catalogue["referral.decline"].answer_by(NOW) is None


def test_an_emergency_takes_the_urgent_lane() -> None:
    row = catalogue["referral.request"]
    assert row.lane_for(Urgency.EMERGENCY) is Lane.URGENT
    assert row.lane_for(Urgency.NORMAL) is Lane.ROUTINE


def test_a_direction_tells_who_may_speak() -> None:
    assert Direction.FORWARD.allows(By.SENDER)
    assert not Direction.FORWARD.allows(By.RECIPIENT)
    assert Direction.BACK.allows(By.RECIPIENT)
    assert not Direction.BACK.allows(By.SENDER)
    assert Direction.EITHER.allows(By.SENDER)
    assert Direction.EITHER.allows(By.RECIPIENT)


# --- sections ------------------------------------------------------------------------------------


def test_a_required_section_that_is_missing_is_named() -> None:
    with pytest.raises(SchemaRefused) as refused:
        check_message(message("referral.request", sections={}))
    assert refused.value.where == ("sections.case_admin: missing",)


def test_a_section_that_the_type_does_not_carry_is_named() -> None:
    with pytest.raises(SchemaRefused) as refused:
        check_message(message("referral.decline", sections={"health_general": {}}))
    assert refused.value.where == ("sections.health_general: not-permitted",)


def test_an_unknown_section_is_refused_without_repeating_its_name() -> None:
    with pytest.raises(SchemaRefused) as refused:
        check_message(message("referral.decline", sections={"maria_rossi": {}}))
    assert refused.value.where == ("sections.?: not-permitted",)


def test_an_unknown_section_is_refused_even_where_all_are_permitted() -> None:
    sections: dict[str, object] = {"case_admin": {}, "maria_rossi": {}}
    with pytest.raises(SchemaRefused) as refused:
        check_message(message("referral.request", sections=sections))
    assert refused.value.where == ("sections.?: not-permitted",)


def test_a_file_of_a_section_that_the_type_does_not_carry_is_refused() -> None:
    attachment = {
        "digest": "A" * 43,
        "key": b64u(bytes(32)),
        "size": 1,
        "name": "scan",
        "media_type": "application/pdf",
        "section": "health_general",
    }
    with pytest.raises(SchemaRefused):
        check_message(message("safety.alert", attachments=[attachment]))
