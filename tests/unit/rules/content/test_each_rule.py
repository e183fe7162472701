"""Each rule by itself: a case that only it refuses, and a twin, one step away, that may travel.

Read the table as the mechanism's promises to the person. A rule without a case fails a test of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import pytest

from broker.rules.content import (
    RULES,
    Exclusions,
    Person,
    Question,
    Rule,
    decide,
)
from schemas.agreement import TransferBasis
from schemas.catalogue import catalogue
from schemas.consent import ConsentStatus, Purpose
from schemas.directory import Function, OrganisationKind, Participant
from schemas.errors import codes
from schemas.families.base import Precondition
from schemas.sections.index import HardRule
from tests.support.questions import (
    AL,
    ALL,
    ARRANGEMENT,
    DAY,
    FOCAL_POINT,
    IT,
    NARRATED,
    NOW,
    POLICE,
    SHELTER,
    SHELTERED,
    TODAY,
    a_message,
    alert,
    an_agreement,
    bases,
    codes_given_by,
    granted,
    offer,
    participant,
    party,
    plan,
    question,
    says,
    tracing,
    under,
    voices,
)


@dataclass(frozen=True)
class Case:
    rule: str
    story: str
    refused: Question
    code: str
    where: str
    twin: Question
    """One step away, and it may travel."""


ADMIN: dict[str, dict[str, Any]] = {"case_admin": {}}
REFERRAL = says(ADMIN)
CHILD = {"guardian_child": {"presumed_child": True}, "case_admin": {}}
CHILDS_REFERRAL = granted(says(CHILD), presumed_child=True, guardian=voices(True, True))
OLD_SISTER = {"relation": "sibling", "age": 30, "phone": "+355600000000"}
IN_ASYLUM = {"asylum_protection": {"status": "asylum_seeker", "feared_countries": ["AL"]}}
LIBYA = party("ly.nrm")


def from_libya(**transfer: Any) -> Question:
    asked = says(ADMIN, to=IT, transfer="national-law")
    basis = TransferBasis(sender="ly.nrm", basis="national-law", **transfer)
    asked = under(asked, parties=("ly.nrm", "it.nrm"), transfer=(basis,))
    asked = granted(asked, giver="ly.nrm")
    return bases(replace(asked, sender=LIBYA), processing_basis="national-law")


def hosted(asked: Question, by: Participant) -> Question:
    """The recipient stands in this one's gateway."""
    return replace(asked, recipient_host=by)


ITALIAN_SHELTER = party("it.shelter", Function.SHELTER, OrganisationKind.NGO)
BRITISH = party("gb.nrm")
ADEQUATE = "eu-gdpr:A45-3"


def from_italian_gateway(transfer: str) -> Question:
    """A Libyan office that stands in an Italian gateway refers to Albania."""
    asked = says(ADMIN, transfer=transfer)
    terms = TransferBasis(sender="ly.nrm", basis=transfer, reference="Invented Act 1")
    asked = under(asked, parties=("ly.nrm", "al.nrm"), transfer=(terms,))
    asked = granted(asked, giver="ly.nrm")
    asked = bases(replace(asked, sender=LIBYA), processing_basis="national-law")
    return replace(asked, sender_host=IT)


def refusal_of(reason: str, **person: Any) -> Question:
    """An answer that carries nothing."""
    message = a_message("referral.decline", sections={}, scopes=(), body={"reason": reason})
    return question("referral.decline", message=message, grant=None, **person)


CASES = (
    # --- who ---------------------------------------------------------------------------------
    Case(
        "who.sender-kind",
        "a hub refers nobody",
        replace(REFERRAL, sender=participant("it.nrm", OrganisationKind.HUB, ALL)),
        "forbidden",
        "type",
        REFERRAL,
    ),
    Case(
        "who.direction",
        "the country of origin asks the country of destination to trace the family",
        tracing(origin="IT"),
        "policy",
        "type",
        tracing(origin="AL"),
    ),
    Case(
        "who.excluded",
        "not this police station",
        says(ADMIN, to=POLICE, exclusions=["al.police"]),
        "policy",
        "",
        says(ADMIN, to=POLICE, exclusions=["al.police-2"]),
    ),
    Case(
        "who.excluded",
        "no police of that country at all",
        says(ADMIN, to=POLICE, exclusions=["police:AL"]),
        "policy",
        "",
        says(ADMIN, to=SHELTER, exclusions=["police:AL"]),
    ),
    Case(
        "who.excluded",
        "no authority there, and an alert is no way around",
        replace(
            alert({"risk_security": {}}),
            person=Person(exclusions=Exclusions.of(["authorities:AL"])),
        ),
        "policy",
        "",
        alert({"risk_security": {}}),
    ),
    Case(
        "who.origin-during-claim",
        "the state she fled learns nothing",
        says(ADMIN, protection_claim=True, origin="AL"),
        "policy",
        "",
        says(ADMIN, protection_claim=True, origin="AL", to=SHELTER),
    ),
    Case(
        "who.origin-during-claim",
        "where she fled from is not known: no authority abroad",
        says(ADMIN, protection_claim=True),
        "policy",
        "",
        says(ADMIN, protection_claim=True, origin="NG"),
    ),
    Case(
        "who.origin-during-claim",
        "an answer that would confirm her is blocked, the one for strangers is not",
        refusal_of("no_capacity", protection_claim=True, origin="AL"),
        "policy",
        "",
        refusal_of("not_found", protection_claim=True, origin="AL"),
    ),
    Case(
        "who.origin-and-protection",
        "a claim is not told to the country of fear",
        says(IN_ASYLUM, origin="NG"),
        "policy",
        "",
        says(IN_ASYLUM, origin="AL", to=SHELTER),
    ),
    Case(
        "who.origin-unasked",
        "how she stays is told to her state only if she asks",
        says({"migration_status": {"entry_ban": True}}, origin="AL"),
        "policy",
        "sections.migration_status",
        says({"migration_status": {"entry_ban": True, "origin_may_know": True}}, origin="AL"),
    ),
    Case(
        "who.compartment",
        "health goes where health has a key of its own",
        says({"health_general": {}}, to=AL),
        "policy",
        "sections.health_general",
        says({"health_general": {}}),
    ),
    Case(
        "who.suspects",
        "a shelter is not told who is suspected",
        says({"perpetrator": {}}, to=SHELTER),
        "policy",
        "sections.perpetrator",
        says({"perpetrator": {}}, to=POLICE),
    ),
    Case(
        "who.no-police",
        "the police get no test results",
        says({"health_sexual_reproductive": {}}, to=POLICE),
        "policy",
        "sections.health_sexual_reproductive",
        says({"health_sexual_reproductive": {}}),
    ),
    Case(
        "who.cooperation",
        "who helps does not learn that she would not testify",
        says({"criminal_justice": {"cooperation": "declined"}}, to=SHELTER),
        "policy",
        "sections.criminal_justice",
        says({"criminal_justice": {"cooperation": "agreed"}}, to=SHELTER),
    ),
    Case(
        "who.excluded",
        "who stands in the gateway of somebody she excludes is read there",
        hosted(says(ADMIN, to=SHELTER, exclusions=["al.police"]), by=POLICE),
        "policy",
        "",
        hosted(says(ADMIN, to=SHELTER, exclusions=["al.police"]), by=FOCAL_POINT),
    ),
    Case(
        "who.origin-during-claim",
        "a shelter in a gateway of the state she fled",
        hosted(says(ADMIN, protection_claim=True, origin="AL", to=SHELTER), by=FOCAL_POINT),
        "policy",
        "",
        hosted(says(ADMIN, protection_claim=True, origin="NG", to=SHELTER), by=FOCAL_POINT),
    ),
    Case(
        "who.origin-unasked",
        "whose state that is must be known: of two citizenships none is the origin",
        says({"migration_status": {"entry_ban": True}}),
        "policy",
        "sections.migration_status",
        says({"migration_status": {"entry_ban": True}}, origin="MA"),
    ),
    Case(
        "who.origin-unasked",
        "nor by way of the one that hosts",
        hosted(
            says({"migration_status": {"entry_ban": True}}, origin="AL", to=SHELTER),
            by=FOCAL_POINT,
        ),
        "policy",
        "sections.migration_status",
        says({"migration_status": {"entry_ban": True}}, origin="AL", to=SHELTER),
    ),
    Case(
        "what.shelter",
        "a shelter's address stays, also where the neighbour's machine is abroad",
        hosted(says(SHELTERED, to=ITALIAN_SHELTER), by=FOCAL_POINT),
        "policy",
        "sections.contact_location.shelter_address",
        says(SHELTERED, to=ITALIAN_SHELTER),
    ),
    Case(
        "basis.host",
        "inside one country, and read in another",
        hosted(says(ADMIN, to=ITALIAN_SHELTER, transfer="none-needed"), by=FOCAL_POINT),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        says(ADMIN, to=ITALIAN_SHELTER, transfer="none-needed"),
    ),
    Case(
        "basis.host",
        "an adequate country, in a gateway that stands in one that is not",
        hosted(says(ADMIN, to=BRITISH, transfer=ADEQUATE), by=FOCAL_POINT),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        hosted(says(ADMIN, to=BRITISH, transfer=ADEQUATE), by=ITALIAN_SHELTER),
    ),
    Case(
        "basis.host",
        "what leaves a machine in the Union leaves the Union, whoever sends it",
        from_italian_gateway("national-law"),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        from_italian_gateway(ARRANGEMENT),
    ),
    # --- what --------------------------------------------------------------------------------
    Case(
        "what.sections",
        "a section that nobody knows",
        replace(
            REFERRAL,
            message=REFERRAL.message.model_copy(update={"sections": {"shoe_size": {}}}),
        ),
        "not-permitted",
        "sections.?",
        REFERRAL,
    ),
    Case(
        "what.asserted",
        "a section without purpose and basis",
        replace(REFERRAL, message=REFERRAL.message.model_copy(update={"scopes": ()})),
        "consent-scope",
        "sections.case_admin",
        REFERRAL,
    ),
    Case(
        "what.purposes",
        "to refer is not to transfer",
        says(ADMIN, purpose=Purpose.CASE_TRANSFER),
        "consent-scope",
        "scopes.case_admin",
        says(ADMIN, purpose=Purpose.SERVICE_REFERRAL),
    ),
    Case(
        "what.not-for-services",
        "a language course needs no history of abuse",
        says({"trafficking_experience": {}}, purpose=Purpose.SERVICE_REFERRAL),
        "policy",
        "sections.trafficking_experience",
        says({"trafficking_experience": {}}, purpose=Purpose.JUSTICE),
    ),
    Case(
        "what.opt-in",
        "what was given for counting serves nothing else",
        says({"statistics_research": {}}),
        "policy",
        "sections.statistics_research",
        says({"case_admin": {}}),
    ),
    Case(
        "what.bank-data",
        "an account number is for who pays",
        says({"compensation_finance": {"payout": {"account": "0001"}}}),
        "policy",
        "sections.compensation_finance.payout",
        says(
            {"compensation_finance": {"payout": {"account": "0001"}}}, purpose=Purpose.COMPENSATION
        ),
    ),
    Case(
        "what.redacted",
        "a narrative that nobody read through stays",
        says(NARRATED),
        "policy",
        "sections.case_narrative.redacted",
        says({"case_narrative": {"case_comment": "Invented.", "redacted": True}}),
    ),
    Case(
        "what.shelter",
        "where the shelter is stays in its country",
        says(SHELTERED),
        "policy",
        "sections.contact_location.shelter_address",
        says({"contact_location": {"mailing_city": "Invented"}}),
    ),
    # --- consent -----------------------------------------------------------------------------
    Case(
        "consent.there",
        "no word of hers, no word of her",
        replace(REFERRAL, grant=None),
        "consent-missing",
        "grant",
        REFERRAL,
    ),
    Case(
        "consent.parties",
        "a consent for another",
        granted(REFERRAL, recipient="al.ngo"),
        "consent-recipient",
        "grant",
        REFERRAL,
    ),
    Case(
        "consent.status",
        "she was asked and has not answered",
        granted(REFERRAL, status=ConsentStatus.REQUESTED),
        "consent-missing",
        "grant",
        granted(REFERRAL, status=ConsentStatus.RENEWED),
    ),
    Case(
        "consent.status",
        "revoked by another than her",
        granted(REFERRAL, status=ConsentStatus.REVOKED),
        "consent-withdrawn",
        "grant",
        REFERRAL,
    ),
    Case(
        "consent.status",
        "it has run out, and nobody has asked her again",
        granted(REFERRAL, status=ConsentStatus.EXPIRED),
        "consent-expired",
        "grant",
        REFERRAL,
    ),
    Case(
        "consent.current",
        "its last day is over",
        granted(REFERRAL, valid_until=TODAY - DAY),
        "consent-expired",
        "grant",
        granted(REFERRAL, valid_until=TODAY),
    ),
    Case(
        "consent.one-thing",
        "one signature for a referral and a return",
        granted(
            REFERRAL,
            scopes=frozenset({(Purpose.PROTECTION, "case_admin"), (Purpose.RETURN_PLANNING, "x")}),
        ),
        "consent-scope",
        "grant",
        granted(
            REFERRAL, scopes=frozenset({(Purpose.PROTECTION, "case_admin"), (Purpose.JUSTICE, "x")})
        ),
    ),
    Case(
        "consent.scope",
        "a box that she did not tick",
        granted(REFERRAL, scopes=frozenset({(Purpose.PROTECTION, "identity_core")})),
        "consent-scope",
        "scopes.case_admin",
        REFERRAL,
    ),
    Case(
        "consent.scope",
        "a box from which she has taken her mark again",
        granted(REFERRAL, removed=frozenset({(Purpose.PROTECTION, "case_admin")})),
        "consent-withdrawn",
        "scopes.case_admin",
        REFERRAL,
    ),
    Case(
        "child.of-age",
        "the day after she comes of age her guardian's word is over",
        granted(CHILDS_REFERRAL, guardian_until=TODAY - DAY),
        "child",
        "grant.guardian",
        granted(CHILDS_REFERRAL, guardian_until=TODAY),
    ),
    Case(
        "child.two-voices",
        "the guardian agrees and the child does not",
        granted(CHILDS_REFERRAL, guardian=voices(True, False)),
        "child",
        "grant.guardian",
        CHILDS_REFERRAL,
    ),
    Case(
        "child.guardian-named",
        "nobody says who decides beside the child",
        granted(REFERRAL, presumed_child=True, guardian=voices(True, True)),
        "child",
        "sections.guardian_child",
        CHILDS_REFERRAL,
    ),
    # --- family ------------------------------------------------------------------------------
    Case(
        "family.own-consent",
        "a grown sister was not asked",
        says({"family_dependants": {"relatives": [OLD_SISTER]}}),
        "consent-missing",
        "sections.family_dependants.relatives.0",
        says({"family_dependants": {"relatives": [{**OLD_SISTER, "consent": "given"}]}}),
    ),
    Case(
        "family.own-consent",
        "of unknown age is grown up",
        says({"family_dependants": {"relatives": [{"name": "Invented"}]}}),
        "consent-missing",
        "sections.family_dependants.relatives.0",
        says({"family_dependants": {"relatives": [{"name": "Invented", "age": 9}]}}),
    ),
    Case(
        "family.not-traced",
        "they must not know",
        says({"family_dependants": {"family_must_not_know": True}}, purpose=Purpose.FAMILY_TRACING),
        "policy",
        "sections.family_dependants",
        says({"family_dependants": {"family_must_not_know": True}}),
    ),
    Case(
        "family.not-traced",
        "the case says that they had a part in it, the message does not",
        says({"identity_core": {}}, purpose=Purpose.FAMILY_ASSESSMENT, family_suspected=True),
        "policy",
        "sections.family_dependants",
        says({"identity_core": {}}, purpose=Purpose.FAMILY_ASSESSMENT),
    ),
    Case(
        "family.excluded",
        "not her father",
        says(
            {"family_dependants": {"relatives": [{"relation": "father"}]}},
            purpose=Purpose.FAMILY_TRACING,
            exclusions=["relative:father"],
        ),
        "policy",
        "sections.family_dependants.relatives.0",
        says(
            {"family_dependants": {"relatives": [{"relation": "mother"}]}},
            purpose=Purpose.FAMILY_TRACING,
            exclusions=["relative:father"],
        ),
    ),
    # --- travel ------------------------------------------------------------------------------
    Case(
        "travel.recovery",
        "no journey is prepared while she recovers",
        says({"return_travel": {}}, purpose=Purpose.RETURN_PLANNING, recovery_until=TODAY),
        "policy",
        "scopes.return_travel",
        says(
            {"return_travel": {}},
            purpose=Purpose.RETURN_PLANNING,
            recovery_until=TODAY,
            asked_to_go_on=True,
        ),
    ),
    Case(
        "travel.recovery",
        "the reflection period stands in the message itself",
        says(
            {
                "identification_status": {
                    "identifications": [{"reflection_until": (TODAY + DAY).isoformat()}]
                }
            },
            purpose=Purpose.TRAVEL_RECEPTION,
        ),
        "policy",
        "scopes.identification_status",
        says(
            {
                "identification_status": {
                    "identifications": [{"reflection_until": (TODAY - DAY).isoformat()}]
                }
            },
            purpose=Purpose.TRAVEL_RECEPTION,
        ),
    ),
    Case(
        "travel.risk",
        "the assessment ran out yesterday",
        offer({"risk_security": {"valid_until": (TODAY - DAY).isoformat()}}),
        "policy",
        "sections.risk_security",
        offer({"risk_security": {"valid_until": TODAY.isoformat()}}),
    ),
    Case(
        "travel.risk",
        "one side says that it holds longer than both agreed on",
        replace(
            offer({"risk_security": {"valid_until": (TODAY + DAY).isoformat()}}),
            person=Person(assessed_until=TODAY),
        ),
        "policy",
        "sections.risk_security",
        replace(
            offer({"risk_security": {"valid_until": TODAY.isoformat()}}),
            person=Person(assessed_until=TODAY),
        ),
    ),
    Case(
        "what.reduced",
        "a plan for the return tells of her illness",
        plan({"health_general": {"fit_to_travel": "fit", "chronic_conditions": ["Invented"]}}),
        "policy",
        "sections.health_general",
        plan({"health_general": {"fit_to_travel": "fit"}}),
    ),
    Case(
        "travel.risk",
        "nobody says until when it holds",
        offer({"risk_security": {}}),
        "policy",
        "sections.risk_security",
        offer({"risk_security": {"valid_until": TODAY.isoformat()}}),
    ),
    # --- exceptions --------------------------------------------------------------------------
    Case(
        "exception.allowed",
        "an obligation without a law",
        alert({"risk_security": {}}, code="legal_obligation"),
        "exception",
        "exception.law",
        alert({"risk_security": {}}, code="legal_obligation", law="Invented Act, section 4"),
    ),
    Case(
        "basis.transfer",
        "a duty to report is nobody's vital interest",
        alert(
            {"risk_security": {}},
            code="legal_obligation",
            law="Invented Act, section 4",
            transfer="eu-gdpr:A49-1-f",
        ),
        "transfer-basis",
        "scopes.risk_security.transfer_basis",
        alert({"risk_security": {}}, code="legal_obligation", law="Invented Act, section 4"),
    ),
    Case(
        "exception.law-binds",
        "Libya is no party to the Council of Europe's convention",
        replace(
            alert({"risk_security": {}}, code="legal_obligation", law="CETS 197, Art 33(1)"),
            recipient=LIBYA,
        ),
        "exception",
        "exception.law",
        alert({"risk_security": {}}, code="legal_obligation", law="CETS 197, Art 33(1)"),
    ),
    Case(
        "exception.two-workers",
        "one person in two roles",
        alert({"risk_security": {}}, approved_by=" DUTY officer 3"),
        "exception",
        "exception.approved_by",
        alert({"risk_security": {}}),
    ),
    Case(
        "exception.reviewed",
        "it was to be reviewed before it was used",
        alert({"risk_security": {}}, review_by=NOW),
        "exception",
        "exception.review_by",
        alert({"risk_security": {}}, review_by=NOW + DAY),
    ),
    Case(
        "exception.told",
        "nobody means to tell her",
        alert({"risk_security": {}}, tell_person_by=None),
        "exception",
        "exception.tell_person_by",
        alert({"risk_security": {}}),
    ),
    Case(
        "exception.minimum",
        "danger to staff opens no name",
        alert({"identity_core": {}}, code="staff_safety"),
        "exception",
        "sections.identity_core",
        alert({"identity_core": {}}),
    ),
    Case(
        "exception.minimum",
        "danger to staff opens the level of risk and not its story",
        alert({"risk_security": {"summary": "Invented."}}, code="staff_safety"),
        "exception",
        "sections.risk_security",
        alert({"risk_security": {"risk_level": "high"}}, code="staff_safety"),
    ),
    # --- bases -------------------------------------------------------------------------------
    Case(
        "basis.processing",
        "her health on an ordinary basis",
        bases(says({"health_general": {}}), processing_basis="eu-gdpr:A6-1-e"),
        "policy",
        "scopes.health_general.processing_basis",
        bases(says({"health_general": {}}), processing_basis="eu-gdpr:A9-2-h"),
    ),
    Case(
        "basis.offences",
        "suspects on the victim's consent",
        bases(says({"perpetrator": {}}, to=POLICE), processing_basis="eu-gdpr:A6-1-a"),
        "policy",
        "scopes.perpetrator.processing_basis",
        says({"perpetrator": {}}, to=POLICE),
    ),
    Case(
        "basis.no-consent-in-exceptions",
        "her consent in law, where she gave none",
        bases(alert({"risk_security": {}}), processing_basis="eu-gdpr:A9-2-a"),
        "policy",
        "scopes.risk_security.processing_basis",
        alert({"risk_security": {}}),
    ),
    Case(
        "basis.transfer",
        "an authority rests on her consent (Art 49(3))",
        says(ADMIN, transfer="eu-gdpr:A49-1-a"),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        says(ADMIN, transfer=ARRANGEMENT),
    ),
    Case(
        "basis.transfer",
        "the decision on the United Kingdom has run out",
        granted(
            under(
                replace(
                    says(ADMIN, to=party("gb.nrm"), transfer="eu-gdpr:A45-3"),
                    now=NOW.replace(year=2032),
                ),
                valid_until=date(2032, 12, 31),
            ),
            valid_until=date(2032, 12, 31),
        ),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        says(ADMIN, to=party("gb.nrm"), transfer="eu-gdpr:A45-3"),
    ),
    Case(
        "basis.own-law",
        "no act is known where it is sent from, and the agreement names none",
        from_libya(),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        from_libya(reference="Invented decree 12, section 3"),
    ),
    # --- agreement ---------------------------------------------------------------------------
    Case(
        "agreement.in-force",
        "it ended yesterday",
        under(REFERRAL, valid_until=TODAY - DAY),
        "no-agreement",
        "agreement",
        under(REFERRAL, valid_until=TODAY),
    ),
    Case(
        "agreement.names",
        "a section that the two did not agree on",
        under(REFERRAL, sections=("identity_core",)),
        "no-agreement",
        "agreement.sections.case_admin",
        under(REFERRAL, sections=("case_admin",)),
    ),
    Case(
        "agreement.transfer-basis",
        "a basis that the two did not agree on",
        under(REFERRAL, transfer=(TransferBasis(sender="it.nrm", basis=ARRANGEMENT),)),
        "transfer-basis",
        "scopes.case_admin.transfer_basis",
        REFERRAL,
    ),
)

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.story}")


@cases
def test_only_this_rule_refuses_with_its_code_and_path(case: Case) -> None:
    decision = decide(case.refused)
    assert decision.rules == (case.rule,)
    assert [(r.code, r.where) for r in decision.refusals] == [(case.code, case.where)]
    assert case.code in codes()


@cases
def test_one_step_away_it_may_travel(case: Case) -> None:
    assert decide(case.twin).refusals == ()


@cases
def test_without_the_rule_it_would_travel(case: Case) -> None:
    others = tuple(rule for rule in RULES if rule.id != case.rule)
    assert decide(case.refused, others).allowed


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == {rule.id for rule in RULES}


def test_every_code_that_a_rule_can_give_is_expected_in_a_case_of_its_own() -> None:
    can_be = {(rule.id, code) for rule in RULES for code in codes_given_by(rule.ask)}
    assert {(case.rule, case.code) for case in CASES} == can_be
    assert {rule.id for rule in RULES} == {rule for rule, _ in can_be}


def test_rules_have_ids_of_their_own_a_source_and_a_sentence() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.source
        assert rule.says.endswith(".")


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.silent], ids=lambda r: r.id)
def test_a_silent_rule_says_policy_and_nothing_else(rule: Rule) -> None:
    for case in CASES:
        if case.rule == rule.id:
            error = decide(case.refused).error()
            assert (error.code, error.where, str(error)) == (
                "policy",
                (),
                "policy: Consent, agreement or law does not allow it.",
            )


KEPT_ELSEWHERE: Mapping[HardRule, str] = {
    HardRule.NO_NAME_IN_CASE_NUMBER: "adapters: a case number that names the person is refused",
    HardRule.NATIONALITY_ALONE: "catalogue: what a nationality request may carry",
    HardRule.SHORTEST_RETENTION: "gateway: retention",
    HardRule.COARSE_COORDINATES: "section model: two decimals",
    HardRule.STATUS_CAN_ENDANGER: "default off, and a box of its own",
    HardRule.NOT_IN_OTHER_NARRATIVES: "a person redacts: what.redacted asks for it",
    HardRule.USE_RESTRICTED: "section model: restrictions travel with it",
    HardRule.ONE_SERVICE_ONE_REFERRAL: "catalogue: body of the referral",
    HardRule.UNTESTED_SAYS_NOTHING: "section model: no such code",
    HardRule.GONE_AFTER_ARRIVAL: "gateway: retention",
    HardRule.PERSON_GETS_COPY: "gateway: rights of the person",
    HardRule.HELP_IS_NOT_LOST: "no rule asks for it: nothing depends on monitoring",
    HardRule.EACH_FILE_HAS_A_SECTION: "message model: a file names its section",
    HardRule.NO_PUBLIC_LINKS: "section model: no field for an address",
    HardRule.SMALL_CELLS_HIDDEN: "gateway: statistics",
}


def test_every_hard_rule_is_kept_by_a_content_rule_or_somewhere_that_is_named() -> None:
    here = frozenset[HardRule]().union(*(rule.enforces for rule in RULES))
    assert here | KEPT_ELSEWHERE.keys() == set(HardRule)
    assert not here & KEPT_ELSEWHERE.keys()


def test_a_grown_child_loses_nothing_else_than_the_guardians_word() -> None:
    ended = granted(CHILDS_REFERRAL, guardian_until=TODAY - timedelta(days=400))
    assert decide(ended).rules == ("child.of-age",)


def test_a_shelters_address_travels_with_the_notice_of_arrival() -> None:
    assessed = {"risk_security": {"valid_until": TODAY.isoformat()}}
    asked = says({"return_travel": {}, **assessed, **SHELTERED}, purpose=Purpose.TRAVEL_RECEPTION)
    assert decide(asked).rules == ("what.shelter",)
    assert decide(replace(asked, type=catalogue["travel.notice"])).allowed


def test_no_departure_is_confirmed_while_she_recovers() -> None:
    bare = a_message("departure.confirm", sections={}, scopes=())
    asked = question(
        "departure.confirm",
        message=bare,
        recovery_until=TODAY,
        agreement=an_agreement(types=("*",)),
    )
    assert "travel.recovery" in decide(asked).rules


def test_every_precondition_of_the_catalogue_is_kept_by_one_rule() -> None:
    kept = [rule.keeps for rule in RULES if rule.keeps is not None]

    assert sorted(kept) == sorted(Precondition)
