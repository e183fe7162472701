"""`referral keys`: a participant's private keys, encrypted in one file, and what becomes of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import click

from broker.cli.homes.identity import (
    Identity,
    home_option,
    open_identity,
    passphrase_option,
    trusted_directory,
)
from broker.cli.homes.passphrase import MINIMUM_LENGTH, read_passphrase, write_secret
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.failures import WHO, advised
from broker.cli.terminal.output import current
from broker.client.revocations import KnownRevocations
from broker.clock import SystemClock
from broker.database import Database
from broker.gateway.lending import FILE_KEY
from broker.gateway.network.exposure import Exposed, exposed
from broker.gateway.settings import load_settings
from keys.custody import Custody, create_custody, open_custody
from keys.file_sealing import file_key_jwk, keys_of, new_file_key
from keys.lifecycle import STANDARD_VALIDITY, PrivateKey, Validity, new_keys
from keys.rotation import STANDARD, Due, Slot, due, rotated, slot_of, state_of, warnings
from keys.statements.revocation import sign_revocation, verify_revocation
from schemas.base import instant_text
from schemas.directory import (
    Compartment,
    OrganisationKind,
    Participant,
    PublishedKey,
    TrustedDirectory,
)
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import HubUnreachable, NotFound, Unavailable
from schemas.revocation import Revocation


@click.group(cls=ReferralGroup)
def keys() -> None:
    """Make and show keys. Private keys never leave their encrypted file."""


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--compartment",
    "compartments",
    multiple=True,
    type=click.Choice([compartment.value for compartment in Compartment]),
    help="Who inside may open; may be repeated. None for a hub, which opens nothing.",
)
@click.option("--suite", "suites", multiple=True, type=click.IntRange(1, 2), default=(1,))
@click.option("--seal-days", type=click.IntRange(1, 400), default=STANDARD_VALIDITY.seal.days)
@click.option("--sign-days", type=click.IntRange(1, 1200), default=STANDARD_VALIDITY.sign.days)
@passphrase_option
def new(
    file: Path,
    compartments: tuple[str, ...],
    suites: tuple[int, ...],
    seal_days: int,
    sign_days: int,
    passphrase_file: str | None,
) -> None:
    """Make new keys in FILE, encrypted; print the public halves for the directory."""
    passphrase = read_passphrase(passphrase_file, confirm=True)
    if len(passphrase) < MINIMUM_LENGTH:
        raise click.UsageError(f"a passphrase has at least {MINIMUM_LENGTH} characters")
    private, published = new_keys(
        compartments=[Compartment(name) for name in compartments],
        suites=suites,
        now=SystemClock().now(),
        validity=Validity(sign=timedelta(days=sign_days), seal=timedelta(days=seal_days)),
    )
    create_custody(f"file:{file}", private, passphrase)
    current().say(f"keys in {file}, encrypted; keep the passphrase somewhere else")
    current().rows([key.to_dict() for key in published], ("kid", "use", "suite", "compartment"))


@keys.command("file-key")
@click.argument("out", type=click.Path(path_type=Path))
@home_option
@passphrase_option
@click.option("--rotate", is_flag=True, help="Make a new key; the old ones still open files.")
@click.option("--drop-old", is_flag=True, help="Destroy the old ones: what they sealed is lost.")
def file_key(
    out: Path, home: Path, passphrase_file: str | None, rotate: bool, drop_old: bool
) -> None:
    """Write the key of the country's own sealed files to OUT, as a JWK; the first time, make it.

    For the country's system, which opens and seals files with it. To change it: --rotate, give the
    file to the system, which keeps the old one too, start the gateway anew, and --drop-old once
    nothing is left that was sealed with an old one.
    """
    custody = open_identity(home, passphrase_file).custody
    ring = keys_of(custody.secret(FILE_KEY)) if custody.has_secret(FILE_KEY) else ()
    kept = ring[:1] if drop_old else ring
    if rotate or not ring:
        kept = (new_file_key(), *kept)
    if kept != ring:
        custody.put_secret(FILE_KEY, b"".join(kept))
    write_secret(out, json.dumps(file_key_jwk(kept[0])).encode() + b"\n")
    current().say(f"written: {out}; whoever has it reads every file of the folder")
    if kept != ring:
        current().say("start the gateway anew")


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
def show(file: Path, passphrase_file: str | None) -> None:
    """Show the ids, uses and dates of the keys in FILE, and their public halves with --json."""
    custody = open_custody(f"file:{file}", read_passphrase(passphrase_file))
    if current().as_json:
        current().rows([key.published().to_dict() for key in custody.keys], ())
        return
    rows = [
        {
            "kid": key.kid,
            "use": key.use.value,
            "suite": key.suite,
            "compartment": key.compartment and key.compartment.value,
            "until": instant_text(key.not_after),
        }
        for key in custody.keys
    ]
    current().rows(rows, ("kid", "use", "suite", "compartment", "until"))


@keys.command("list")
@home_option
def list_(home: Path) -> None:
    """Show this participant's published keys with their state and the days that they have left."""
    settings, now = load_settings(home), SystemClock().now()
    entry = trusted_directory(settings).participant(settings.participant)
    if entry is None:
        raise advised(NotFound(settings.participant), WHO)
    rows = [
        {
            "kid": key.kid,
            "use": key.use.value,
            "suite": key.suite,
            "compartment": key.compartment,
            "state": state_of(key, now).value,
            "from": instant_text(key.not_before),
            "until": instant_text(key.not_after),
            "days_left": max(0, (key.not_after - now).days),
        }
        for key in sorted(entry.keys, key=lambda one: (one.use, one.suite, one.not_after))
    ]
    columns = ("kid", "use", "suite", "compartment", "state", "until", "days_left")
    current().rows(rows, columns)
    for key, days in warnings(entry.keys, now):
        current().say(f"{key.use} key {key.kid} ends within {days} days: rotate", fg="red")


@keys.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new entry.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Of a hub, if they are not in HOME/hub.toml.",
)
@passphrase_option
def rotate(home: Path, out: Path, settings_file: Path | None, passphrase_file: str | None) -> None:
    """Do what the schedule asks for today, and write the entry that the country shall publish.

    Makes successors of keys that end within 37 days, in force a week from now, and at once of what
    has none in force, as after `keys compromise`; destroys private keys a day after they ended, and
    with them whatever was sealed to them. Run it weekly; with nothing to do it writes nothing.
    HOME may also be a hub's folder.
    """
    now = SystemClock().now()
    identity = None
    if settings_file is not None or (home / "hub.toml").is_file():
        from broker.cli.homes.hub import open_hub

        participant, custody, directory = open_hub(settings_file or home / "hub.toml")
    else:
        identity = open_identity(home, passphrase_file)
        participant, custody = identity.participant, identity.custody
        directory = identity.directory()
    published = directory.participant(participant)
    if published is None:
        raise advised(NotFound(participant), WHO)
    known = directory if identity is None else _as_revoked(home, identity, directory, now)
    entry = known.participants[participant]
    todo, made, renewed = renew(custody, entry, now)
    result = {
        "made": [key.kid for key in made],
        "retired": list(todo.retire),
        "destroyed": list(todo.destroy),
    }
    if not todo and entry == published:
        current().result(result, plain="nothing is due")
        return
    out.write_bytes(renewed.to_json())
    deed = "hub" if entry.kind is OrganisationKind.HUB else "publish"
    current().say(f"{out} is for the directory's keepers: referral directory plan {deed}")
    current().result(result)


def renew(
    custody: Custody, entry: Participant, now: datetime
) -> tuple[Due, list[PrivateKey], Participant]:
    """Do in custody what is due now: what it was, the keys that were made, the entry to publish."""
    todo = due(entry.keys, now)
    in_force = {slot_of(key) for key in entry.keys if key.is_current(now)}
    # Where there is nothing to overlap with, from a little earlier, for clocks that are behind.
    starts = (now - timedelta(seconds=MAX_SKEW_SECONDS), now + STANDARD.lead)
    made = [_successor(custody, slot, entry, now, starts[slot in in_force]) for slot in todo.make]
    for kid in todo.destroy:
        custody.destroy(kid)
    keys = rotated(entry.keys, todo, [key.published() for key in made])
    return todo, made, entry.model_copy(update={"keys": keys, "entry_issued_at": now})


def _as_revoked(
    home: Path, identity: Identity, directory: TrustedDirectory, now: datetime
) -> TrustedDirectory:
    """The directory with what was said to be in other hands: heard by the gateway, or said here."""
    cache = identity.settings.path(identity.settings.directory.cache)
    directory = KnownRevocations(cache).applied(directory, now)
    for kept in sorted(home.glob("revocation-*.jws")):
        said = verify_revocation(kept.read_bytes(), directory, now=now, in_force=False).content
        directory = directory.revoking(dict.fromkeys(said.keys, said.since))
    return directory


def _successor(
    custody: Custody, slot: Slot, entry: Participant, now: datetime, start: datetime
) -> PrivateKey:
    """A new key of the slot; one that was made before and is not published yet comes first."""
    published = {key.kid for key in entry.keys}
    for key in custody.keys:
        fresh = key.kid not in published and key.not_after - now > STANDARD.lead + STANDARD.overlap
        if fresh and slot_of(key) == slot and key.not_before <= start:
            return key
    return custody.make(*slot, start=start)


@keys.command()
@home_option
@click.option("--key", "kids", multiple=True, metavar="KID", help="Which; all of them if none.")
@click.option("--participant", help="Another of your country, if you are its authority.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    required=True,
    help="Since when the keys may have been in other hands (UTC). In doubt, earlier.",
)
@click.option("--yes", is_flag=True, help="Do not ask; for scripts.")
@passphrase_option
def compromise(
    home: Path,
    kids: tuple[str, ...],
    participant: str | None,
    since: datetime,
    yes: bool,
    passphrase_file: str | None,
) -> None:
    """Say that keys are in other hands. Stops every route under them at once, for good.

    Then lists what they exposed here: messages that may have been read, that may be forged, that
    were sent as us. If the hub is away, the same file is sent again by running this again.
    """
    identity = open_identity(home, passphrase_file)
    subject = participant or identity.participant
    directory = identity.directory()
    entry = directory.participant(subject)
    if entry is None:
        raise advised(NotFound(subject), WHO)
    chosen = [key for key in entry.keys if not kids or key.kid in kids]
    if set(kids) - {key.kid for key in chosen}:
        raise advised(NotFound("no such key"), "referral keys list shows them")
    if not yes:
        click.confirm(f"Stop {len(chosen)} keys of {subject}, for good?", abort=True, err=True)
    raw = _revocation(home, identity, subject, chosen, since.replace(tzinfo=UTC))
    told = asyncio.run(_tell(identity, raw))
    found = asyncio.run(_exposed(identity, chosen, since.replace(tzinfo=UTC), subject))
    voice = current()
    voice.say(
        "the hub has stopped them"
        if told
        else "THE HUB COULD NOT BE REACHED: run this again, "
        "and telephone its operator and your partners",
        fg="green" if told else "red",
    )
    voice.say(f"{len(found)} messages exposed here; new keys: docs/operations/compromise.md")
    voice.rows([one.row() for one in found], ("at", "how", "partner", "compartment", "message"))
    if not told:
        raise HubUnreachable("the revocation is kept, and was not delivered")


def _revocation(
    home: Path,
    identity: Identity,
    subject: str,
    chosen: Sequence[PublishedKey],
    since: datetime,
) -> bytes:
    """The signed statement. Kept before it is sent, since the hub wants the same bytes again."""
    name = hashlib.sha256("\n".join(sorted(key.kid for key in chosen)).encode()).hexdigest()[:16]
    kept = home / f"revocation-{name}.jws"
    if kept.exists():
        return kept.read_bytes()
    now = SystemClock().now()
    content = Revocation(
        id=uuid4(),
        participant=subject,
        keys=tuple(key.kid for key in chosen),
        since=since,
        by=identity.participant,
        issued_at=now,
    )
    raw = sign_revocation(content, identity.signer())
    write_secret(kept, raw)
    return raw


async def _tell(identity: Identity, raw: bytes) -> bool:
    try:
        async with identity.hub() as hub:
            await hub.revoke(raw)
    except Unavailable as error:
        current().say(error.describe(), fg="red")
        return False
    return True


async def _exposed(
    identity: Identity, chosen: Sequence[PublishedKey], since: datetime, subject: str
) -> list[Exposed]:
    database = Database(identity.settings.database_url)
    try:
        async with database.read() as connection:
            return await exposed(
                connection, chosen, ours=subject == identity.participant, since=since
            )
    finally:
        await database.close()
