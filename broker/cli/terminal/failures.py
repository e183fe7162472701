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
    "consent-missing": "record one: referral consent record --help",
    "consent-scope": "see what the grant covers: referral consent show GRANT",
    "consent-expired": "ask the person again, then: referral consent record --help",
    "consent-withdrawn": "nothing may be sent under it; a new decision of the person is a new grant",
    "no-agreement": "see what is in force: referral agreement list; then do the same again",
    "hub-unreachable": "see what is wrong: referral doctor --home HOME",
    "recipient-unknown": "see who is enrolled: referral directory show",
    "exception": "a second worker decides: referral safety approve EXCEPTION --worker OTHER",
    "unauthenticated": "make a token: referral gateway worker add NAME --home HOME",
    "custody-locked": "give the passphrase: --passphrase-file FILE (or - for standard input)",
}


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
    text = f"{error.family}: {error.describe()}"
    step = NEXT_STEP.get(error.code)
    return f"{text}\nnext: {step}" if step else text


def as_json(error: BrokerError) -> dict[str, object]:
    """The same for a script."""
    return {
        "error": {
            "code": error.code,
            "family": error.family,
            "detail": error.detail or (type(error).__doc__ or "").splitlines()[0],
            "where": list(error.where),
        }
    }
