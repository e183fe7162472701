"""`referral consent` and `referral withdraw`: what a person agreed to, and no longer agrees to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from broker.cli.drafting import ours_option, read_object
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralCommand, ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current


@click.group(cls=ReferralGroup)
def consent() -> None:
    """Record what a person agreed to. One grant is for one person and one recipient."""


def scopes_of(texts: tuple[str, ...]) -> list[dict[str, str]]:
    """`purpose:section,section` as the API takes it.

    Raises:
        click.UsageError: Not of that form.
    """
    scopes = []
    for text in texts:
        purpose, colon, sections = text.partition(":")
        if not colon or not purpose or not sections:
            raise click.UsageError(f"a scope is PURPOSE:SECTION[,SECTION…], not {text!r}")
        scopes += [{"purpose": purpose, "section": name} for name in sections.split(",") if name]
    return scopes


@consent.command()
@with_gateway
@click.option("--to", required=True, metavar="PARTICIPANT")
@click.option("--case", "case_ref", required=True, metavar="REF")
@click.option("--scope", "texts", multiple=True, required=True, metavar="PURPOSE:SECTION,…")
@click.option("--principal", required=True, help="Pseudonym of the person; never a name.")
@click.option("--until", "valid_until", required=True, metavar="YYYY-MM-DD")
@click.option("--language", required=True, metavar="ISO-639-3", help="In which it was explained.")
@click.option("--notice", required=True, help="Version of the notice that was given.")
@click.option(
    "--how", type=click.Choice(["read", "read-out", "pictogram", "audio"]), default="read-out"
)
@click.option("--child", is_flag=True, help="A child, or presumed to be one.")
@click.option("--guardian", metavar="FILE", help="The guardian's decision and the child's view.")
@click.option(
    "--guardian-until", metavar="YYYY-MM-DD", help="Last day before the person comes of age."
)
@click.option("--derived-from", metavar="GRANT", help="The grant under which the data came.")
def record(
    api: LocalApi,
    to: str,
    case_ref: str,
    texts: tuple[str, ...],
    child: bool,
    guardian: str | None,
    derived_from: str | None,
    **given: Any,
) -> None:
    """Record a consent, register its grant at the hub and tell the recipient, sealed."""
    body = {
        "to": to,
        "case_ref": case_ref,
        "scopes": scopes_of(texts),
        **given,
        "presumed_child": child,
        "guardian": read_object(guardian) or None,
        "derived_from": derived_from,
    }
    found = {name: value for name, value in body.items() if value is not None}
    current().result(api.post("/v1/consents", found))


@consent.command()
@with_gateway
@click.argument("grant", type=ID)
@click.option("--until", "valid_until", required=True, metavar="YYYY-MM-DD")
@click.option("--language", metavar="ISO-639-3", help="If it was explained in another one.")
@click.option("--notice", help="If another version of the notice was given.")
@click.option("--how", type=click.Choice(["read", "read-out", "pictogram", "audio"]))
@click.option("--guardian", metavar="FILE", help="The guardian's decision and the child's, anew.")
def renew(api: LocalApi, grant: str, guardian: str | None, **given: Any) -> None:
    """She was asked again and says yes to the same, for longer. What she took back stays out."""
    body = {**given, "guardian": read_object(guardian) or None}
    found = {name: value for name, value in body.items() if value is not None}
    current().result(api.post(f"/v1/consents/{grant}/renew", found))


@consent.command("list")
@with_gateway
def list_(api: LocalApi) -> None:
    """Consents given to others and received from them."""
    current().rows(
        api.items("/v1/consents", "consents"),
        ("grant", "sender", "recipient", "state", "until", "case_ref"),
    )


@consent.command()
@with_gateway
@click.argument("grant", type=ID)
@click.option("--erasures", is_flag=True, help="Who has erased what, and who has not said so.")
@click.option("--json-ld", "linked", is_flag=True, help="The person's record, ISO/IEC TS 27560.")
def show(api: LocalApi, grant: str, erasures: bool, linked: bool) -> None:
    """One grant: its state and scopes."""
    if linked:
        found = api.get(f"/v1/consents/{grant}/record")
        current().text(json.dumps(found, ensure_ascii=False, indent=2))
        return
    path = f"/v1/erasures/{grant}" if erasures else f"/v1/consents/{grant}"
    current().result(api.get(path))


@consent.command()
@with_gateway
@click.argument("grant", type=ID)
@click.option("--language", type=click.Choice(["en", "fr", "ar"]), required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write a page to print here; without it, text to read out.",
)
def receipt(api: LocalApi, grant: str, language: str, out: Path | None) -> None:
    """Give the person her copy: what she agreed to, and how she takes it back."""
    found = api.get(f"/v1/consents/{grant}/receipt?language={language}")
    if out is None:
        current().text(found["text"])
        return
    out.touch(mode=0o600, exist_ok=True)
    out.write_text(found["html"], encoding="utf-8")
    current().result({"grant": grant, "language": language, "out": str(out)})


@consent.command()
@with_gateway
@click.argument("case")
@click.argument("whom")
@click.option("--lift", is_flag=True, help="She does not exclude them any more.")
@ours_option
def exclude(api: LocalApi, case: str, whom: str, lift: bool, ours: bool) -> None:
    """She wants nothing of CASE to reach WHOM: al.police-2, police:AL, authorities:AL, relative:father.

    CASE is our number, or the business id of a referral that came. It holds wherever her data went
    from here.
    """
    about = {"about": case, "participant": whom, "ours": ours}
    current().result(api.post("/v1/exclusions/lift" if lift else "/v1/exclusions", about))


@click.command(cls=ReferralCommand)
@with_gateway
@click.argument("grant", type=ID)
@click.option("--scope", "texts", multiple=True, metavar="PURPOSE:SECTION,…", help="Only this.")
@click.option("--reason", help="Who asked, as a code; the person owes nobody a reason.")
def withdraw(api: LocalApi, grant: str, texts: tuple[str, ...], reason: str | None) -> None:
    """Withdraw a consent, or narrow it with --scope.

    It takes effect here at once, with the hub down too, and reaches everybody who has a copy.
    """
    body: dict[str, Any] = {}
    if texts:
        body["scopes"] = scopes_of(texts)
    if reason:
        body["reason"] = reason
    current().result(api.post(f"/v1/consents/{grant}/withdraw", body))
    current().say(
        "It is in force here. Everybody who has a copy is told, as soon as they can be reached; who "
        f"has erased what: referral consent show {grant} --erasures"
    )
