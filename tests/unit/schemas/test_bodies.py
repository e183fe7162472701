"""What a body says: refused with the place and the rule, silent about values, and which event it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bodies import consent as consent_bodies
from schemas.bodies import referral as referral_bodies
from schemas.bodies import transfer as transfer_bodies
from schemas.bodies.common import Service
from schemas.catalogue import (
    catalogue,
    check_message,
)
from schemas.codes import BROKER, code_list
from schemas.errors import SchemaRefused
from schemas.message import CompartmentPart, ExceptionUse
from schemas.sections import validate_section
from schemas.states import MACHINES
from tests.support.examples import BODIES, WHEN, message


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
