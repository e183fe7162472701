"""The catalogue: each type says what it carries, and a message that is something else is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import ProtectedModel, b64u
from schemas.bodies import consent as consent_bodies
from schemas.bodies import referral as referral_bodies
from schemas.bodies import transfer as transfer_bodies
from schemas.bodies.common import Body, Service, Urgency
from schemas.catalogue import (
    Direction,
    MessageType,
    answered_by,
    catalogue,
    check_message,
    message_type,
)
from schemas.codes import BROKER, code_list
from schemas.consent import Purpose
from schemas.envelope import BARE, NEVER_HELD_BACK, Kind, Lane
from schemas.errors import SchemaRefused, UnknownType
from schemas.machine import By
from schemas.message import CompartmentPart, ExceptionUse, Message
from schemas.sections import validate_section
from schemas.sections.index import SECTION_INDEX
from schemas.states import MACHINES, THREADED
from tests.support.examples import BODIES, WHEN
from tests.support.exchanges import next_words, ways

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BUSINESS = UUID("0194f3a0-0000-7000-8000-0000000000aa")


def message(name: str, **changes: Any) -> Message:
    row = message_type(name) if name in catalogue else None
    content: dict[str, Any] = {
        "type": name,
        "business_id": str(BUSINESS),
        "case_ref": "IT-DEMO-0001",
        "body": BODIES.get(name, {}),
        "sections": {section: {} for section in (row.required_sections if row else ())}
        | ({"case_admin": {}} if name == "transfer.casefile" else {}),
    }
    return Message.from_json(json.dumps(content | changes))


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


# --- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("referral.request", {"services": []}, "body.services: too_short"),
        ("referral.request", {"services": ["invented"]}, "body.services.0: enum"),
        ("referral.request", {"urgency": 1}, "body.urgency: enum"),
        ("referral.decline", {"reason": "other"}, "body.: value_error"),
        ("transfer.complete", {"met_person": False}, "body.met_person: literal_error"),
        ("transfer.casefile.ack", {"outcome": "missing"}, "body.: value_error"),
        ("transfer.casefile.ack", {"missing": ["case_admin"]}, "body.: value_error"),
        ("transfer.casefile", {"part": 2}, "body.: value_error"),
        ("transfer.offer", {"effective_date": "soon"}, "body.effective_date: date_"),
        (
            "transfer.offer",
            {"dual_management": {"first": "2026-12-09", "last": "2026-12-01"}},
            "body.dual_management: value_error",
        ),
        ("consent.update", {"removed": []}, "body.removed: too_short"),
        (
            "consent.withdraw.ack",
            {"stores": [{"store": "case-system", "outcome": "kept"}]},
            "body.: value_error",
        ),
        (
            "consent.withdraw.ack",
            {"onward": [{"participant": "al.ngo", "told_at": WHEN, "outcome": "erased"}]},
            "body.onward.0: value_error",
        ),
        ("safety.alert", {"facts": "x" * 2001}, "body.facts: too_long"),
        ("referral.interim", {"progress": "on_hold"}, "body.: value_error"),
        ("referral.outcome", {"result": "unable"}, "body.: value_error"),
        ("referral.cancel.refuse", {"reason": "invented"}, "body.reason: unknown_code"),
        ("family.tracing.request", {"family_suspected": True}, "body.family_suspected: literal"),
        ("departure.confirm", {"recovery_over": False}, "body.recovery_over: literal_error"),
        ("transfer.pull.request", {"match_confirmed_twice": False}, "body.match_confirmed_twice"),
        ("info.request", {"sections": ["maria_rossi"]}, "body.sections: unknown_code"),
        ("erase.ack", {"basis": None}, "body.basis: missing"),
        ("traveldoc.request", {"decision_recorded": False}, "body.decision_recorded"),
        ("referral.clarify.request", {"fields": ["Maria Rossi"]}, "body.fields.0: string_pattern"),
    ],
)
def test_a_bad_body_is_refused_with_the_place_and_the_rule(
    name: str, change: dict[str, Any], rule: str
) -> None:
    with pytest.raises(SchemaRefused) as refused:
        check_message(message(name, body=BODIES[name] | change))
    assert any(where.startswith(rule) for where in refused.value.where), refused.value.where


@given(
    st.sampled_from(sorted(catalogue)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
def test_whatever_stands_in_a_field_no_error_repeats_it(name: str, value: Any) -> None:
    canary = "Ermira Invented"
    body = {key: [canary, value] for key in BODIES[name]} | {canary: value}
    with pytest.raises(SchemaRefused) as refused:
        check_message(message(name, body=body))
    assert canary not in str(refused.value)
    assert canary not in repr(refused.value.where)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("inside", [{"a": 1}, "text", {"first_name": ["Invented"]}])
@pytest.mark.parametrize("canary", ["Ermira Invented", "ermira_invented"])
def test_a_section_that_nobody_knows_is_refused_without_its_name(canary: str, inside: Any) -> None:
    raw = json.dumps({"sections": {canary: inside}, "attachments": []}).encode()

    def read() -> None:
        validate_section(canary, CompartmentPart.from_json(raw).sections[canary])

    with pytest.raises(SchemaRefused) as refused:
        read()
    assert canary not in str(refused.value)
    assert not any(canary in where for where in refused.value.where)


def test_a_body_that_is_printed_says_nothing() -> None:
    body = check_message(message("safety.alert"))
    assert "Invented" not in repr(body)
    assert "Invented" not in str(body)


# --- what a body means -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "event"),
    [
        ("referral.outcome", {}, "outcome"),
        ("referral.outcome", {"result": "person_declined"}, "outcome"),
        ("referral.outcome", {"result": "unable", "reason": "no_provider"}, "fail"),
        ("referral.interim", {"progress": "on_hold", "reason": "other", "note": "x"}, "hold"),
        ("referral.decline", {"reason": "declined_by_person"}, "withdraw"),
        ("return.decision", {}, "decide_stay"),
        ("return.decision", {"decision": "other_country"}, "decide_stay"),
        ("return.decision", {"decision": "undecided"}, "undecided"),
        ("return.decision", {"decision": "return"}, "decide_return"),
        ("arrival.handover.confirm", {"stage": "arrived"}, "arrive"),
        ("transfer.casefile.ack", {}, "casefile_ack"),
        (
            "transfer.casefile.ack",
            {"outcome": "missing", "missing": ["case_admin"]},
            "casefile_missing",
        ),
        ("consent.withdraw", {}, "withdraw"),
        ("consent.withdraw", {"cause": "consent_revoked"}, "revoke"),
        (
            "consent.withdraw",
            {"removed": [{"purpose": "protection", "section": "case_admin"}]},
            "narrow",
        ),
    ],
)
def test_a_body_decides_which_event_it_is(name: str, change: dict[str, Any], event: str) -> None:
    body = check_message(message(name, body=BODIES[name] | change))
    row = catalogue[name]
    assert row.event_in(row.machine, body) == event
    assert any(event == known for (_, known, _) in MACHINES[row.machine].edges)


def test_a_manifest_tells_which_sections_this_part_must_carry() -> None:
    body = transfer_bodies.Casefile.from_json(
        json.dumps(
            {
                "part": 2,
                "parts": 2,
                "manifest": [
                    {"kind": "section", "name": "case_admin"},
                    {"kind": "section", "name": "risk_security", "part": 2},
                    {"kind": "attachment", "name": "scan-1", "part": 2},
                ],
            }
        )
    )
    assert body.sections_of_this_part() == {"risk_security"}


@pytest.mark.parametrize(
    ("sections", "where"),
    [
        ([], "sections.case_admin: missing"),
        (["case_admin", "risk_security"], "sections.risk_security: not-in-manifest"),
    ],
)
def test_a_case_file_carries_what_its_manifest_says_and_nothing_else(
    sections: list[str], where: str
) -> None:
    with pytest.raises(SchemaRefused) as refused:
        check_message(message("transfer.casefile", sections={key: {} for key in sections}))
    assert refused.value.where == (where,)


def test_a_manifest_that_names_no_section_of_the_language_is_refused_unrepeated() -> None:
    body = {"manifest": [{"kind": "section", "name": "maria_rossi"}]}
    with pytest.raises(SchemaRefused) as refused:
        check_message(message("transfer.casefile", body=body, sections={}))
    assert refused.value.where == ("sections.?: missing",)


def test_a_person_need_not_give_a_reason_to_withdraw() -> None:
    body = consent_bodies.Withdraw()
    assert body.removed == ()
    assert body.reason_code is consent_bodies.WithdrawalReason.NO_REASON_GIVEN


def test_a_person_who_declines_is_not_a_failure() -> None:
    body = referral_bodies.Outcome(result=referral_bodies.Result.PERSON_DECLINED)
    assert body.event() is None


def test_services_are_told_in_the_words_of_the_section() -> None:
    assert {service.value for service in Service} == set(code_list(BROKER, "service").codes)


def test_an_exception_names_two_roles_and_no_free_codes() -> None:
    with pytest.raises(SchemaRefused):
        ExceptionUse.from_json(
            json.dumps(
                {
                    "code": "because",
                    "reason": "x",
                    "decided_by": "a",
                    "approved_by": "b",
                    "decided_at": WHEN,
                    "review_by": WHEN,
                }
            )
        )
