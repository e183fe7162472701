"""No agreement, no route: types, sections and purposes that both sides signed."""

from __future__ import annotations

from datetime import date

import pytest

from broker.rules.content import (
    AgreementView,
    Moment,
    decide,
)
from schemas.consent import Purpose
from tests.support.questions import (
    a_message,
    an_agreement,
    question,
    refused,
)


@pytest.mark.parametrize(
    ("agreement", "where"),
    [
        (None, "agreement"),
        (an_agreement(suspended=True), "agreement"),
        (an_agreement(valid_until=date(2026, 11, 21)), "agreement"),
        (an_agreement(valid_from=date(2026, 11, 23)), "agreement"),
        (an_agreement(parties=("it.nrm", "al.ngo")), "agreement"),
        (an_agreement(types=("transfer.*",)), "agreement.types"),
        (an_agreement(types=("referral.accept",)), "agreement.types"),
        (an_agreement(sections=("case_admin",)), "agreement.sections.risk_security"),
        (an_agreement(purposes=(Purpose.JUSTICE,)), "agreement.purposes.protection"),
    ],
)
def test_without_an_agreement_that_names_it_nothing_travels(
    agreement: AgreementView | None, where: str
) -> None:
    decision = decide(question(agreement=agreement))
    assert (decision.codes, decision.refusals[0].where) == (("no-agreement",), where)


def test_what_was_delivered_may_be_read_after_the_agreement_ended() -> None:
    asked = question(agreement=an_agreement(suspended=True), moment=Moment.OPEN)
    assert refused(asked) == ()


def test_a_consent_record_travels_under_any_agreement_in_force() -> None:
    bare = a_message("consent.record", sections={}, scopes=())
    assert refused(question("consent.record", message=bare)) == ()
    assert refused(question("consent.record", message=bare, agreement=None)) == ("no-agreement",)
