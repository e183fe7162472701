"""No agreement, no route: the two agreed on the type, the sections, the purposes and the basis."""

from __future__ import annotations

from broker.rules.content.question import Found, Moment, Question, known, path, rule
from schemas.envelope import NEVER_HELD_BACK
from schemas.errors import NoAgreement, TransferBasis
from schemas.families.base import Precondition


def _passes(question: Question) -> bool:
    # What was delivered under an agreement may still be read after its end: the agreement is
    # about exchanging. Consent, by contrast, is asked again each time.
    return (
        question.type.passes_agreement
        or question.type.kind in NEVER_HELD_BACK
        or question.moment is Moment.OPEN
    )


@rule("agreement.in-force", "GDPR Art 26, Art 28; directory", keeps=Precondition.AGREEMENT)
def agreement_is_in_force(question: Question) -> Found:
    """Two participants exchange under an agreement of theirs, of today, not suspended."""
    if _passes(question):
        return
    view = question.agreement
    today = question.now.date()
    if (
        view is None
        or view.suspended
        or set(view.content.parties) != {question.sender.id, question.recipient.id}
        or not view.content.valid_from <= today <= view.content.valid_until
    ):
        yield NoAgreement, "agreement"


@rule("agreement.names", "IOM Data Protection Principle 5: in writing")
def agreement_names_it(question: Question) -> Found:
    """The agreement names the type, each section and each purpose.

    The consent family belongs to every agreement: nothing could travel without it.
    """
    view = question.agreement
    if _passes(question) or view is None:
        return
    types = view.content.types
    row = question.type
    if row.family != "consent" and not {row.name, f"{row.family}.*", "*"} & set(types):
        yield NoAgreement, "agreement.types"
    sections = view.content.sections
    for section in known(question.carried()):
        if section not in sections and "*" not in sections:
            yield NoAgreement, f"agreement.sections.{section}"
    for purpose in sorted({entry.purpose for entry in question.message.scopes}):
        if purpose not in view.content.purposes:
            yield NoAgreement, f"agreement.purposes.{purpose}"


@rule("agreement.transfer-basis", "GDPR Art 46; Art 30(1)(e)")
def agreement_names_the_transfer_basis(question: Question) -> Found:
    """The agreement gives this transfer basis to this sender."""
    view = question.agreement
    if _passes(question) or view is None:
        return
    named = {item.basis for item in view.content.transfer if item.sender == question.sender.id}
    for entry in question.message.scopes:
        if entry.transfer_basis not in named:
            yield TransferBasis, f"{path(entry)}.transfer_basis"
