"""`referral directory`: who is who. Publishing is done by few; everybody verifies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from broker.cli.commands.trust import ceremony
from broker.cli.commands.trust.ceremony import LIMIT, read_entry_file, repository_option
from broker.cli.homes.identity import home_option, known_directory, passphrase_option
from broker.cli.homes.passphrase import read_passphrase
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.failures import WHO, advised
from broker.cli.terminal.output import current
from broker.clock import SystemClock
from broker.gateway.settings import load_settings
from keys import strict_json
from keys.ceremony import Repository
from keys.ceremony.roles import RoleSigner, new_role_key
from keys.custody import create_custody, open_custody
from keys.lifecycle import ended
from schemas.base import instant_text
from schemas.directory import Function, KeyStatus, KeyUse, OrganisationKind, Participant
from schemas.errors import NotFound


@click.group(cls=ReferralGroup)
def directory() -> None:
    """The trust directory (TUF): each country publishes its own, and nobody else's.

    A change is planned, signed by its holders wherever they are, and applied. `init`, `country`,
    `publish` and `hub` do all three at once, for where every key is at one place.
    """


for _command in (ceremony.plan, ceremony.review, ceremony.sign, ceremony.apply):
    directory.add_command(_command)


def _signers(names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        f"--{names}-key",
        f"{names}_keys",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        multiple=True,
        required=True,
        help=f"Key file of the {names} role; may be repeated.",
    )


def _open(paths: tuple[Path, ...], passphrase: bytes) -> list[RoleSigner]:
    return [RoleSigner.of(open_custody(f"file:{path}", passphrase)) for path in paths]


@directory.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--public", type=click.Path(path_type=Path), help="Write the public half here.")
@passphrase_option
def key(file: Path, public: Path | None, passphrase_file: str | None) -> None:
    """Make the key of one role, encrypted in FILE. Its public half is printed."""
    private, published = new_role_key(SystemClock().now())
    create_custody(f"file:{file}", private, read_passphrase(passphrase_file, confirm=True))
    if public is not None:
        public.write_bytes(published.to_json())
    current().result(published.to_dict(), plain=published.kid)


@directory.command()
@repository_option
@_signers("root")
@_signers("targets")
@_signers("online")
@click.option("--root-threshold", type=click.IntRange(1), default=2, show_default=True)
@click.option("--targets-threshold", type=click.IntRange(1), default=1, show_default=True)
@passphrase_option
def init(
    repository: Path,
    root_keys: tuple[Path, ...],
    targets_keys: tuple[Path, ...],
    online_keys: tuple[Path, ...],
    root_threshold: int,
    targets_threshold: int,
    passphrase_file: str | None,
) -> None:
    """Make an empty repository, with everybody present who signs."""
    passphrase = read_passphrase(passphrase_file)
    made = Repository.create(
        repository,
        root_signers=_open(root_keys, passphrase),
        root_threshold=root_threshold,
        targets_signers=_open(targets_keys, passphrase),
        targets_threshold=targets_threshold,
        online=_one(online_keys, passphrase),
        now=SystemClock().now(),
    )
    trusted = repository / "root.json"
    trusted.write_bytes(made.root)
    current().say(f"give {trusted} to every participant by a trusted way")
    current().result({"repository": str(repository), "root": str(trusted)})


def _one(paths: tuple[Path, ...], passphrase: bytes) -> RoleSigner:
    if len(paths) != 1:
        raise click.UsageError("exactly one --online-key")
    return _open(paths, passphrase)[0]


@directory.command()
@repository_option
@click.option("--cc", "code", required=True, metavar="CC", help="ISO 3166-1, lower case.")
@_signers("country")
@_signers("targets")
@_signers("online")
@click.option("--threshold", type=click.IntRange(1), default=1, show_default=True)
@passphrase_option
def country(
    repository: Path,
    code: str,
    country_keys: tuple[Path, ...],
    targets_keys: tuple[Path, ...],
    online_keys: tuple[Path, ...],
    threshold: int,
    passphrase_file: str | None,
) -> None:
    """Give a country its role: it may publish CC/* and nothing else."""
    passphrase = read_passphrase(passphrase_file)
    opened = [open_custody(f"file:{path}", passphrase) for path in country_keys]
    Repository(repository).delegate_country(
        code,
        [private.published() for custody in opened for private in custody.keys],
        threshold,
        country_signers=[RoleSigner.of(custody) for custody in opened],
        targets_signers=_open(targets_keys, passphrase),
        online=_one(online_keys, passphrase),
        now=SystemClock().now(),
    )
    current().result({"country": code, "threshold": threshold})


@directory.command()
@click.argument("public", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", required=True)
@click.option("--kind", required=True, type=click.Choice([k.value for k in OrganisationKind]))
@click.option("--function", required=True, type=click.Choice([f.value for f in Function]))
@click.option("--telephone", help="Where somebody outside the network calls, as +390600000000.")
@click.option("--hours", help="When it is answered.")
@click.option("--language", "languages", multiple=True, help="Spoken there (ISO 639-3); repeat.")
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An entry of the same participant, as `directory mark` wrote it: its keys stay.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def entry(
    public: Path,
    name: str,
    kind: str,
    function: str,
    telephone: str | None,
    hours: str | None,
    languages: tuple[str, ...],
    beside: Path | None,
    out: Path,
) -> None:
    """Make a directory entry of what `referral gateway init` wrote as PUBLIC.

    With telephone, hours and languages it is shown to everybody: `referral find`.
    """
    point = {"telephone": telephone, "hours": hours, "languages": list(languages)}
    if any(point.values()) and not all(point.values()):
        raise click.UsageError("--telephone, --hours and --language belong together")
    found = strict_json.parse(public.read_bytes(), limit=LIMIT)
    if not isinstance(found, dict):
        raise click.UsageError(f"{public} is not what gateway init wrote")
    made = Participant.from_json(
        json.dumps(
            {
                **found,
                "name": name,
                "country": str(found.get("id", ""))[:2].upper(),
                "kind": kind,
                "function": function,
                "entry_point": point if telephone else None,
                "entry_issued_at": instant_text(SystemClock().now()),
            }
        )
    )
    if beside is not None:
        before = Participant.from_json(beside.read_bytes())
        if before.id != made.id:
            raise click.UsageError(f"{beside} is the entry of {before.id}")
        made = made.model_copy(update={"keys": (*before.keys, *made.keys)})
    out.write_bytes(made.to_json())
    current().result(made.to_dict(), plain=f"{made.id}: {out}")


@directory.command()
@click.argument("participant")
@repository_option
@click.option(
    "--as",
    "status",
    required=True,
    type=click.Choice([KeyStatus.DESTROYED.value, KeyStatus.COMPROMISED.value]),
    help="Gone with its machine, or in other hands.",
)
@click.option("--key", "kids", multiple=True, metavar="KID", help="Which; all of them if none.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def mark(participant: str, repository: Path, status: str, kids: tuple[str, ...], out: Path) -> None:
    """Write PARTICIPANT's present entry with keys that are lost or stolen, for its country to sign."""
    found = {entry.id: entry for entry in Repository(repository).entries()}.get(participant)
    if found is None:
        raise advised(NotFound(participant), WHO)
    if set(kids) - {key.kid for key in found.keys}:
        raise advised(NotFound("no such key"), "referral keys list shows them")
    wanted = KeyStatus(status)
    keys = tuple(ended(key, wanted) if not kids or key.kid in kids else key for key in found.keys)
    made = found.model_copy(update={"keys": keys, "entry_issued_at": SystemClock().now()})
    out.write_bytes(made.to_json())
    current().result(made.to_dict(), plain=f"{made.id}: {out}")


@directory.command()
@click.argument("entries", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@repository_option
@_signers("country")
@_signers("online")
@passphrase_option
def publish(
    entries: tuple[Path, ...],
    repository: Path,
    country_keys: tuple[Path, ...],
    online_keys: tuple[Path, ...],
    passphrase_file: str | None,
) -> None:
    """Publish or replace ENTRIES of one country, signed by that country."""
    passphrase = read_passphrase(passphrase_file)
    found = [read_entry_file(path) for path in entries]
    Repository(repository).publish_participants(
        found,
        country_signers=_open(country_keys, passphrase),
        online=_one(online_keys, passphrase),
        now=SystemClock().now(),
    )
    current().rows([{"id": one.id, "keys": len(one.keys)} for one in found], ("id", "keys"))


@directory.command("hub")
@click.argument("entry_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@repository_option
@_signers("targets")
@_signers("online")
@passphrase_option
def publish_hub(
    entry_file: Path,
    repository: Path,
    targets_keys: tuple[Path, ...],
    online_keys: tuple[Path, ...],
    passphrase_file: str | None,
) -> None:
    """Publish or replace a hub's entry, signed by the directory's keepers."""
    passphrase = read_passphrase(passphrase_file)
    found = read_entry_file(entry_file)
    Repository(repository).publish_hub(
        found,
        targets_signers=_open(targets_keys, passphrase),
        online=_one(online_keys, passphrase),
        now=SystemClock().now(),
    )
    current().result({"id": found.id, "keys": len(found.keys)})


@directory.command()
@repository_option
@_signers("online")
@passphrase_option
def refresh(repository: Path, online_keys: tuple[Path, ...], passphrase_file: str | None) -> None:
    """Sign snapshot and timestamp anew. Daily, so that readers know nothing is held back."""
    signer = _one(online_keys, read_passphrase(passphrase_file))
    Repository(repository).refresh_timestamp(signer, SystemClock().now())
    current().result({"repository": str(repository), "refreshed": True})


@directory.command()
@home_option
def show(home: Path) -> None:
    """Show the directory as this home verifies it."""
    found = known_directory(load_settings(home))
    current().say(f"version {found.version}")
    rows = [
        {
            **participant.to_dict(),
            "keys": [published.kid for published in participant.keys],
        }
        for participant in sorted(found.participants.values(), key=lambda one: one.id)
    ]
    current().rows(rows, ("id", "name", "kind", "function", "compartments", "suspended"))


@directory.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), required=True)
def keys(home: Path, out: Path) -> None:
    """Write every signing key with its owner, for `referral log verify --keys`, offline."""
    found = known_directory(load_settings(home))
    written = {
        kid: {"participant": participant.id, "alg": published.alg, "jwk": published.jwk}
        for kid, (participant, published) in sorted(found.by_kid.items())
        if published.use is KeyUse.SIGN
    }
    out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    current().result({"file": str(out), "keys": len(written), "version": found.version})
