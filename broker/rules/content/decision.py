"""All rules together. Whatever one refuses, no other can allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.rules.content import (
    agreement,
    bases,
    consent,
    exceptions,
    family,
    reduced,
    travel,
    what,
    who,
)
from broker.rules.content.question import Question, Rule
from schemas.errors import BrokerError, codes

RULES: tuple[Rule, ...] = (
    who.sender_may_say_it,
    who.nobody_excluded,
    who.origin_learns_no_protection_claim,
    who.origin_learns_of_no_protection,
    who.it_goes_the_way_of_the_person,
    what.sections_belong_to_type,
    who.compartments_are_kept_apart,
    who.suspects_are_told_to_authorities,
    who.intimate_health_is_not_for_police,
    who.help_does_not_learn_of_refusal,
    who.origin_learns_of_stay_only_if_asked,
    consent.consent_is_there,
    consent.consent_is_between_these_two,
    consent.consent_stands,
    consent.consent_is_current,
    consent.one_record_is_one_consent,
    what.every_section_is_asserted,
    what.purposes_belong_to_type,
    consent.consent_covers_every_section,
    consent.guardian_speaks_for_a_child_only,
    consent.child_has_two_voices,
    consent.child_is_sent_with_its_guardian,
    family.each_adult_relative_agrees,
    family.family_flags_stop_tracing,
    family.excluded_relatives_are_left_alone,
    what.services_need_no_history,
    what.counting_is_opted_into,
    what.bank_data_goes_to_who_pays,
    what.narratives_are_read_first,
    reduced.no_more_than_its_view,
    what.shelter_stays_in_its_country,
    travel.recovery_comes_first,
    travel.risk_was_assessed,
    exceptions.exception_is_allowed,
    exceptions.law_that_is_named_binds,
    exceptions.exception_has_two_workers,
    exceptions.exception_will_be_reviewed,
    exceptions.person_is_told_afterwards,
    exceptions.exception_opens_the_least,
    bases.processing_basis_is_explicit,
    bases.offences_need_authority,
    bases.exception_rests_on_no_consent,
    bases.transfer_basis_is_lawful,
    bases.host_country_is_asked_too,
    bases.own_law_is_known,
    agreement.agreement_is_in_force,
    agreement.agreement_names_it,
    agreement.agreement_names_the_transfer_basis,
)
"""In the order in which their codes are reported."""


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """One reason: its code, where in the message, and the rule behind it.

    The rule is for whoever may know the case's safeguards; it is in no error, log or answer.
    """

    code: str
    where: str
    """Empty if it would say too much."""
    rule: str


@dataclass(frozen=True, slots=True)
class Decision:
    """All reasons to refuse, in the order of the rules; none lets it pass."""

    refusals: tuple[Refusal, ...]

    @property
    def allowed(self) -> bool:
        """True if no rule refuses."""
        return not self.refusals

    @property
    def codes(self) -> tuple[str, ...]:
        """Each code once, the deciding one first."""
        return tuple(dict.fromkeys(refusal.code for refusal in self.refusals))

    @property
    def rules(self) -> tuple[str, ...]:
        """Each rule that refuses, once."""
        return tuple(dict.fromkeys(refusal.rule for refusal in self.refusals))

    def about(self, section: str) -> Decision:
        """What this says of one section: its own refusals, and those of the message as a whole."""
        return Decision(
            tuple(
                refusal
                for refusal in self.refusals
                if section in (parts := refusal.where.split("."))
                or not {"sections", "scopes"} & set(parts)
            )
        )

    def error(self) -> BrokerError:
        """What to answer with: the first code decides; its paths say where.

        A silent refusal stands alone: no path of another one beside it.

        Raises:
            ValueError: Nothing refuses.
        """
        if not self.refusals:
            raise ValueError("nothing to refuse")
        first = self.refusals[0]
        if not first.where:
            return codes()[first.code]()
        where = (r.where for r in self.refusals if r.code == first.code and r.where)
        return codes()[first.code](where=tuple(dict.fromkeys(where))[:20])

    def raise_if_refused(self) -> None:
        """Raise the error that decides, if there is one."""
        if self.refusals:
            raise self.error()


def decide(question: Question, rules: Sequence[Rule] = RULES) -> Decision:
    """Ask every rule, always: how long it takes does not tell which one refused."""
    found = (
        Refusal(error.code, where, rule.id) for rule in rules for error, where in rule(question)
    )
    return Decision(tuple(dict.fromkeys(found)))
