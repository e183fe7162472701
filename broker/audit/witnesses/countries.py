"""Who witnesses a hub's log: the countries of the trust directory, each with one vote.

A participant's gateway signs with the key of its own log (`log_vkey`), in the dated form. Several
participants of one country are one group of which any counts, so that no country has two votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker.audit.log.note import Verifier
from broker.audit.proofs.policy import Policy
from schemas.directory import OrganisationKind, Participant
from schemas.errors import SchemaRefused

QUORUM = "countries"


def witness_key(entry: Participant) -> Verifier | None:
    """The key that a participant cosigns with; None if it does not witness."""
    if entry.log_vkey is None or entry.suspended or entry.kind is OrganisationKind.HUB:
        return None
    try:
        return Verifier.from_text(entry.log_vkey).dated()
    except SchemaRefused:
        return None  # one country's mistake must not take the log from the others


def policy_of(
    participants: Iterable[Participant],
    *,
    logs: Sequence[Verifier],
    needed: int | None = None,
    independent: Sequence[Verifier] = (),
) -> Policy:
    """Any `needed` of the countries and of the independent witnesses.

    Args:
        needed: Default: more than half, so that two heads which are both witnessed have a witness
            in common. At most all; none if there is nobody to ask.
        independent: Witnesses that stand for no country; one vote each.
    """
    witnesses: dict[str, Verifier] = {}
    groups: dict[str, tuple[int, tuple[str, ...]]] = {}
    seen: set[bytes] = set()
    countries: dict[str, list[str]] = {}
    for entry in sorted(participants, key=lambda entry: entry.id):
        key = witness_key(entry)
        if key is not None and key.public not in seen:
            seen.add(key.public)
            witnesses[entry.id] = key
            countries.setdefault(f"country-{entry.country}", []).append(entry.id)
    voters = sorted(countries)
    for name in voters:
        groups[name] = (1, tuple(countries[name]))
    for key in independent:
        if key.public not in seen and key.name not in witnesses:
            seen.add(key.public)
            witnesses[key.name] = key
            voters.append(key.name)
    if not voters:
        return Policy(tuple(logs))
    wanted = len(voters) // 2 + 1 if needed is None else min(needed, len(voters))
    if wanted == 0:
        return Policy(tuple(logs), witnesses, groups)
    groups[QUORUM] = (wanted, tuple(voters))
    return Policy(tuple(logs), witnesses, groups, QUORUM)
