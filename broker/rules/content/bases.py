"""Processing basis and transfer basis: two assertions beside the person's consent, each by itself.

The names are those of the W3C Data Privacy Vocabulary (`eu-gdpr:…`), with two of ours:
`national-law` for a sender whose own law decides, and `none-needed` where no chapter V applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from broker.rules.content.question import Found, Question, path, rule
from broker.rules.countries import gdpr_applies, has_own_law, is_adequate
from schemas.agreement import Agreement
from schemas.directory import OrganisationKind, Participant
from schemas.errors import PolicyRefused, TransferBasis
from schemas.sections.index import SECTION_INDEX, DataClass

SPECIAL = frozenset({DataClass.SPECIAL, DataClass.SPECIAL_OR_CRIMINAL})
ART_6 = frozenset(f"eu-gdpr:A6-1-{letter}" for letter in "abcdef") | {
    "eu-gdpr:A6-1-a-explicit-consent"
}
ART_9 = frozenset(f"eu-gdpr:A9-2-{letter}" for letter in "abcdefghij")
CONSENT = frozenset({"eu-gdpr:A9-2-a", "eu-gdpr:A6-1-a", "eu-gdpr:A6-1-a-explicit-consent"})
BY_LAW = frozenset(f"eu-gdpr:A6-1-{letter}" for letter in "ce") | frozenset(
    f"eu-gdpr:A9-2-{letter}" for letter in "cfgh"
)
"""What can carry data on offences: official authority or a law (GDPR Art 10)."""
CHAPTER_V = (
    frozenset({"eu-gdpr:A45-3", "eu-gdpr:A46-3-a", "eu-gdpr:A46-3-b", "eu-gdpr:A49-2"})
    | frozenset(f"eu-gdpr:A46-2-{letter}" for letter in "abcdef")
    | frozenset(f"eu-gdpr:A49-1-{letter}" for letter in "abcdefg")
)
NOT_FOR_PUBLIC_AUTHORITIES = frozenset({"eu-gdpr:A49-1-a", "eu-gdpr:A49-1-b", "eu-gdpr:A49-1-c"})
BETWEEN_PUBLIC_BODIES = frozenset({"eu-gdpr:A46-2-a", "eu-gdpr:A46-3-b"})
"""Binding instruments and administrative arrangements exist between public bodies only;
international organisations conclude them too."""
VITAL = frozenset({"vital_interest_life", "child_best_interest", "missing_child", "staff_safety"})
"""Exceptions for somebody's life or body: they alone can rest on vital interests."""
OF_VITAL_INTEREST = "eu-gdpr:A49-1-f"
PUBLIC = frozenset({OrganisationKind.STATE, OrganisationKind.INTERNATIONAL})


@rule("basis.processing", "GDPR Art 6(1), Art 9(2)")
def processing_basis_is_explicit(question: Question) -> Found:
    """Each section rests on a basis of Art 6, and what is special on one of Art 9."""
    for entry in question.message.scopes:
        section = SECTION_INDEX.get(entry.section)
        if section is None:
            continue  # `what.sections` and the grant refuse it
        basis = entry.processing_basis
        if basis == "national-law":
            refused = not _own_law_decides(question)
        elif basis in ART_9:
            refused = False
        else:
            refused = basis not in ART_6 or section.data_class in SPECIAL
        if refused:
            yield PolicyRefused, f"{path(entry)}.processing_basis"


@rule("basis.offences", "GDPR Art 10")
def offences_need_authority(question: Question) -> Found:
    """Data on offences rests on official authority or a law, and never on consent alone."""
    for entry in question.message.scopes:
        section = SECTION_INDEX.get(entry.section)
        if section is None or section.data_class is not DataClass.CRIMINAL:
            continue
        if entry.processing_basis not in BY_LAW | {"national-law"}:
            yield PolicyRefused, f"{path(entry)}.processing_basis"


@rule("basis.no-consent-in-exceptions", "GDPR Art 7(1)")
def exception_rests_on_no_consent(question: Question) -> Found:
    """Who did not consent, or could not, is no source of consent in law either."""
    if question.message.exception is None:
        return
    for entry in question.message.scopes:
        if entry.processing_basis in CONSENT:
            yield PolicyRefused, f"{path(entry)}.processing_basis"


@rule("basis.transfer", "GDPR Art 44 to 49, Art 49(3); national law of the sender")
def transfer_basis_is_lawful(question: Question) -> Found:
    """A transfer rests on a basis that the law opens to this sender for this recipient today."""
    for entry in question.message.scopes:
        if not transfer_is_lawful(
            entry.transfer_basis,
            question.sender,
            question.recipient,
            on=question.now.date(),
            exception=_exception(question),
        ):
            yield TransferBasis, f"{path(entry)}.transfer_basis"


@rule("basis.host", "GDPR Art 3(1), Art 28(3)(a), Art 44; national law of the host's country")
def host_country_is_asked_too(question: Question) -> Found:
    """Who stands in another's gateway is read there too: the basis holds from and to that country.

    Which kind of organisation it is stays the question of whom the host works for.
    """
    for entry in question.message.scopes:
        for exporter, importer in _further_routes(
            question.sends(), question.receives(), question.sender, question.recipient
        ):
            if not _holds(
                entry.transfer_basis,
                exporter,
                importer,
                on=question.now.date(),
                exception=_exception(question),
            ):
                yield TransferBasis, f"{path(entry)}.transfer_basis"
                break


@rule("basis.own-law", "GDPR Art 5(2), by analogy")
def own_law_is_known(question: Question) -> Found:
    """A sender rests on national law where an act is known, or where the agreement names one.

    An exception needs neither: danger to life does not wait for a parliament.
    """
    sender, view = question.sender, question.agreement
    if question.message.exception is not None or has_own_law(sender.country):
        return
    if sender.kind is OrganisationKind.INTERNATIONAL:
        return  # its own rules on data protection, not its host's
    named = view is not None and any(
        item.sender == sender.id and item.reference for item in view.content.transfer
    )
    for entry in question.message.scopes:
        if "national-law" in (entry.processing_basis, entry.transfer_basis) and not named:
            yield TransferBasis, f"{path(entry)}.transfer_basis"


def _exception(question: Question) -> str | None:
    return None if question.message.exception is None else question.message.exception.code


def _own_law_decides(question: Question) -> bool:
    sender = question.sender
    return not gdpr_applies(sender.country) or sender.kind is OrganisationKind.INTERNATIONAL


def transfer_is_lawful(
    basis: str,
    sender: Participant,
    recipient: Participant,
    *,
    on: date,
    exception: str | None = None,
) -> bool:
    """True if the law opens this transfer basis to this sender for this recipient, that day.

    Args:
        exception: The code of the one under which it goes without consent.
    """
    international = recipient.kind is OrganisationKind.INTERNATIONAL
    if basis == "none-needed":
        if international or sender.kind is OrganisationKind.INTERNATIONAL:
            return False  # GDPR Art 44 counts an international organisation as abroad
        together = gdpr_applies(sender.country) and gdpr_applies(recipient.country)
        return together or sender.country == recipient.country
    if basis == "national-law":
        return not gdpr_applies(sender.country) or sender.kind is OrganisationKind.INTERNATIONAL
    if basis not in CHAPTER_V:
        return False
    if basis == "eu-gdpr:A45-3":
        return is_adequate(recipient.country, on) and not international
    if basis in NOT_FOR_PUBLIC_AUTHORITIES:
        consent_based = basis == "eu-gdpr:A49-1-a"
        if sender.kind is OrganisationKind.STATE:
            return False
        return not (consent_based and exception is not None)
    if basis == OF_VITAL_INTEREST and exception is not None:
        return exception in VITAL
    if basis in BETWEEN_PUBLIC_BODIES:
        return sender.kind in PUBLIC and recipient.kind in PUBLIC
    return True


def _as_host(host: Participant, whose: Participant) -> Participant:
    """Somebody at the place of the host. An international organisation is abroad everywhere."""
    if host.kind is OrganisationKind.INTERNATIONAL:
        return host
    return whose.model_copy(update={"country": host.country})


def _further_routes(
    sends: Sequence[Participant],
    receives: Sequence[Participant],
    sender: Participant,
    recipient: Participant,
) -> list[tuple[Participant, Participant]]:
    """From and to each place where it is handled, but for the one from sender to recipient."""
    return [
        (
            exporter if exporter is sender else _as_host(exporter, sender),
            importer if importer is recipient else _as_host(importer, recipient),
        )
        for exporter in sends
        for importer in receives
        if exporter is not sender or importer is not recipient
    ]


def _holds(
    basis: str, exporter: Participant, importer: Participant, *, on: date, exception: str | None
) -> bool:
    """True if that is no transfer at all, or the basis opens it."""
    return transfer_is_lawful("none-needed", exporter, importer, on=on) or transfer_is_lawful(
        basis, exporter, importer, on=on, exception=exception
    )


def bases_for(
    section: str,
    sender: Participant,
    recipient: Participant,
    agreement: Agreement | None,
    *,
    on: date,
    exception: str | None = None,
    hosts: tuple[Participant | None, Participant | None] = (None, None),
) -> tuple[str, str]:
    """(processing, transfer) bases to propose for one section: the first that the law opens.

    A proposal, not a decision: the worker may choose others, and `decide` judges them alike.

    Args:
        hosts: Of sender and recipient, where they stand in another's gateway.
    """
    sends = tuple(one for one in (sender, hosts[0]) if one is not None)
    receives = tuple(one for one in (recipient, hosts[1]) if one is not None)
    routes = _further_routes(sends, receives, sender, recipient)
    # An international organisation stands under its own rules, wherever it is.
    international = sender.kind is OrganisationKind.INTERNATIONAL
    under_gdpr = gdpr_applies(sender.country) and not international
    processing = _processing_for(section, sender, under_gdpr=under_gdpr, exception=exception)
    named = (
        [item.basis for item in agreement.transfer if item.sender == sender.id]
        if agreement is not None and exception not in VITAL
        else []
    )
    usual = ["none-needed", "eu-gdpr:A45-3", "eu-gdpr:A46-3-b", "national-law"]
    last = "national-law"
    if under_gdpr:
        last = OF_VITAL_INTEREST if exception in {None, *VITAL} else "eu-gdpr:A49-1-d"
    for basis in named or ([last] if exception is not None else usual):
        if transfer_is_lawful(basis, sender, recipient, on=on, exception=exception) and all(
            _holds(basis, *route, on=on, exception=exception) for route in routes
        ):
            return processing, basis
    # Nothing fits: propose what was agreed, or the last resort, and let the rules say so.
    return processing, named[0] if named else last


def _processing_for(
    section: str, sender: Participant, *, under_gdpr: bool, exception: str | None
) -> str:
    entry = SECTION_INDEX.get(section)
    data_class = DataClass.ORDINARY if entry is None else entry.data_class
    special, state = data_class in SPECIAL, sender.kind is OrganisationKind.STATE
    if not under_gdpr:
        return "national-law"
    if data_class is DataClass.CRIMINAL:
        return "eu-gdpr:A6-1-e" if state else "eu-gdpr:A9-2-f"
    if exception in VITAL:
        return "eu-gdpr:A9-2-c" if special else "eu-gdpr:A6-1-d"
    if exception == "legal_obligation":
        return "eu-gdpr:A9-2-g" if special else "eu-gdpr:A6-1-c"
    if exception is not None:  # nobody is identified
        return "eu-gdpr:A9-2-j" if special else "eu-gdpr:A6-1-e" if state else "eu-gdpr:A6-1-f"
    if special:
        return "eu-gdpr:A9-2-a"
    # A public body should not rest on consent alone (recital 43).
    return "eu-gdpr:A6-1-e" if state else "eu-gdpr:A6-1-a"
