"""What may be in it: sections of the type, and parts of sections that no consent lets out."""

from __future__ import annotations

from broker.rules.content.question import Found, Question, known, path, rule
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.errors import ConsentScope, NotPermitted, PolicyRefused
from schemas.sections.index import SECTION_INDEX, HardRule

SHELTER_FIELDS = frozenset({"shelter_name", "shelter_address"})


@rule("what.sections", "message catalogue: sections; GDPR Art 5(1)(c)")
def sections_belong_to_type(question: Question) -> Found:
    """A type carries the sections that the catalogue names, and none that nobody knows."""
    for section in sorted(question.carried()):
        if section not in SECTION_INDEX:
            yield NotPermitted, "sections.?"
        elif not question.type.permits(section):
            yield NotPermitted, f"sections.{section}"


@rule("what.asserted", "GDPR Art 5(1)(b), 5(2)")
def every_section_is_asserted(question: Question) -> Found:
    """Each section or file has a purpose and its bases."""
    for section in known(question.carried()):
        if not question.entries(section):
            yield ConsentScope, f"sections.{section}"


@rule("what.purposes", "GDPR Art 5(1)(b)")
def purposes_belong_to_type(question: Question) -> Found:
    """A type serves the purposes that the catalogue names: to refer is not to transfer."""
    allowed = question.type.purposes
    if allowed is not None:
        for entry in question.message.scopes:
            if entry.purpose not in allowed:
                yield ConsentScope, path(entry)


@rule("what.not-for-services", "GDPR Art 5(1)(c)", HardRule.NOT_FOR_SERVICES)
def services_need_no_history(question: Question) -> Found:
    """What was done to a person does not travel for a service."""
    for section in question.carried_under(HardRule.NOT_FOR_SERVICES):
        if Purpose.SERVICE_REFERRAL in question.purposes(section):
            yield PolicyRefused, f"sections.{section}"


@rule("what.opt-in", "GDPR Art 89", HardRule.OPT_IN)
def counting_is_opted_into(question: Question) -> Found:
    """What is for statistics travels for statistics, and for nothing else."""
    for section in question.carried_under(HardRule.OPT_IN):
        if question.purposes(section) - {Purpose.STATISTICS}:
            yield PolicyRefused, f"sections.{section}"


@rule("what.bank-data", "GDPR Art 5(1)(c)", HardRule.BANK_DATA_TO_PAYER)
def bank_data_goes_to_who_pays(question: Question) -> Found:
    """Where money goes is told for compensation alone."""
    for section in question.carried_under(HardRule.BANK_DATA_TO_PAYER):
        elsewhere = question.purposes(section) - {Purpose.COMPENSATION}
        if "payout" in question.content(section) and elsewhere:
            yield PolicyRefused, f"sections.{section}.payout"


@rule(
    "what.redacted",
    "GDPR Art 5(1)(c); Art 25",
    HardRule.REDACTED_FIRST,
    HardRule.NEVER_FORWARDED_BY_ITSELF,
)
def narratives_are_read_first(question: Question) -> Found:
    """A narrative travels once a worker has redacted it, for this message or the one before."""
    for section in question.carried_under(HardRule.REDACTED_FIRST):
        content = question.content(section)
        if content and content.get("redacted") is not True:
            yield PolicyRefused, f"sections.{section}.redacted"


@rule("what.shelter", "CETS 197, Art 12(2); safety", HardRule.SHELTER_STAYS)
def shelter_stays_in_its_country(question: Question) -> Found:
    """A shelter's name and address leave its country in travel notices and in safety alone."""
    may = question.type.kind is Kind.SAFETY or question.type.tells_shelter
    for section in question.carried_under(HardRule.SHELTER_STAYS):
        told = sorted(SHELTER_FIELDS & question.content(section).keys())
        if told and question.crosses_border() and not may:
            for name in told:
                yield PolicyRefused, f"sections.{section}.{name}"
