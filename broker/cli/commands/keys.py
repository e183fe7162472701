"""`referral keys`: a participant's private keys, encrypted in one file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from broker.cli.identity import passphrase_option
from broker.cli.output import current
from broker.cli.passphrase import MINIMUM_LENGTH, read_passphrase
from broker.cli.root import ReferralGroup
from broker.clock import SystemClock
from keys.custody.file import create_custody, open_custody
from keys.lifecycle import STANDARD_VALIDITY, Validity, new_keys
from schemas.base import instant_text
from schemas.directory import Compartment


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
