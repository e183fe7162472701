"""The root command: names and one line each; everything else is imported when it is called."""

from __future__ import annotations

import sys

import click

from broker.cli.terminal.command import LazyGroup
from broker.cli.terminal.output import Output

_COMMANDS = "broker.cli.commands"
CHAPTERS: dict[str, dict[str, tuple[str, str]]] = {
    "Cases": {
        "send": (f"{_COMMANDS}.cases.send:send", "Send a message, or show what would travel."),
        "inbox": (
            f"{_COMMANDS}.cases.inbox:inbox",
            "List what has come, or with --sent what has gone.",
        ),
        "show": (
            f"{_COMMANDS}.cases.inbox:show",
            "One message, its facts; --open reads the content.",
        ),
        "case": (f"{_COMMANDS}.cases.case:case", "Find a case that came, and print it."),
        "answer": (f"{_COMMANDS}.cases.answer:answer", "Accept, decline, ask, reply, report."),
        "question": (
            f"{_COMMANDS}.cases.question:question",
            "Who is it, and was it filed? Answer.",
        ),
        "transfer": (
            f"{_COMMANDS}.cases.transfer:transfer",
            "Hand a case over, both sides signing.",
        ),
        "deadlines": (
            f"{_COMMANDS}.cases.deadlines:deadlines",
            "Which answers are owed, by whom, until when.",
        ),
    },
    "The person": {
        "consent": (
            f"{_COMMANDS}.person.consent:consent",
            "Record and show what a person agreed to.",
        ),
        "withdraw": (
            f"{_COMMANDS}.person.consent:withdraw",
            "Withdraw or narrow a consent, at once.",
        ),
        "rights": (
            f"{_COMMANDS}.person.rights:rights",
            "Who got what of a person's data, and her copy of it.",
        ),
        "notice": (
            f"{_COMMANDS}.person.notice:notice",
            "What a person is still to be told, and that she was.",
        ),
        "safety": (
            f"{_COMMANDS}.person.safety:safety",
            "Exceptions: one worker proposes, another approves.",
        ),
        "safeguards": (
            f"{_COMMANDS}.person.safeguards:safeguards",
            "What protects a person, and which rule it makes refuse.",
        ),
    },
    "Who is who": {
        "find": (
            f"{_COMMANDS}.trust.find:find",
            "Whom to call in a country: for anybody, no account.",
        ),
        "participants": (
            f"{_COMMANDS}.trust.participants:participants",
            "Who can be reached, and what they can take.",
        ),
        "countries": (f"{_COMMANDS}.trust.countries:countries", "What is known of each country."),
        "agreement": (
            f"{_COMMANDS}.trust.agreement:agreement",
            "Agreements: who may send what to whom.",
        ),
        "directory": (f"{_COMMANDS}.trust.directory:directory", "The trust directory: who is who."),
        "keys": (f"{_COMMANDS}.trust.keys:keys", "Make and show a participant's keys."),
    },
    "Evidence": {
        "log": (f"{_COMMANDS}.evidence.log:log", "Prove and verify; works offline."),
        "statistics": (
            f"{_COMMANDS}.evidence.statistics:statistics",
            "Counts in which nobody can be found.",
        ),
    },
    "Running": {
        "gateway": (
            f"{_COMMANDS}.running.gateway:gateway",
            "Set up, run and check a participant's gateway.",
        ),
        "hub": (f"{_COMMANDS}.running.hub:hub", "Set up, run and check a hub."),
        "doctor": (f"{_COMMANDS}.running.doctor:doctor", "Find out what is wrong."),
    },
    "Trying and learning": {
        "demo": (
            f"{_COMMANDS}.trying.demo:demo",
            "Two countries, an NGO and a hub on this machine.",
        ),
        "sandbox": (
            f"{_COMMANDS}.trying.sandbox:sandbox",
            "A partner country that answers by script.",
        ),
        "conform": (
            f"{_COMMANDS}.trying.conform:conform",
            "Try every promise of the port on an adapter.",
        ),
        "catalogue": (
            f"{_COMMANDS}.trying.catalogue:catalogue",
            "The message types and what they carry.",
        ),
    },
}


@click.group(
    cls=LazyGroup,
    chapters=CHAPTERS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="referral-broker", prog_name="referral")
@click.pass_context
def referral(ctx: click.Context) -> None:
    """Signed, consent-tagged, sealed referrals between national referral mechanisms.

    Results go to standard output, everything else to standard error.
    Exit codes: 0 done, 1 failed, 2 usage, 3 verification failed, 4 not found,
    5 refused by consent or policy, 6 cannot reach, 7 partly done.
    """
    if ctx.obj is None:
        ctx.obj = Output()
    # Names in any script must leave whole, whatever the locale of the machine says.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
