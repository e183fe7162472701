"""How a command ends: exit codes, and errors as a sentence with the next step.

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the command was written wrongly |
| 3 | a verification failed |
| 4 | not found |
| 5 | refused by consent or policy |
| 6 | something cannot be reached |
| 7 | partly done |
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

import click

from schemas.errors import (
    BrokerError,
    CustodyLocked,
    DirectoryRefused,
    KeyRevoked,
    KeyUnknown,
    NotFound,
    PolicyRefused,
    RecipientUnknown,
    Refused,
    Suspect,
    Unavailable,
    codes,
)

_Error = TypeVar("_Error", bound=BrokerError)


class Exit(IntEnum):
    """Exit codes of every `referral` command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    VERIFICATION = 3
    NOT_FOUND = 4
    POLICY = 5
    UNREACHABLE = 6
    PARTLY = 7


NEXT_STEP = {
    "refused": "see what is wrong: referral doctor --home HOME",
    "unavailable": "see what is wrong: referral doctor --home HOME; then do the same again",
    "suspect": "leave it closed and tell the hub's operator: referral inbox --quarantine",
    # The form
    "malformed-json": "correct the JSON; each member may stand once",
    "schema": "correct what is named; what a message's fields take: referral catalogue TYPE",
    "too-large": "send less at once: files as attachments, a long file case by case",
    "truncated": "do the same again",
    "version": "one side runs an older program: telephone its operator",
    "suite": "which suites it reads: referral participants; telephone its operator",
    "unknown-type": "see the types: referral catalogue",
    "unknown-code": "see the codes: referral catalogue TYPE",
    "not-permitted": "see where the exchange stands: referral show THREAD --thread",
    "id-conflict": "two gateways on one identity, or a restored backup: docs/operations/restore.md",
    "not-found": "ids are in referral inbox, referral inbox --sent and referral consent list",
    # Who
    "unauthenticated": "make a token: referral gateway worker add NAME --home HOME",
    "forbidden": "who may do this is in docs/command-line.md; do it from that home, as that worker",
    "key-unknown": "see whether the directory here is the newest: referral doctor --home HOME",
    "key-revoked": "sign with a key that counts: docs/operations/compromise.md",
    "recipient-unknown": "see who is enrolled: referral directory show",
    "directory": "this machine's clock first; then: docs/operations/ceremony.md",
    "directory-expired": "its keepers sign anew: docs/operations/ceremony.md",
    "directory-frozen": "this machine's clock first; then: docs/operations/ceremony.md",
    "directory-rollback": "tell the directory's keepers: docs/operations/ceremony.md",
    "directory-mismatch": "do the same again; if it stays, tell its keepers: docs/operations/ceremony.md",
    "directory-signature": "tell the directory's keepers: docs/operations/ceremony.md",
    "directory-scope": "tell the directory's keepers: docs/operations/ceremony.md",
    "directory-moved": "plan the change again: referral directory plan --help",
    "second-incarnation": "stop the other gateway of this participant, wherever it runs",
    # When
    "expired": "say it anew: referral send --replaces MESSAGE",
    "from-the-future": "compare this machine's clock with another: date -u; set it by NTP",
    "stream-number": "a restored backup or a copy of this gateway: docs/operations/restore.md",
    # Consent and law
    "policy": "which rule it is, for a worker with the right to know: referral safeguards why --help",
    "use-restricted": "she contests it. Once that is settled: referral rights ask lift CASE",
    "consent-missing": "record one: referral consent record --help",
    "consent-scope": "see what the grant covers: referral consent show GRANT",
    "consent-expired": "ask the person again, then: referral consent record --help",
    "consent-withdrawn": "nothing may be sent under it; a new decision of the person is a new grant",
    "consent-recipient": "a grant is for one recipient: referral consent list, or record another",
    "consent-stale": "wait until the hub was asked whether she withdrew: referral doctor --home HOME",
    "grant-widened": "record what she agrees to now as a new grant: referral consent record --help",
    "no-agreement": "see what is in force: referral agreement list; then do the same again",
    "transfer-basis": "see the agreement's legal basis: referral agreement list --json",
    "exception": "a second worker decides: referral safety approve EXCEPTION --worker OTHER",
    "child": "record what guardian and child say: referral consent record --help",
    "rate-limited": "wait a minute, then do the same again",
    # Not now
    "log-unavailable": "for who runs it, the disk first: docs/operations/README.md#readiness",
    "log-set-back": "for who runs the hub: docs/operations/restore.md",
    "storage-unavailable": "for who runs it, the disk, the database, a second process: referral doctor --home HOME",
    "queue-unavailable": "for who runs the hub: is RabbitMQ up? What waits is safe at the hub",
    "hub-unreachable": "see what is wrong: referral doctor --home HOME",
    "custody-locked": "give the passphrase: --passphrase-file FILE (or - for standard input)",
    "key-not-yet-valid": "compare this machine's clock with another: date -u; it is tried again by itself",
    "case-system-unavailable": "nothing is lost: it is tried again. Is your case system up?",
    "outcome-unknown": "look in the case system, then: referral question list",
    # Not what it claims to be
    "bad-signature": "leave it closed and tell the hub's operator: referral inbox --quarantine",
    "cannot-open": "leave it closed and tell the hub's operator: referral inbox --quarantine",
    "scope-mismatch": "leave it closed and tell the hub's operator: referral inbox --quarantine",
    "log-inconsistent": "keep both heads and tell the other countries: docs/operations/split-log.md",
    "vault-tampered": "stop the gateway, keep its disk as it is: docs/operations/compromise.md",
}
"""What a person can do about an error, by its code. Every code of the protocol has an entry."""


WHO = NEXT_STEP["recipient-unknown"]


class PartlyDone(click.ClickException):
    """Some of what was asked is done and some is not; the result says which."""

    exit_code = Exit.PARTLY


class VerificationFailed(click.ClickException):
    """What was to be proven is not."""

    exit_code = Exit.VERIFICATION


def exit_code(error: BrokerError) -> Exit:
    """The exit code for an error of the protocol, by what its reader can do about it."""
    if isinstance(error, PolicyRefused):
        return Exit.POLICY
    if isinstance(error, NotFound | RecipientUnknown):
        return Exit.NOT_FOUND
    if isinstance(error, Suspect | DirectoryRefused | KeyUnknown | KeyRevoked):
        return Exit.VERIFICATION
    if isinstance(error, Unavailable) and not isinstance(error, CustodyLocked):
        return Exit.UNREACHABLE
    return Exit.FAILED


def error_named(
    code: str, *, family: str = "", detail: str = "", where: tuple[str, ...] = ()
) -> BrokerError:
    """Build again the error that a process answered as a problem document.

    A code from a newer process than this program becomes an error of its family, so that the exit
    code is still right.
    """
    families: dict[str, type[BrokerError]] = {
        "refused": Refused,
        "unavailable": Unavailable,
        "suspect": Suspect,
    }
    kind = codes().get(code)
    if kind is not None:
        return kind(detail, where=where)
    return families.get(family, Refused)(f"{code} {detail}".strip(), where=where)


def sentence(error: BrokerError) -> str:
    """What happened, why, and what to do next, for a person at a terminal."""
    family = "" if error.code == error.family else f"{error.family}: "
    return f"{family}{error.describe()}\nnext: {_next(error)}"


def as_json(error: BrokerError) -> dict[str, object]:
    """The same for a script."""
    return {
        "error": {
            "code": error.code,
            "family": error.family,
            "detail": error.detail or (type(error).__doc__ or "").splitlines()[0],
            "where": list(error.where),
            "next": _next(error),
        }
    }


def advised(error: _Error, step: str) -> _Error:
    """An error with a next step of its own, where a command knows better than the error's code."""
    error.add_note(step)
    return error


def _next(error: BrokerError) -> str:
    notes: list[str] = getattr(error, "__notes__", [])
    if notes:
        return notes[-1]
    # A newer process may say a code that this program does not know: its family then.
    return NEXT_STEP.get(error.code) or NEXT_STEP[error.family]
