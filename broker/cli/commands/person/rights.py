"""`referral rights`: who got what of a person's data, her copy, what was asked of whom."""

from __future__ import annotations

import json
from pathlib import Path

import click

from broker.cli.drafting import ours_option, read_object
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current
from schemas.codes.labels import LANGUAGES

COLUMNS = ("at", "way", "partner", "section", "purpose", "consent", "transfer_basis", "recorded")


@click.group(cls=ReferralGroup)
def rights() -> None:
    """What a person may ask of us. CASE is our case number, or partner:number."""


@rights.command()
@with_gateway
@click.argument("case")
def ledger(api: LocalApi, case: str) -> None:
    """Who got which section, when, on which basis. It stays when the content is erased."""
    answer = api.post("/v1/rights/ledger", {"case": case})
    current().rows(answer["disclosures"], COLUMNS)


@rights.command()
@with_gateway
@click.argument("case")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
@click.option("--sections", metavar="FILE", help="What our case system holds, as JSON sections.")
@click.option(
    "--texts-read", is_flag=True, help="I have read what people wrote: nobody else is named."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the paper (HTML) here, and the data beside it as .json; mode 0600.",
)
def copy(
    api: LocalApi,
    case: str,
    language: str,
    sections: str | None,
    texts_read: bool,
    out: Path | None,
) -> None:
    """Her copy of her data (GDPR Art 15): what is others' is left out, and said to be."""
    answer = api.post(
        "/v1/rights/copy",
        {
            "case": case,
            "language": language,
            "sections": read_object(sections),
            "texts_read": texts_read,
        },
    )
    if out is None:
        current().result(answer["copy"], plain=answer["text"])
        return
    beside = out.with_suffix(".json")
    for path, content in ((out, answer["html"]), (beside, json.dumps(answer["copy"]))):
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(content, encoding="utf-8")
    current().result({"paper": str(out), "data": str(beside)})


@rights.command()
@with_gateway
@click.argument("kind", type=click.Choice(("access", "rectify", "erase", "restrict", "lift")))
@click.argument("case")
@click.option("--ground", metavar="CODE", help="Why: of an erasure or a restriction.")
@click.option("--sections", metavar="FILE", help="The right version, as JSON sections.")
@click.option(
    "--identity-proved", is_flag=True, help="Of access: I made sure that it is she who asks."
)
@click.option(
    "--delivery",
    type=click.Choice(("handed_over", "read_out", "through_worker", "by_post")),
    default="handed_over",
    show_default=True,
    help="Of access: how she wants to get it.",
)
@ours_option
def ask(
    api: LocalApi,
    kind: str,
    case: str,
    ground: str | None,
    sections: str | None,
    identity_proved: bool,
    delivery: str,
    ours: bool,
) -> None:
    """Tell everyone who has it: give her a copy, correct it, erase it, freeze it, use it again.

    A restriction freezes the case here as well, at once. What comes back of an access is in her
    copy: `referral rights copy`.
    """
    wanted = {
        "kind": kind,
        "case": case,
        "ground": ground,
        "sections": read_object(sections),
        "identity_proved": identity_proved,
        "delivery": delivery,
        "ours": ours,
    }
    current().result(api.post("/v1/rights/ask", wanted))


@rights.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--sections", metavar="FILE", help="What our case system holds, as JSON sections.")
@click.option(
    "--texts-read", is_flag=True, help="I have read what people wrote: nobody else is named."
)
def answer(api: LocalApi, message: str, sections: str | None, texts_read: bool) -> None:
    """Answer a request for access: what is held here of hers, and who got it from here.

    What is others' is left out; what no consent covers is named and not sent.
    """
    wanted = {
        "message": str(message),
        "sections": read_object(sections),
        "texts_read": texts_read,
    }
    current().result(api.post("/v1/rights/answer", wanted))


@rights.command()
@with_gateway
@click.argument("case")
def status(api: LocalApi, case: str) -> None:
    """Who was asked for what, what they answered, and who has not."""
    answer = api.post("/v1/rights/status", {"case": case})
    columns = ("at", "kind", "partner", "sent", "answer", "basis", "due_at", "open")
    current().rows(answer["told"], columns)


BASES = (
    "legal-obligation",
    "legal-claims",
    "vital-interests",
    "public-health",
    "archiving",
    "national-law",
)


@rights.command()
@with_gateway
@click.argument("case")
@click.option("--basis", type=click.Choice(BASES), required=True, help="The ground (Art 17(3)).")
@ours_option
def hold(api: LocalApi, case: str, basis: str, ours: bool) -> None:
    """Keep CASE, or one referral by its business id, whoever asks for its erasure.

    What was asked for is attested as kept on this ground, and nobody opens it meanwhile.
    """
    current().result(api.post("/v1/rights/holds", {"about": case, "basis": basis, "ours": ours}))


@rights.command("take-off")
@with_gateway
@click.argument("case")
def take_off(api: LocalApi, case: str) -> None:
    """CASE need not be kept any more: what was asked for meanwhile is erased now."""
    current().result(api.post("/v1/rights/holds/take-off", {"case": case}))


@rights.command()
@with_gateway
def holds(api: LocalApi) -> None:
    """What is kept here on a ground."""
    current().rows(api.get("/v1/rights/holds")["holds"], ("about", "basis", "worker", "since"))
