"""The content rules: nothing about a person travels, or is read, unless all of them let it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules.content import (
    RULES,
    AgreementView,
    Decision,
    Exclusions,
    GrantView,
    Moment,
    Person,
    Question,
    bases_for,
    decide,
)
from schemas.agreement import TransferBasis
from schemas.catalogue import catalogue
from schemas.consent import ConsentStatus, GuardianDecision, Purpose
from schemas.directory import Compartment, OrganisationKind, Participant
from schemas.errors import ConsentScope, PolicyRefused, codes
from schemas.message import AttachmentKey, Message
from schemas.sections.index import SECTION_INDEX
from tests.support.questions import (
    AL,
    ARRANGEMENT,
    DAY,
    IT,
    NGO,
    NOW,
    SECTIONS,
    a_grant,
    a_message,
    a_use,
    an_agreement,
    an_alert,
    entry,
    participant,
    question,
    refused,
    voices,
)


def outward(decision: Decision) -> list[tuple[str, str]]:
    """What leaves the engine: codes and paths, without the rules behind them."""
    return [(refusal.code, refusal.where) for refusal in decision.refusals]


moments = pytest.mark.parametrize("moment", list(Moment))


@moments
def test_a_referral_within_consent_agreement_and_law_travels_and_is_read(moment: Moment) -> None:
    decision = decide(question(moment=moment))
    assert decision.allowed
    decision.raise_if_refused()
    with pytest.raises(ValueError, match="nothing to refuse"):
        decision.error()


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
@moments
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


# --- exceptions ------------------------------------------------------------------------------------


@moments
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


# --- who must not receive it -----------------------------------------------------------------------


def test_a_recipient_on_the_persons_exclusion_list_is_blocked_without_saying_why() -> None:
    error = decide(question(exclusions=frozenset({"al.nrm"}))).error()
    assert type(error) is PolicyRefused
    assert error.where == ()
    assert "exclu" not in str(error).lower()


def test_not_even_an_alert_goes_to_an_excluded_recipient() -> None:
    assert refused(an_alert(a_use(), exclusions=frozenset({"al.nrm"}))) == ("policy",)


def test_authorities_of_the_country_of_origin_get_nothing_while_a_claim_is_open() -> None:
    asked = question(protection_claim=True, origin="AL")
    error = decide(asked).error()
    assert (type(error), error.where) == (PolicyRefused, ())
    assert "asylum" not in str(error).lower()
    assert refused(question(protection_claim=True, origin="NG")) == ()


def test_the_refusal_of_an_excluded_and_of_a_protected_person_look_the_same() -> None:
    excluded = decide(question(exclusions=frozenset({"al.nrm"})))
    protected = decide(question(protection_claim=True, origin="AL"))
    assert outward(excluded) == outward(protected)
    assert excluded.rules != protected.rules, "for who may look at the safeguards"


def test_health_data_goes_only_where_health_has_a_key_of_its_own() -> None:
    message = a_message(
        sections={"case_admin": {}, "health_general": {}},
        scopes=(entry("case_admin"), entry("health_general")),
    )
    grant = a_grant(
        scopes=frozenset(
            {(Purpose.PROTECTION, "case_admin"), (Purpose.PROTECTION, "health_general")}
        )
    )
    asked = question(message=message, grant=grant, agreement=an_agreement(sections=("*",)))
    assert refused(asked) == ("policy",)
    clinic = participant("al.nrm", compartments=(Compartment.CASEWORK, Compartment.HEALTH))
    assert refused(replace(asked, recipient=clinic)) == ()


def test_a_hub_sends_nothing() -> None:
    hub = participant("it.nrm", OrganisationKind.HUB)
    assert "forbidden" in refused(question(sender=hub))


# --- bases -----------------------------------------------------------------------------------------


def with_basis(*, transfer: str = ARRANGEMENT, processing: str | None = None) -> Message:
    changes: dict[str, Any] = {"transfer_basis": transfer}
    if processing:
        changes["processing_basis"] = processing
    return a_message(scopes=tuple(entry(section, **changes) for section in SECTIONS))


@pytest.mark.parametrize(
    ("sender", "recipient", "basis", "allowed"),
    [
        # Art 49(3): a public authority cannot use consent, contract or contract in interest.
        ("it.nrm state", "al.nrm state", "eu-gdpr:A49-1-a", False),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A49-1-b", False),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A49-1-c", False),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A49-1-d", True),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A49-1-f", True),
        ("it.nrm ngo", "al.nrm state", "eu-gdpr:A49-1-a", True),
        ("it.nrm international-organisation", "al.nrm state", "eu-gdpr:A49-1-a", True),
        # Instruments and arrangements between public bodies.
        ("it.nrm state", "al.nrm state", "eu-gdpr:A46-2-a", True),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A46-3-b", True),
        ("it.nrm state", "al.nrm ngo", "eu-gdpr:A46-3-b", False),
        ("it.nrm ngo", "al.nrm state", "eu-gdpr:A46-2-a", False),
        ("it.nrm ngo", "al.nrm ngo", "eu-gdpr:A46-2-c", True),
        # Adequacy: the United Kingdom, not Albania, and never an international organisation.
        ("it.nrm state", "gb.nrm state", "eu-gdpr:A45-3", True),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A45-3", False),
        ("it.nrm state", "gb.nrm international-organisation", "eu-gdpr:A45-3", False),
        # Inside the EEA nothing is needed; with an international organisation it is.
        ("it.nrm state", "ro.nrm state", "none-needed", True),
        ("it.nrm state", "no.nrm state", "none-needed", True),
        ("it.nrm state", "al.nrm state", "none-needed", False),
        ("it.nrm state", "ro.nrm international-organisation", "none-needed", False),
        ("it.nrm state", "it.nrm international-organisation", "none-needed", False),
        ("al.nrm state", "al.ngo ngo", "none-needed", True),
        # A sender outside the EEA has its own law; one inside does not escape to it.
        ("al.nrm state", "it.nrm state", "national-law", True),
        ("al.nrm state", "it.nrm state", "none-needed", False),
        ("it.nrm state", "al.nrm state", "national-law", False),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A45-9", False),
        ("it.nrm state", "al.nrm state", "eu-gdpr:A49-1-z", False),
    ],
)
def test_a_transfer_basis_must_be_open_to_this_sender_and_this_recipient(
    sender: str, recipient: str, basis: str, allowed: bool
) -> None:
    parties = []
    for text in (sender, recipient):
        name, kind = text.split()
        parties.append(participant(name, OrganisationKind(kind)))
    one, two = parties
    asked = question(
        message=with_basis(
            transfer=basis,
            processing=None if one.country == "IT" else "national-law",
        ),
        sender=one,
        recipient=two,
        grant=a_grant(giver=one.id, recipient=two.id),
        agreement=an_agreement(
            parties=(one.id, two.id), transfer=(TransferBasis(sender=one.id, basis=basis),)
        ),
    )
    assert refused(asked) == (() if allowed else ("transfer-basis",))


def test_a_transfer_basis_that_the_agreement_does_not_give_is_refused() -> None:
    message = with_basis(transfer="eu-gdpr:A46-2-a")
    assert refused(question(message=message)) == ("transfer-basis",)


@pytest.mark.parametrize(
    ("section", "basis", "allowed"),
    [
        ("case_admin", "eu-gdpr:A6-1-e", True),
        ("risk_security", "eu-gdpr:A6-1-e", False),
        ("risk_security", "eu-gdpr:A9-2-a", True),
        ("risk_security", "eu-gdpr:A9-2-h", True),
        ("risk_security", "eu-gdpr:A9-2-z", False),
        ("case_admin", "eu-gdpr:A6-9", False),
        ("case_admin", "national-law", False),
    ],
)
def test_special_categories_need_a_basis_of_article_9(
    section: str, basis: str, allowed: bool
) -> None:
    scopes = tuple(entry(s, processing_basis=basis) if s == section else entry(s) for s in SECTIONS)
    decision = decide(question(message=a_message(scopes=scopes)))
    assert decision.codes == (() if allowed else ("policy",))
    if not allowed:
        assert decision.error().where == (f"scopes.{section}.processing_basis",)


@pytest.mark.parametrize("section", sorted(SECTION_INDEX))
@pytest.mark.parametrize("kind", [k for k in OrganisationKind if k is not OrganisationKind.HUB])
@pytest.mark.parametrize(("one", "two"), [("it", "al"), ("al", "it"), ("it", "ro"), ("al", "al")])
def test_the_proposed_bases_are_lawful_ones(
    section: str, kind: OrganisationKind, one: str, two: str
) -> None:
    sender = participant(f"{one}.one", kind)
    recipient = participant(
        f"{two}.two",
        compartments=tuple(Compartment),
    )
    if one != two or kind is OrganisationKind.INTERNATIONAL:
        basis = {
            OrganisationKind.STATE: "eu-gdpr:A46-3-b",
            OrganisationKind.INTERNATIONAL: "national-law",
            OrganisationKind.NGO: "eu-gdpr:A49-1-a",
        }[kind]
        basis = basis if one == "it" else "national-law"
    else:
        basis = "none-needed"
    agreement = an_agreement(
        parties=(sender.id, recipient.id),
        sections=("*",),
        transfer=(TransferBasis(sender=sender.id, basis=basis),),
    )
    processing, transfer = bases_for(section, sender, recipient, agreement.content, on=NOW.date())
    message = a_message(
        sections={section: {}},
        scopes=(entry(section, processing_basis=processing, transfer_basis=transfer),),
    )
    grant = a_grant(
        giver=sender.id,
        recipient=recipient.id,
        scopes=frozenset({(Purpose.PROTECTION, section)}),
    )
    asked = question(
        message=message, sender=sender, recipient=recipient, grant=grant, agreement=agreement
    )
    assert not [rule for rule in decide(asked).rules if rule.startswith("basis.")]


@pytest.mark.parametrize("kind", [OrganisationKind.STATE, OrganisationKind.INTERNATIONAL])
@pytest.mark.parametrize("sender", [IT, AL])
def test_the_bases_proposed_under_an_exception_are_lawful_too(
    sender: Participant, kind: OrganisationKind
) -> None:
    recipient = AL if sender is IT else IT
    sender = sender.model_copy(update={"kind": kind})
    processing, transfer = bases_for(
        "risk_security", sender, recipient, None, on=NOW.date(), exception="vital_interest_life"
    )
    scopes = (
        entry("risk_security", scope=None, processing_basis=processing, transfer_basis=transfer),
    )
    asked = an_alert(a_use(), scopes=scopes, sender=sender, recipient=recipient)
    assert refused(asked) == ()


# --- agreement -------------------------------------------------------------------------------------


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


# --- laws of the whole -------------------------------------------------------------------------------

some = st.sampled_from


@st.composite
def questions(draw: st.DrawFn) -> Question:
    name = draw(some(sorted(catalogue)))
    sections = draw(st.sets(some(sorted(SECTION_INDEX)), max_size=3))
    scopes = tuple(
        entry(
            draw(some(sorted(SECTION_INDEX))),
            draw(some([*list(Purpose)[:3], Purpose.CASE_TRANSFER])),
            scope=draw(some(["s" * 22, None])),
            processing_basis=draw(
                some(["eu-gdpr:A6-1-e", "eu-gdpr:A9-2-a", "eu-gdpr:A9-2-c", "national-law"])
            ),
            transfer_basis=draw(some([ARRANGEMENT, "none-needed", "national-law"])),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    use = draw(st.none() | st.builds(a_use, code=some(["vital_interest_life", "missing_child"])))
    kinds = some([k for k in OrganisationKind if k is not OrganisationKind.HUB])
    return question(
        name,
        message=a_message(
            name,
            sections={section: {} for section in sections},
            scopes=scopes,
            exception=use,
        ),
        sender=participant(draw(some(["it.nrm", "al.nrm"])), draw(kinds)),
        recipient=participant(draw(some(["al.nrm", "it.nrm", "ro.nrm"])), draw(kinds)),
        grant=draw(
            st.none()
            | st.builds(
                a_grant,
                status=some(list(ConsentStatus)),
                presumed_child=st.booleans(),
                removed=some([frozenset(), frozenset({(Purpose.PROTECTION, "case_admin")})]),
            )
        ),
        agreement=draw(st.none() | st.builds(an_agreement, suspended=st.booleans())),
        moment=draw(some(list(Moment))),
        exclusions=draw(some([frozenset(), frozenset({"al.nrm"})])),
        protection_claim=draw(st.booleans()),
        origin=draw(some([None, "AL"])),
        presumed_child=draw(st.booleans()),
        recovery_until=draw(some([None, NOW.date() + DAY])),
    )


CHANGES: tuple[dict[str, Any], ...] = (
    {"grant": None},
    {"grant": a_grant(status=ConsentStatus.WITHDRAWN)},
    {"grant": a_grant(removed=frozenset({(Purpose.PROTECTION, "risk_security")}))},
    {"grant": a_grant(recipient="al.ngo")},
    {"grant": a_grant(presumed_child=True)},
    {"grant": a_grant(status=ConsentStatus.RENEWED)},
    {"grant": a_grant(presumed_child=True, guardian=voices(True, True))},
    {"agreement": None},
    {"agreement": an_agreement(suspended=True)},
    {"agreement": an_agreement(sections=("*",))},
    {"message": with_basis(transfer="none-needed")},
    {"message": a_message(sections={})},
    {"message": a_message(sections={"case_admin": {}})},
    {"message": a_message(scopes=(entry("case_admin"),))},
    {"message": a_message(exception=a_use())},
    {"recipient": NGO},
    {"moment": Moment.DELIVER},
    {"moment": Moment.OPEN},
    {"person": Person(exclusions=Exclusions.of({"al.nrm"}))},
    {"person": Person(exclusions=Exclusions.of({"authorities:AL"}))},
    {"person": Person(presumed_child=True)},
    {"person": Person(protection_claim=True)},
    {"now": NOW + 400 * DAY},
)


@st.composite
def near_misses(draw: st.DrawFn) -> Question:
    """A message that may travel, with a few things changed: most of them right at the edge."""
    asked = question() if draw(st.booleans()) else an_alert(a_use())
    for change in draw(st.lists(some(CHANGES), max_size=2)):
        if asked.type.name == "safety.alert":
            change = {key: value for key, value in change.items() if key != "message"}
        asked = replace(asked, **change)
    return asked


anything = questions() | near_misses()


@given(anything, st.integers(0, len(RULES)))
def test_one_more_rule_never_allows_more(asked: Question, count: int) -> None:
    fewer = decide(asked, RULES[:count])
    more = decide(asked, RULES[: count + 1])
    assert set(fewer.refusals) <= set(more.refusals)
    assert fewer.allowed or not more.allowed


@given(anything, st.permutations(RULES))
def test_the_order_of_the_rules_changes_what_is_said_first_and_nothing_else(
    asked: Question, rules: list[Any]
) -> None:
    assert set(decide(asked, tuple(rules)).refusals) == set(decide(asked).refusals)


@given(anything)
def test_what_is_allowed_has_consent_or_an_exception_for_every_section(asked: Question) -> None:
    if not decide(asked).allowed:
        return
    for section in asked.carried():
        entries = asked.entries(section)
        assert entries
        if asked.message.exception is None:
            assert asked.grant is not None
            live = asked.grant.live_scopes()
            assert all((item.purpose, section) in live for item in entries)
        else:
            assert asked.type.exceptions


@given(anything)
def test_narrowing_a_grant_never_allows_more(asked: Question) -> None:
    if asked.grant is None:
        return
    narrower = replace(
        asked, grant=replace(asked.grant, removed=asked.grant.removed | asked.grant.scopes)
    )
    if decide(narrower).allowed:
        assert decide(asked).allowed


@given(anything)
def test_every_refusal_has_a_code_of_the_protocol_and_a_path_of_the_language(
    asked: Question,
) -> None:
    known = codes()
    for refusal in decide(asked).refusals:
        assert refusal.code in known
        assert set(refusal.where.split(".")) <= {
            "",
            "?",
            "agreement",
            "approved_by",
            "code",
            "decided_at",
            "exception",
            "grant",
            "guardian",
            "law",
            "processing_basis",
            "purposes",
            "reason",
            "redacted",
            "review_by",
            "scopes",
            "sections",
            "tell_person_by",
            "transfer_basis",
            "type",
            "types",
            *SECTION_INDEX,
            *Purpose,
        }
