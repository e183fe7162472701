"""An exception stands in the place of consent: a code, a reason, a law, a review, two workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broker.rules.content import (
    Moment,
)
from tests.support.questions import (
    DAY,
    NOW,
    a_message,
    a_use,
    an_alert,
    entry,
    question,
    refused,
)


@pytest.mark.parametrize("moment", list(Moment))
def test_danger_needs_neither_consent_nor_agreement_but_two_workers(moment: Moment) -> None:
    assert refused(an_alert(a_use(), moment=moment)) == ()
    assert refused(an_alert(a_use(approved_by=" Duty Officer 3 "), moment=moment)) == ("exception",)


def test_an_alert_without_an_exception_is_refused() -> None:
    assert "exception" in refused(an_alert(None))


@pytest.mark.parametrize(
    "change",
    [
        {"code": "anonymous_statistics"},
        {"code": "legal_obligation"},
        {"reason": " "},
        {"review_by": NOW - timedelta(minutes=1)},
        {"review_by": NOW - 2 * DAY},
        {"decided_at": NOW + timedelta(hours=1)},
    ],
)
def test_an_exception_needs_a_fitting_code_a_reason_a_law_and_a_review(
    change: dict[str, Any],
) -> None:
    assert refused(an_alert(a_use(**change))) == ("exception",)


def test_a_legal_obligation_names_its_law() -> None:
    assert refused(an_alert(a_use(code="legal_obligation", law="Invented Act, section 4"))) == ()


def test_an_exception_that_is_due_for_review_can_still_be_delivered_and_read() -> None:
    for moment in (Moment.DELIVER, Moment.OPEN):
        assert refused(an_alert(a_use(), moment=moment, now=NOW + 9 * DAY)) == ()


def test_an_exception_does_not_open_types_that_know_none() -> None:
    message = a_message(exception=a_use())
    assert "exception" in refused(question(message=message, grant=None))


def test_an_exception_cannot_rest_on_the_consent_that_was_not_given() -> None:
    scopes = (
        entry(
            "risk_security",
            scope=None,
            processing_basis="eu-gdpr:A9-2-a",
            transfer_basis="eu-gdpr:A49-1-f",
        ),
    )
    assert refused(an_alert(a_use(), scopes=scopes)) == ("policy",)
