"""The person's consent: there, hers, standing, current, and covering each section; a child's, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.rules.content import (
    AgreementView,
    GrantView,
    Moment,
    decide,
)
from schemas.consent import ConsentStatus, GuardianDecision, Purpose, kinds_of
from schemas.errors import ConsentScope
from schemas.message import AttachmentKey
from tests.support.questions import (
    AL,
    IT,
    NOW,
    SECTIONS,
    a_grant,
    a_message,
    an_agreement,
    entry,
    question,
    refused,
    voices,
)

# --- consent ------------------------------------------------------------------------------------


def test_nothing_about_a_person_travels_without_a_grant() -> None:
    assert refused(question(grant=None)) == ("consent-missing",)


def test_a_request_needs_a_grant_even_without_sections() -> None:
    bare = a_message(sections={}, scopes=())
    assert refused(question(message=bare, grant=None)) == ("consent-missing",)


def test_a_section_that_no_scope_asserts_is_refused() -> None:
    message = a_message(scopes=(entry("case_admin"),))
    decision = decide(question(message=message))
    assert [(r.code, r.where) for r in decision.refusals] == [
        ("consent-scope", "sections.risk_security")
    ]


def test_a_section_that_the_person_did_not_agree_to_is_refused_by_name() -> None:
    grant = a_grant(scopes=frozenset({(Purpose.PROTECTION, "case_admin")}))
    error = decide(question(grant=grant)).error()
    assert isinstance(error, ConsentScope)
    assert error.where == ("scopes.risk_security",)


def test_consent_for_one_purpose_is_not_consent_for_another() -> None:
    message = a_message(scopes=tuple(entry(s, Purpose.JUSTICE) for s in SECTIONS))
    agreement = an_agreement(purposes=tuple(Purpose))
    assert refused(question(message=message, agreement=agreement)) == ("consent-scope",)


def test_a_scope_that_was_taken_back_is_withdrawn_not_merely_absent() -> None:
    grant = a_grant(removed=frozenset({(Purpose.PROTECTION, "risk_security")}))
    assert refused(question(grant=grant)) == ("consent-withdrawn",)


def test_a_scope_that_the_hub_cannot_see_is_no_scope() -> None:
    message = a_message(scopes=(entry("case_admin", scope=None), entry("risk_security")))
    assert refused(question(message=message)) == ("consent-scope",)


def test_a_file_needs_consent_like_a_section() -> None:
    file = AttachmentKey(
        digest="d" * 43,
        key=bytes(32),
        size=10,
        name="scan",
        media_type="image/png",
        section="vulnerability_needs",
    )
    message = a_message(attachments=(file,))
    agreement = an_agreement(sections=("*",))
    decision = decide(question(message=message, agreement=agreement))
    assert [(r.code, r.where) for r in decision.refusals] == [
        ("consent-scope", "sections.vulnerability_needs")
    ]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ConsentStatus.RENEWED, None),
        (ConsentStatus.REQUESTED, "consent-missing"),
        (ConsentStatus.DEFERRED, "consent-missing"),
        (ConsentStatus.REFUSED, "consent-missing"),
        (ConsentStatus.UNKNOWN, "consent-missing"),
        (ConsentStatus.INVALIDATED, "consent-missing"),
        (ConsentStatus.EXPIRED, "consent-expired"),
        (ConsentStatus.REVOKED, "consent-withdrawn"),
        (ConsentStatus.WITHDRAWN, "consent-withdrawn"),
    ],
)
@pytest.mark.parametrize("moment", list(Moment))
def test_only_given_and_renewed_let_anything_travel(
    status: ConsentStatus, code: str | None, moment: Moment
) -> None:
    found = refused(question(grant=a_grant(status=status), moment=moment))
    assert found == ((code,) if code else ())


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        (datetime(2026, 10, 31, 23, 40, tzinfo=UTC), False),
        (datetime(2026, 10, 31, 23, 55, tzinfo=UTC), True),
        (datetime(2027, 5, 1, 23, 59, tzinfo=UTC), True),
        (datetime(2027, 5, 2, 0, 5, tzinfo=UTC), True),
        (datetime(2027, 5, 2, 0, 15, tzinfo=UTC), False),
    ],
)
def test_a_grant_lasts_whole_days_with_the_clock_skew_in_the_senders_favour(
    now: datetime, allowed: bool
) -> None:
    assert refused(question(now=now)) == (() if allowed else ("consent-expired",))


def test_a_grant_for_another_recipient_is_refused() -> None:
    assert refused(question(grant=a_grant(recipient="al.ngo"))) == ("consent-recipient",)


def test_an_answer_travels_back_under_the_same_grant_and_a_new_request_does_not() -> None:
    scopes = (entry("case_admin", processing_basis="national-law", transfer_basis="national-law"),)
    back: dict[str, Any] = {"sender": AL, "recipient": IT}
    accept = a_message("referral.accept", sections={"case_admin": {}}, scopes=scopes)
    assert refused(question("referral.accept", message=accept, **back)) == ()
    request = a_message(sections={"case_admin": {}}, scopes=scopes)
    assert refused(question(message=request, **back)) == ("consent-recipient",)


@pytest.mark.parametrize(
    "name",
    [
        "referral.received",
        "referral.decline",
        "referral.clarify.request",
        "referral.cancel.request",
        "transfer.decline",
        "transfer.revoke",
    ],
)
@pytest.mark.parametrize("grant", [None, a_grant(status=ConsentStatus.WITHDRAWN)])
def test_refusing_and_taking_back_never_need_consent(name: str, grant: GrantView | None) -> None:
    bare = a_message(name, sections={}, scopes=())
    assert refused(question(name, message=bare, grant=grant)) == ()


@pytest.mark.parametrize("name", ["consent.withdraw", "consent.update", "consent.withdraw.ack"])
@pytest.mark.parametrize("agreement", [None, an_agreement(suspended=True)])
def test_a_withdrawal_and_its_answer_need_neither_consent_nor_agreement(
    name: str, agreement: AgreementView | None
) -> None:
    bare = a_message(name, sections={}, scopes=())
    assert refused(question(name, message=bare, grant=None, agreement=agreement)) == ()


def test_a_decline_cannot_smuggle_a_section_along() -> None:
    message = a_message("referral.decline")
    found = refused(question("referral.decline", message=message))
    assert found == ("not-permitted",)


def test_consent_to_refer_does_not_transfer_a_case() -> None:
    body = {"risk_valid_until": NOW.date().isoformat()}
    message = a_message("transfer.offer", body=body)
    assert refused(question("transfer.offer", message=message)) == ("consent-scope",)
    scopes = tuple(entry(section, Purpose.CASE_TRANSFER) for section in SECTIONS)
    grant = a_grant(scopes=frozenset((Purpose.CASE_TRANSFER, section) for section in SECTIONS))
    offer = a_message("transfer.offer", scopes=scopes, body=body)
    assert refused(question("transfer.offer", message=offer, grant=grant)) == ()


# --- a child -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guardian", "allowed"),
    [
        (None, False),
        (voices(True, False), False),
        (voices(False, True), False),
        (voices(True, True), True),
    ],
)
@pytest.mark.parametrize("in_record", [True, False])
def test_a_presumed_child_needs_the_guardians_and_the_childs_own_yes(
    guardian: GuardianDecision | None, allowed: bool, in_record: bool
) -> None:
    sections = (*SECTIONS, "guardian_child")
    grant = a_grant(
        presumed_child=in_record,
        guardian=guardian,
        scopes=frozenset((Purpose.PROTECTION, section) for section in sections),
    )
    message = a_message(
        sections={section: {} for section in sections},
        scopes=tuple(entry(section) for section in sections),
    )
    asked = question(
        message=message,
        grant=grant,
        agreement=an_agreement(sections=("*",)),
        presumed_child=not in_record,
    )
    assert refused(asked) == (() if allowed else ("child",))


def test_an_urgent_message_may_overtake_the_record_and_waits_to_be_read_until_it_is_here() -> None:
    sections = (*SECTIONS, "guardian_child")
    grant = a_grant(
        scopes=frozenset((Purpose.PROTECTION, section) for section in sections),
        record_here=False,
    )
    asked = question(
        message=a_message(
            sections={section: {} for section in sections},
            scopes=tuple(entry(section) for section in sections),
        ),
        grant=grant,
        agreement=an_agreement(sections=("*",)),
        presumed_child=True,
    )
    assert refused(replace(asked, moment=Moment.DELIVER)) == ()
    assert refused(replace(asked, moment=Moment.OPEN)) == ("child",)
    assert refused(replace(asked, moment=Moment.SEND)) == ("child",)


def test_a_child_is_not_referred_without_saying_who_decides_beside_it() -> None:
    grant = a_grant(presumed_child=True, guardian=voices(True, True))
    decision = decide(question(grant=grant))
    assert [(r.code, r.where) for r in decision.refusals] == [("child", "sections.guardian_child")]


def test_four_consents_are_four_kinds() -> None:
    kinds = {kinds_of({purpose}) for purpose in Purpose}
    assert len(kinds) == 4
