"""`referral directory plan | review | sign | apply`: a change of the directory as a file.

Planned where the repository is, signed wherever the holders of the keys are, one after another and
without a network, applied by the operator. Part of `referral directory`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from broker.cli.homes.identity import passphrase_option
from broker.cli.homes.passphrase import read_passphrase
from broker.cli.terminal.command import ReferralCommand, ReferralGroup
from broker.cli.terminal.output import current
from broker.clock import SystemClock
from keys import strict_json
from keys.ceremony import Repository, RoleKeys, first_plan
from keys.ceremony.proposal import MAX_PLAN_BYTES, Proposal
from keys.ceremony.roles import RoleSigner
from keys.custody import open_custody
from schemas.directory import Participant, PublishedKey
from schemas.errors import TooLarge

LIMIT = 256 * 1024

repository_option = click.option(
    "--repository",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder with metadata/ and targets/.",
)
_out = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The plan, a file to be signed."
)
_plan_file = click.argument(
    "plan_file", metavar="PLAN", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)


def key_file(name: str, help_: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add an option for the encrypted key of one holder."""
    return click.option(
        name,
        "key_file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        required=True,
        help=help_,
    )


def _publics(role: str, *, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        f"--{role}-public",
        f"{role}_public",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        multiple=True,
        required=required,
        help=f"Public half of a {role} key, from `directory key --public`; may be repeated.",
    )


def _threshold(role: str, default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        f"--{role}-threshold",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help=f"How many of the {role} keys must sign.",
    )


def read_entry_file(path: Path) -> Participant:
    """A directory entry from a file."""
    data = path.read_bytes()
    strict_json.parse(data, limit=LIMIT)
    return Participant.from_json(data)


def _public(path: Path) -> PublishedKey:
    data = path.read_bytes()
    strict_json.parse(data, limit=LIMIT)
    return PublishedKey.from_json(data)


def _keys(paths: tuple[Path, ...], threshold: int) -> RoleKeys:
    return [_public(path) for path in paths], threshold


def _read(path: Path) -> Proposal:
    if path.stat().st_size > MAX_PLAN_BYTES:
        raise TooLarge("a plan")
    return Proposal.from_bytes(path.read_bytes())


def _write(plan: Proposal, out: Path) -> None:
    plan.check()
    fresh = out.with_name(out.name + ".new")
    fresh.write_bytes(plan.to_bytes())
    fresh.replace(out)


def _show(plan: Proposal, out: Path) -> None:
    """The difference, and what it still needs."""
    voice, missing = current(), plan.missing()
    if voice.as_json:
        voice.result(
            {
                "plan": str(out),
                "changes": [change.row() for change in plan.difference()],
                "missing": [
                    {"role": one.role, "by": one.by, "have": one.have, "need": one.need}
                    for one in missing
                ],
            }
        )
        return
    voice.rows([change.row() for change in plan.difference()], ("what", "field", "before", "after"))
    for one in missing:
        by = {"before": " of the present root", "after": " of the new root"}.get(one.by, "")
        voice.say(f"{one.role}: {one.have} of {one.need} signatures{by}")
    if not missing:
        voice.say("signed by everybody it needs; nothing has changed until it is applied")


def _planned(plan: Proposal, out: Path) -> None:
    _write(plan, out)
    _show(plan, out)


@click.group(cls=ReferralGroup)
def plan() -> None:
    """Plan a change and show the difference. Nothing changes before `apply`."""


@plan.command()
@_publics("root", required=True)
@_threshold("root", 2)
@_publics("targets", required=True)
@_threshold("targets", 1)
@click.option("--online-public", type=click.Path(path_type=Path, exists=True), required=True)
@_out
def first(
    root_public: tuple[Path, ...],
    root_threshold: int,
    targets_public: tuple[Path, ...],
    targets_threshold: int,
    online_public: Path,
    out: Path,
) -> None:
    """An empty directory."""
    made = first_plan(
        root=_keys(root_public, root_threshold),
        targets=_keys(targets_public, targets_threshold),
        online=_public(online_public),
        now=SystemClock().now(),
    )
    _planned(made, out)


@plan.command()
@repository_option
@click.option("--cc", "code", required=True, metavar="CC", help="ISO 3166-1, lower case.")
@_publics("country", required=True)
@_threshold("country", 1)
@_out
def country(
    repository: Path, code: str, country_public: tuple[Path, ...], country_threshold: int, out: Path
) -> None:
    """A country's role, new or with new keys: it may publish CC/* and nothing else."""
    keys = _keys(country_public, country_threshold)
    _planned(Repository(repository).plan_country(code, keys, SystemClock().now()), out)


@plan.command()
@click.argument("entries", type=click.Path(path_type=Path, exists=True), nargs=-1)
@click.option("--remove", multiple=True, metavar="ID", help="Take a participant out.")
@repository_option
@_out
def publish(
    entries: tuple[Path, ...], remove: tuple[str, ...], repository: Path, out: Path
) -> None:
    """ENTRIES of one country, new or changed."""
    if not entries and not remove:
        raise click.UsageError("nothing to publish and nothing to remove")
    found = [read_entry_file(path) for path in entries]
    made = Repository(repository).plan_participants(found, SystemClock().now(), remove=remove)
    _planned(made, out)


@plan.command("hub")
@click.argument("entry_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@repository_option
@_out
def plan_hub(entry_file: Path, repository: Path, out: Path) -> None:
    """A hub's entry, new or changed."""
    entry = read_entry_file(entry_file)
    _planned(Repository(repository).plan_hub(entry, SystemClock().now()), out)


@plan.command()
@repository_option
@_publics("root", required=True)
@_threshold("root", 2)
@_publics("targets", required=False)
@_threshold("targets", 1)
@click.option("--online-public", type=click.Path(path_type=Path, exists=True))
@_out
def root(
    repository: Path,
    root_public: tuple[Path, ...],
    root_threshold: int,
    targets_public: tuple[Path, ...],
    targets_threshold: int,
    online_public: Path | None,
    out: Path,
) -> None:
    """New keys of the root, and if given those of targets and the hub's online key."""
    made = Repository(repository).plan_root(
        _keys(root_public, root_threshold),
        SystemClock().now(),
        targets=_keys(targets_public, targets_threshold) if targets_public else None,
        online=_public(online_public) if online_public else None,
    )
    _planned(made, out)


@plan.command()
@click.argument("role")
@repository_option
@_out
def renew(role: str, repository: Path, out: Path) -> None:
    """Sign ROLE (root, targets, or a country) anew as it stands, before it runs out."""
    _planned(Repository(repository).plan_renewal(role, SystemClock().now()), out)


@click.command(cls=ReferralCommand)
@_plan_file
def review(plan_file: Path) -> None:
    """Show what PLAN would change, and whose signatures it still needs. Needs no network."""
    found = _read(plan_file)
    found.check()
    _show(found, plan_file)


@click.command(cls=ReferralCommand)
@_plan_file
@key_file("--key", "Your encrypted key.")
@click.option("--yes", is_flag=True, help="Do not ask; for scripts.")
@passphrase_option
def sign(plan_file: Path, key_file: Path, yes: bool, passphrase_file: str | None) -> None:
    """Sign PLAN with one key, after showing the difference. Needs no network and no repository."""
    found = _read(plan_file)
    found.check()
    if not current().as_json:
        _show(found, plan_file)
    if not yes:
        click.confirm("Sign this?", abort=True, err=True)
    signer = RoleSigner.of(open_custody(f"file:{key_file}", read_passphrase(passphrase_file)))
    signed = found.signed_by(signer)
    _write(signed, plan_file)
    missing = signed.missing()
    current().result(
        {"plan": str(plan_file), "signed_by": signer.published.kid, "complete": not missing}
    )


@click.command(cls=ReferralCommand)
@_plan_file
@repository_option
@key_file("--online-key", "The hub's online key.")
@passphrase_option
def apply(plan_file: Path, repository: Path, key_file: Path, passphrase_file: str | None) -> None:
    """Carry out a signed PLAN. Refused if the directory has moved since it was planned."""
    found = _read(plan_file)
    online = RoleSigner.of(open_custody(f"file:{key_file}", read_passphrase(passphrase_file)))
    changed = Repository(repository)
    changed.apply(found, online, SystemClock().now())
    if not found.before:
        (repository / "root.json").write_bytes(changed.root)
        current().say(f"give {repository / 'root.json'} to every participant by a trusted way")
    current().result({"repository": str(repository), "roles": sorted(found.roles)})
