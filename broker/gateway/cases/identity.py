"""Who it is, in two steps: the case system finds who may be the same person, and a worker says it.

Certain, and asked of nobody, is only what was said before: the same referral (its business id), and
the same sender's case of the same number, unless the two contradict each other. Everything else
waits. A record that is there is never changed by a referral: a case whose person is known is filed
beside it, with a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.base import Candidate, Declined, Filed, Match, Memory, NationalSystem, Skill
from adapters.likeness import contradict
from broker.gateway.core import ToFile
from schemas.errors import BrokerError

NO_SUCH_PERSON = Declined("no-such-person")


@dataclass(frozen=True, slots=True)
class Known:
    """What was said of one message so far."""

    same_as: str | None = None
    """A worker: she is this one."""
    others: frozenset[str] = frozenset()
    """A worker: she is none of these."""
    earlier: str | None = None
    """Where an earlier case of this sender and this number lies."""
    filed_as: str | None = None
    """A worker: the attempt without an answer did file it, here."""


NOTHING = Known()


@dataclass(frozen=True, slots=True)
class WhoIsIt:
    """It may be one of these, and only a worker can say so. Nothing was filed."""

    candidates: tuple[Candidate, ...]


def can_ask(system: NationalSystem) -> bool:
    """False where people cannot be searched for. Who can search can look up: otherwise what an
    attempt without an answer has filed would be taken for somebody else's record."""
    return Skill.CANDIDATES in system.skills and system.memory is Memory.LOOKUP


def identify_and_file(system: NationalSystem, item: ToFile, known: Known) -> object:
    """An outcome, an error, or `WhoIsIt`. Blocks; repeating it files nothing twice."""
    if known.filed_as is not None:
        # Before the system is asked: it may be what could not say.
        return Filed(known.filed_as, already=True)
    try:
        return system.find(item.business_id) or _file(system, item, known)
    except BrokerError as error:
        return error


def _file(system: NationalSystem, item: ToFile, known: Known) -> object:
    case, same_as = item.case, known.same_as
    if same_as is None and known.earlier is not None and known.earlier not in known.others:
        there = system.read(known.earlier)
        if there is not None and contradict(case.sections, there.sections):
            return WhoIsIt((Candidate(known.earlier, Match.CASE),))
        same_as = None if there is None else known.earlier
    if same_as is None:
        left = _not_yet_looked_at(system.candidates(case), known)
        return WhoIsIt(left) if left else system.file(item.business_id, case)
    outcome = system.file(item.business_id, replace(case, same_as=same_as))
    if outcome == NO_SUCH_PERSON:
        # Gone since, or never there: who said so is asked again, if she is the only one left.
        return WhoIsIt(_not_yet_looked_at(system.candidates(case), known))
    return outcome


def _not_yet_looked_at(found: Sequence[Candidate], known: Known) -> tuple[Candidate, ...]:
    return tuple(one for one in found if one.reference not in known.others)
