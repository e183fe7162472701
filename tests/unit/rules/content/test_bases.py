"""Processing basis and transfer basis: each section stands on both, whatever she consented to."""

from __future__ import annotations

import pytest

from broker.rules.content import (
    bases_for,
    decide,
)
from schemas.agreement import TransferBasis
from schemas.consent import Purpose
from schemas.directory import Compartment, OrganisationKind, Participant
from schemas.sections.index import SECTION_INDEX
from tests.support.questions import (
    AL,
    IT,
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
    with_basis,
)


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
