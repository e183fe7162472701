"""`referral notice`: tell the person, at every change."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current, fields
from schemas.codes.labels import LANGUAGES

WAYS = ("handed_over", "read_out", "safe_contact", "by_other_office", "not_wanted")


@click.group(cls=ReferralGroup)
def notice() -> None:
    """What a person is still to be told of her case. Nothing is sent to her by itself."""


@notice.command("list")
@with_gateway
def list_(api: LocalApi) -> None:
    """What is still to be told, oldest first."""
    columns = ("id", "case_ref", "exchange", "state", "at")
    current().rows(api.items("/v1/notices", "notices"), columns)


@notice.command("print")
@with_gateway
@click.argument("which", metavar="NOTICE", type=ID)
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="HTML; mode 0600.")
def print_(api: LocalApi, which: str, language: str, out: Path | None) -> None:
    """The paper, to be handed over or read out; and her own rules for reaching her."""
    answer = api.get(f"/v1/notices/{which}", language=language)
    if answer["contact"]:
        current().say("her rules for reaching her:")
        current().say(fields(answer["contact"], indent="  "))
    if out is None:
        current().result(answer, plain=answer["text"])
        return
    out.touch(mode=0o600)
    out.chmod(0o600)
    out.write_text(answer["html"], encoding="utf-8")
    current().result({"paper": str(out)})


@notice.command()
@with_gateway
@click.argument("which", metavar="NOTICE", type=ID)
@click.option("--how", required=True, type=click.Choice(WAYS))
@click.option("--by", metavar="WAY", help="Of safe_contact: telephone, text, messenger, email.")
@click.option(
    "--times-read", is_flag=True, help="I have read when she may be reached, and kept to it."
)
def done(api: LocalApi, which: str, how: str, by: str | None, times_read: bool) -> None:
    """She was told; or does not want to be, which is hers to say.

    Not by a way or at a time that she excluded: then it is handed over or read out.
    """
    given = {"how": how, "by": by, "times_read": times_read}
    said = {name: value for name, value in given.items() if value}
    current().result(api.post(f"/v1/notices/{which}/done", said))
