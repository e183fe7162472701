"""What each alarm of a gateway means, and what the person who sees it does.

The table in `docs/operations/README.md` is written from this one; hence the marks around what is typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Alarm:
    """One code."""

    happened: str
    do: str
    clears: bool = False
    """It goes out by itself when what was missing comes."""


ALARMS: Final[Mapping[str, Alarm]] = MappingProxyType(
    {
        "receipt-missing": Alarm(
            "no *delivered* in time: 15 minutes, 4 hours, a day, by urgency",
            "telephone the partner. Do not send again: it is under way",
            clears=True,
        ),
        "filing-overdue": Alarm(
            "delivered a day ago, and not in the partner's case system yet",
            "telephone the partner: its case system may be down, or a person there must look",
            clears=True,
        ),
        "answer-due": Alarm(
            "four fifths of the time for an answer are gone: the partner's to us, or ours "
            "to it (`referral deadlines` says which)",
            "answer, or remind the partner",
            clears=True,
        ),
        "answer-overdue": Alarm(
            "no answer by the deadline, for the deputy (`deadlines.deputy` in the "
            "settings). We have signed that none came",
            "telephone the partner",
            clears=True,
        ),
        "answer-owed": Alarm(
            "we have not answered by the deadline, for the deputy",
            "answer; decline or ask, if there is nothing to answer yet",
            clears=True,
        ),
        "arrival-missing": Alarm(
            "a person left, or was to leave, and a day after the planned arrival nobody has "
            "said that she was received. If she left, both sides' exchanges are then in "
            "`missing_alert`",
            "telephone the partner and the person's safe contact; `missing.alert` if she is "
            "not found: `referral deadlines --draft MESSAGE` has it begun",
            clears=True,
        ),
        "recalled": Alarm(
            "the sender says that it was sent in error: it is destroyed here, in the case "
            "system and further on, and attested",
            "destroy what was printed or saved",
        ),
        "undelivered": Alarm(
            "the hub has no receipt either",
            "the same; its gateway may be down",
            clears=True,
        ),
        "refused": Alarm(
            "hub or partner refused it; the message has the code",
            "`referral show MESSAGE`; correct, and send anew",
        ),
        "stopped": Alarm(
            "consent, agreement or a key ended before it was handed over",
            "nothing, if the person withdrew",
        ),
        "expired": Alarm(
            "it was not sent, or not fetched, in its life: it counts as not said",
            "telephone; send anew",
        ),
        "send-failed": Alarm(
            "no word from the hub for three days. Shown as `unknown` until the hub could be "
            "asked whether it has it",
            "repair, then `referral gateway replay MESSAGE`: the same bytes",
            clears=True,
        ),
        "stream-gap": Alarm(
            "the hub says that something came to us that is not here, or waits far too long",
            "restored backup? `referral gateway restored`; else ask the sender to send it anew",
            clears=True,
        ),
        "stream-suppressed": Alarm(
            "the sender has signed that a number of its stream was accepted, and the hub "
            "does not name it: partner, lane and number",
            "telephone the sender: its message may have been kept from you. If the hub has "
            "not just been restored from a backup, ask its operator for an explanation in "
            "writing",
        ),
        "unretrieved": Alarm(
            "the partner has it, and neither filed nor opened it in time",
            "telephone the partner",
            clears=True,
        ),
        "failed": Alarm(
            "the partner's case system would not take it",
            "telephone the partner: they have it and could not file it",
        ),
        "filing-late": Alarm(
            "our case system does not answer",
            "repair it; it is tried on for ever",
        ),
        "case-system-gaps": Alarm(
            "a case was filed, but the case system has no place for some fields; the sender "
            "was told which",
            "read the rest in the gateway",
        ),
        "case-system-decision": Alarm(
            "a decision in the case system names no referral here, more than one, or cannot "
            "be said as it is (`code`)",
            "look it up in the case system, answer in the gateway",
        ),
        "case-system-not-told": Alarm(
            "the case system did not take a partner's answer",
            "read the answer in the gateway, enter it by hand",
        ),
        "notification-failed": Alarm(
            "mail to our workers could not go: no STARTTLS, another certificate, not reached",
            "repair the mail server or `[notify.mail]`; nothing was sent in the clear",
            clears=True,
        ),
        "filing-failed": Alarm(
            "our case system refused it, or has no place for a field",
            "open the message, file it by hand; tell the adapter's author",
        ),
        "outcome-unknown": Alarm(
            "our case system may or may not have filed it",
            "look in it, by the business id; then `referral question answer MESSAGE filed "
            "--record …`, or `not-filed`",
        ),
        "person-unclear": Alarm(
            "the case system knows people who may be the same; nothing was filed",
            "`referral question list`, look at the records, `referral question answer "
            "MESSAGE same --record …`, or `another`",
        ),
        "id-conflict": Alarm(
            "an id was used before with other bytes",
            "two gateways on one identity? A restored backup? `docs/operations/restore.md`",
        ),
        "quarantined": Alarm(
            "something is not what it claims to be",
            "`referral inbox --quarantine`; tell the hub's operator; it may be an attack",
        ),
        "unsigned-refusal": Alarm(
            "the hub refused without a signature",
            "a key that the hub does not know: compare directory versions",
            clears=True,
        ),
        "receipt-refused": Alarm(
            "the hub would not take a receipt of ours",
            "report it; the sender still waits",
        ),
        "evidence-unknown": Alarm(
            "somebody states facts about what we never sent, or other bytes",
            "keep the database; tell the hub's operator",
        ),
        "evidence-contradicts": Alarm(
            "somebody states facts about what we never sent, or other bytes",
            "keep the database; tell the hub's operator",
        ),
        "key-ending": Alarm(
            "one of our keys ends in 60, 30 or 7 days and has no successor in the directory",
            "`docs/operations/rotation.md`",
            clears=True,
        ),
        "key-compromised": Alarm(
            "somebody said that a key is in other hands, ours or a partner's; nothing "
            "passes under it any more",
            "`docs/operations/compromise.md`",
        ),
        "grant-refused": Alarm(
            "the hub would not register a consent; nothing travels under it",
            "the code in the log; record it anew",
        ),
        "erasure-late": Alarm(
            "a withdrawal could not be carried out here in time",
            "repair vault or case system now",
        ),
        "erasure-by-hand": Alarm(
            "our case system cannot erase, or keeps on a ground that is none of the law's",
            "erase it there by hand",
        ),
        "erasure-unattested": Alarm(
            "for three days somebody who holds a copy because of us has not said that it is "
            "erased: the partner, its case system, or one further on",
            "`GET /v1/erasures/{about}` says who; telephone",
            clears=True,
        ),
        "onward-unreachable": Alarm(
            "what we passed on is to be erased, and who has it is not in the directory any more",
            "reach them by telephone or post; it is the id of the referral or of the consent",
        ),
        "exception-received": Alarm(
            "a partner sent without consent, under an exception",
            "read it; it must be reviewed",
        ),
        "consent-majority-near": Alarm(
            "a child comes of age within 30 days; what her guardian agreed to ends then",
            "ask her own consent now",
        ),
        "consent-majority": Alarm(
            "she is of age: what her guardian agreed to has ended, and its recipient was "
            "told (`consent.majority`)",
            "ask her own consent, and record it anew",
        ),
        "safeguards-review": Alarm(
            "something that protects a person may have ended: it was said long ago, or its "
            "day is over. Which, only workers who may know are told",
            "one of them looks (`referral safeguards show CASE`) and says it again, or otherwise",
        ),
        "statistics-due": Alarm(
            "a quarter is over for a week, persons are counted in it, and it is not "
            "published; it goes out when it is",
            "`referral statistics publish`, if your office publishes",
            clears=True,
        ),
        "exception-untold": Alarm(
            "the day is over by which a person was to be told of an exception",
            "tell her, then `referral safety told`",
        ),
        "exception-review": Alarm(
            "an exception of ours is due for review",
            "review it",
        ),
        "attachment-failed": Alarm(
            "a file could not be fetched",
            "ask the sender to send it again",
        ),
        "clock-skew": Alarm(
            "our clock and the hub's are more than a minute apart. Ten minutes are "
            "tolerated; then nothing that we sign is accepted",
            "NTP on this machine; `gateway_hub_clock_ahead_seconds`. If ours is right, tell "
            "the hub's operator",
            clears=True,
        ),
        "partner-clock": Alarm(
            "what a partner signed is more than a minute ahead of our clock",
            "tell its operator, unless `clock-skew` says that it is ours",
            clears=True,
        ),
        "log-inconsistent": Alarm(
            "the hub's log has shrunk, or shows another history than the one that we "
            "signed; it is witnessed no more",
            "`docs/operations/split-log.md`",
        ),
        "log-not-witnessed": Alarm(
            "the hub's log could not be followed for ten minutes",
            "the hub is down, or its log key changed in the directory",
        ),
        "attachment-suspect": Alarm(
            "a file is not what its name says, or does not open",
            "the same, and tell the hub's operator",
        ),
    }
)


NEWER: Final = Alarm("-", "docs/operations/README.md#alarms")


def explained(row: Mapping[str, Any]) -> dict[str, Any]:
    """An alarm as the gateway lists it, with what it means. A newer gateway may raise one that is not
    known here."""
    known = ALARMS.get(str(row["code"]), NEWER)
    return {**row, "happened": _plain(known.happened), "do": _plain(known.do)}


def _plain(text: str) -> str:
    return text.replace("`", "")
