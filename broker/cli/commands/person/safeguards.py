"""`referral safeguards`: what protects a person, for workers who may know."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.drafting import ours_option, read_object
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current


@click.group(cls=ReferralGroup)
def safeguards() -> None:
    """Write down what protects a person; it refuses what would harm her, and says why to nobody.

    The worker needs the right to know: referral gateway worker add NAME --may-know.
    """


@safeguards.command("set")
@with_gateway
@click.argument("case")
@click.option("--origin", metavar="CC", help="Country of origin.")
@click.option("--claim/--no-claim", "protection_claim", default=None, help="Protection is sought.")
@click.option("--fears", multiple=True, metavar="CC", help="Authorities that she fears.")
@click.option("--recovery-until", metavar="DAY", help="Last day of recovery and reflection.")
@click.option(
    "--go-on/--wait", "asked_to_go_on", default=None, help="She asked to go on before that day."
)
@click.option("--family-must-not-know/--family-may-know", default=None)
@click.option("--family-suspected/--family-trusted", default=None)
@click.option(
    "--relative", multiple=True, metavar="RELATION=given|refused|withdrawn", help="Their own word."
)
@click.option(
    "--suspected", multiple=True, metavar="RELATION", help="One of them had a part in it."
)
@click.option("--must-not-know", multiple=True, metavar="RELATION", help="One of them alone.")
@click.option("--contact-by", metavar="WAY", help="The one way of reaching her that is safe.")
@click.option("--contact-never-by", multiple=True, metavar="WAY")
@click.option("--contact-hours", metavar="09:00-17:00", help="By the clock of this machine.")
@click.option("--assessed-until", metavar="DAY", help="Last day of the joint risk assessment.")
@click.option("--born", metavar="DATE", help="As exactly as it is known: 2009-04-17, 2009-XX.")
@click.option("--presumed-child/--adult", "presumed_child", default=None)
@click.option("--guardian-until", metavar="DAY", help="Else reckoned from the birth date.")
@click.option("--forget", multiple=True, metavar="NAME", help="Take back what was said of NAME.")
@ours_option
def set_(
    api: LocalApi,
    case: str,
    ours: bool,
    fears: tuple[str, ...],
    relative: tuple[str, ...],
    suspected: tuple[str, ...],
    must_not_know: tuple[str, ...],
    contact_never_by: tuple[str, ...],
    forget: tuple[str, ...],
    **said: Any,
) -> None:
    """Write down what is known of the person of CASE (our number, or a referral's business id)."""
    changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if fears:
        changes["feared"] = list(fears)
    for name, several in (
        ("relatives_suspected", suspected),
        ("relatives_must_not_know", must_not_know),
        ("contact_never_by", contact_never_by),
    ):
        if several:
            changes[name] = list(several)
    if relative:
        changes["relatives"] = dict(_pair(text) for text in relative)
    changes.update(dict.fromkeys((name.replace("-", "_") for name in forget), None))
    if not changes:
        raise click.UsageError("say what is known")
    found = api.post("/v1/safeguards", {"about": case, "safeguards": changes, "ours": ours})
    current().result(_said(found))


@safeguards.command()
@with_gateway
@click.argument("case")
def show(api: LocalApi, case: str) -> None:
    """What workers wrote down. What received sections say comes on top of it."""
    current().result(_said(api.post("/v1/safeguards/show", {"about": case})))


@safeguards.command()
@with_gateway
@click.option("--draft", metavar="FILE", help="A message as POST /v1/messages takes it.")
@click.option("--message", type=ID, help="One that came and cannot be opened.")
def why(api: LocalApi, draft: str | None, message: str | None) -> None:
    """Which rules refuse. Nothing is sent or opened, and nobody is told."""
    if (draft is None) == (message is None):
        raise click.UsageError("--draft FILE or --message ID")
    wanted = {"message": message} if draft is None else {"draft": read_object(draft)}
    current().result(api.post("/v1/safeguards/why", wanted))


def _pair(text: str) -> tuple[str, str]:
    relation, equals, word = text.partition("=")
    if not equals:
        raise click.UsageError("a relative is RELATION=given|refused|withdrawn")
    return relation, word


def _said(found: dict[str, Any]) -> dict[str, Any]:
    known = {
        name: value for name, value in found["safeguards"].items() if value not in (None, [], {})
    }
    return {"about": found["about"], **known}
