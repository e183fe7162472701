"""What the content decides: consent, agreement, law and the hard rules, inside the seal.

The sender's gateway asks before it seals (`send`), the recipient's when the envelope has been
unsealed (`deliver`) and again before a worker sees it (`open`). The rules are data: `RULES`, in
the order in which their codes are reported, each with a stable id and the article it stands on.
Each takes the whole question and yields what it refuses. One more rule can only refuse more.

Three assertions are kept apart for each section: the person's *protection consent*
(`consent`), the *processing basis* (GDPR Art 6, 9 and 10, or national law) and the *transfer
basis* (GDPR chapter V, or national law), both in `bases`. All three must stand.

A refusal names a code and a section. It never says why a person is protected from a recipient:
the silent rules answer `policy`, with no path at all, and no error, log or timing tells which of
them it was. Who may know the case's safeguards looks there.

The reading order: `question`, `who`, `what`, `reduced`, `consent`, `family`, `travel`, `exceptions`, `bases`,
`agreement`, `decision`.
"""

from __future__ import annotations

from broker.rules.content.bases import bases_for, transfer_is_lawful
from broker.rules.content.decision import RULES, Decision, Refusal, decide
from broker.rules.content.exclusions import Exclusions, is_exclusion
from broker.rules.content.question import (
    AgreementView,
    GrantView,
    Moment,
    Person,
    Question,
    Rule,
)
from broker.rules.content.reduced import fitting

__all__ = [
    "RULES",
    "AgreementView",
    "Decision",
    "Exclusions",
    "GrantView",
    "Moment",
    "Person",
    "Question",
    "Refusal",
    "Rule",
    "bases_for",
    "decide",
    "fitting",
    "is_exclusion",
    "transfer_is_lawful",
]
