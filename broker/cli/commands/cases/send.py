"""`referral send`: one message to one participant, or with --all one about each case of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.cases.standing import show_sent
from broker.cli.drafting import preview, read_object, submit, with_fields
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.failures import PartlyDone
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current, table
from broker.cli.terminal.worded import in_language
from schemas.codes.labels import LANGUAGES

if TYPE_CHECKING:
    from adapters.systems.files.dropped import Taken
    from broker.cli.cases.bulk import Order, Tally
    from broker.cli.cases.dropped import Rows

ONE_ONLY = (
    "case_ref",
    "grant",
    "thread",
    "in_reply_to",
    "derived_from",
    "replaces",
    "dry_run",
    "words",
)
"""Options that make no sense for many cases at once."""
TERMS = ("until", "language", "notice")
"""What every recorded consent must say."""


@click.command(cls=ReferralCommand)
@with_gateway
@click.option("--to", required=True, metavar="PARTICIPANT", help="For example al.nrm.")
@click.option("--type", "type_name", required=True, metavar="TYPE", help="See referral catalogue.")
@click.option("--case", "case_ref", metavar="REF", help="The case number in your own system.")
@click.option(
    "--from-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the case from an HTCDS file, through the gateway's adapter.",
)
@click.option(
    "--spelling",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="How that file names its columns, words and dates; see docs/adapters.md.",
)
@click.option("--all", "everything", is_flag=True, help="Every case of the file, one message each.")
@click.option(
    "--dropped",
    is_flag=True,
    help="With --all: every file in the adapter's folder `out`, each put aside once it is dealt with.",
)
@click.option("--purpose", help="Why the data travels, for example protection.")
@click.option("--grant", type=ID, help="The consent under which it travels.")
@click.option("--section", "chosen", multiple=True, help="Only this section; may be repeated.")
@click.option("--body", metavar="FILE", help="The typed body as a JSON file, or - for stdin.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A body field.")
@click.option("--thread", type=ID, help="Continue this thread.")
@click.option("--in-reply-to", type=ID, help="The message that this one answers.")
@click.option("--replaces", type=ID, help="A message of yours that never arrived, said anew.")
@click.option("--derived-from", type=ID, help="The referral that this one passes on.")
@click.option(
    "--urgency",
    type=click.Choice(["emergency", "urgent", "normal"]),
    help="How soon an answer is needed.",
)
@click.option("--dry-run", is_flag=True, help="Show what would travel; send nothing.")
@click.option(
    "--lang",
    "--words",
    "words",
    type=click.Choice(LANGUAGES),
    help="With --dry-run: sections in words of this language; JSON keeps the codes.",
)
@click.option(
    "--record-consent",
    is_flag=True,
    help="With --all: record a consent for each adult whose consent box says yes.",
)
@click.option("--until", metavar="YYYY-MM-DD", help="Of these consents.")
@click.option("--language", metavar="ISO-639-3", help="In which they were explained.")
@click.option("--notice", help="Version of the notice that was given.")
@click.option(
    "--how",
    type=click.Choice(["read", "read-out", "pictogram", "audio"]),
    default="read-out",
    show_default=True,
    help="How it was given.",
)
@click.option(
    "--refused",
    "refused_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --all: where to list the cases that were not sent; the adapter's folder otherwise.",
)
def send(
    api: LocalApi,
    to: str,
    type_name: str,
    from_file: Path | None,
    spelling: Path | None,
    everything: bool,
    dropped: bool,
    purpose: str | None,
    chosen: tuple[str, ...],
    body: str | None,
    assignments: tuple[str, ...],
    urgency: str | None,
    record_consent: bool,
    how: str,
    refused_file: Path | None,
    **more: Any,
) -> None:
    """Send a message. It is on this machine's disk before this command says so.

    With --dry-run it shows which words travel in the clear and which are sealed.

    With --all each case of the file is sent under its own consent. Running the same command again
    sends nothing twice, so a run that broke off is simply run again. It ends with 7 if some cases
    were not sent; they are listed with codes in a file.
    """
    terms = {name: more.pop(name) for name in TERMS}
    content = with_fields(read_object(body), assignments)
    if spelling is not None and from_file is None:
        raise click.UsageError("--spelling is about --from-file; the adapter's is in its settings")
    if everything:
        if (from_file is None and not dropped) or purpose is None:
            raise click.UsageError("--all needs --purpose, and --from-file or --dropped")
        if dropped and (from_file or refused_file):
            raise click.UsageError("--dropped reads the adapter's own folder, and lists beside it")
        for name in ONE_ONLY:
            if more[name]:
                option = "case" if name == "case_ref" else name.replace("_", "-")
                raise click.UsageError(f"--{option} is for one message, not for --all")
        _require_terms(record_consent, terms)
        _send_all(
            api,
            from_file,
            refused_file,
            spelling=spelling,
            to=to,
            type_name=type_name,
            purpose=purpose,
            body=content,
            chosen=chosen,
            urgency=urgency,
            terms={**terms, "how": how} if record_consent else None,
        )
        return
    if dropped:
        raise click.UsageError("--dropped is for --all")
    if record_consent or refused_file or any(terms.values()):
        raise click.UsageError("consents are recorded here only with --all; see consent record")
    _send_one(
        api,
        from_file,
        chosen,
        {"to": to, "type": type_name, "purpose": purpose, "body": content, "urgency": urgency},
        spelling=spelling,
        **more,
    )


def _send_one(
    api: LocalApi,
    from_file: Path | None,
    chosen: tuple[str, ...],
    draft: dict[str, Any],
    *,
    spelling: Path | None,
    case_ref: str | None,
    dry_run: bool,
    words: str | None,
    **more: Any,
) -> None:
    sections: dict[str, Any] = {}
    if from_file is not None:
        from broker.cli.cases.reading import contents, one_case

        case = one_case(api.home, from_file, case_ref, spelling)
        case_ref = case.case_ref
        sections = contents(case)
    if chosen:
        missing = [name for name in chosen if from_file is not None and name not in sections]
        if missing:
            raise click.UsageError(f"the case has no section {', '.join(missing)}")
        sections = {name: sections[name] for name in chosen if name in sections}
    if case_ref is None:
        raise click.UsageError("say which case with --case REF")
    draft = {
        **draft,
        **more,
        "case_ref": case_ref,
        "sections": sections,
        "dry_run": dry_run or None,
    }
    answer = submit(api, {name: value for name, value in draft.items() if value is not None})
    if dry_run:
        current().result(answer, plain=preview(in_language(answer, words)))
    else:
        show_sent(answer)


def _require_terms(wanted: bool, terms: dict[str, Any]) -> None:
    named = [name for name, value in terms.items() if value]
    if wanted and len(named) < len(TERMS):
        raise click.UsageError("--record-consent needs --until, --language and --notice")
    if named and not wanted:
        raise click.UsageError(f"--{named[0]} is about consents: add --record-consent")


def _send_all(
    api: LocalApi,
    from_file: Path | None,
    refused_file: Path | None,
    *,
    spelling: Path | None,
    terms: dict[str, Any] | None,
    **about: Any,
) -> None:
    from broker.cli.cases.bulk import ConsentTerms, Order, about_how_many, verdict
    from broker.cli.cases.dropped import deal_with, drop_folder
    from broker.cli.cases.reading import participant_of, read_cases, rejected_folder

    folder = rejected_folder(api.home)
    consent = None
    if terms is not None:
        consent = ConsentTerms(valid_until=terms.pop("until"), **terms)
    order = Order(participant=participant_of(api.home), consent=consent, **about)

    if from_file is None:

        def send_one(file: Taken, rows: Rows) -> Tally:
            total = about_how_many(file.path) if file.path else 0
            refused = folder / f"{file.mark.partition('.')[0]}.refused.csv"
            tally, _ = _send_file(api, order, rows, refused, label=file.name, total=total)
            return tally

        dealt = list(deal_with(drop_folder(api.home).take(), send_one))
        files = [each.as_json() for each in dealt]
        columns = ("file", "sent", "refused", "rows_rejected", "undecided", "put_aside")
        plain = table(files, columns) if files else "nothing has been dropped"
        current().result({"files": files}, plain=plain)
        tallies = [each.tally for each in dealt]
        whole = all(each.put_aside for each in dealt)
    else:
        refused = refused_file or folder / f"{from_file.stem}.refused.csv"
        if refused.exists() and refused.samefile(from_file):
            raise click.UsageError("--refused would replace the file that is read")
        rows = read_cases(api.home, from_file, spelling)
        tally, used = _send_file(
            api, order, rows, refused, label=from_file.name, total=about_how_many(from_file)
        )
        name = from_file.name if from_file.suffix == ".csv" else f"{from_file.name}.csv"
        result = {
            **tally.as_json(),
            "refused_file": str(refused) if used else None,
            "rejected_file": str(folder / name) if tally.rows_rejected else None,
        }
        current().result(result, plain=_table(result))
        error = verdict(tally)
        if error is not None:
            raise error
        tallies, whole = [tally], True
    if not whole or any(each.refused or each.rows_rejected or each.undecided for each in tallies):
        raise PartlyDone(
            "some cases were not sent"
            if all(each.complete for each in tallies)
            else "the gateway stopped answering; run the same command again"
        )


def _send_file(
    api: LocalApi, order: Order, rows: Rows, refused: Path, *, label: str, total: int
) -> tuple[Tally, bool]:
    """Send what is in one file; also True if some of its cases are listed in `refused`."""
    from broker.cli.cases.bulk import RefusedFile, send_all

    voice = current()
    with RefusedFile(refused) as kept, voice.progress(label) as at:

        def show(tally: Tally) -> None:
            at(f"{voice.bar(tally.done, total)}, {tally.sent} sent")

        tally = send_all(api, order, rows, keep=kept.add, at=show)
    return tally, kept.used


def _table(result: dict[str, Any]) -> str:
    """For a person: what was sent, and for the rest why not and where it is listed."""
    lines = [
        f"{result['sent']:>7}  sent",
        f"{result['consents_recorded']:>7}  consents recorded on the way",
        f"{result['refused'] + result['undecided']:>7}  not sent",
    ]
    lines += [f"{count:>7}    {code}" for code, count in result["by_code"].items()]
    lines.append(f"{result['rows_rejected']:>7}  rows that cannot become a case")
    lines += [
        f"{count:>7}  hold something in {column}, which is not sent"
        for column, count in result["not_carried"].items()
    ]
    for name, what in (("refused_file", "not sent"), ("rejected_file", "rejected rows")):
        if result[name]:
            lines.append(f"{what}: {result[name]}")
    return "\n".join(lines)
