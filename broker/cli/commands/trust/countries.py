"""`referral countries`: what is known of each country, and whose words its codes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from adapters.countries import (
    CodeSet,
    CountryProfile,
    Fact,
    countries_here,
    country_codes,
    country_profile,
)
from broker.cli.homes.identity import (
    home_option,
    open_identity,
    passphrase_option,
    trusted_directory,
)
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.output import current
from broker.clock import SystemClock
from broker.gateway.settings import load_settings
from keys.statements.code_sets import sign_code_set, verify_code_set
from schemas.codes.sets import CodeSetNote

LIMIT = 16 * 1024


@click.command(cls=ReferralCommand)
@click.argument("code", metavar="[CC]", required=False)
@click.option("--sign", type=click.Path(path_type=Path), help="Sign CC's codes into this file.")
@click.option(
    "--verify",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Check that CC's codes are those that its country signed in this file.",
)
@home_option
@passphrase_option
def countries(
    code: str | None,
    sign: Path | None,
    verify: Path | None,
    home: Path,
    passphrase_file: str | None,
) -> None:
    """List the countries that have a folder, or say everything about one.

    Facts about law come with their source, the day they were written down and how sure we are.
    What nobody is sure of counts as unknown, and unknown is never a permission.
    """
    if code is None:
        if sign or verify:
            raise click.UsageError("say which country's codes")
        rows = [_row(country_profile(found)) for found in countries_here()]
        columns = ("country", "name", "roles", "gdpr", "convention_108", "cets_197", "palermo")
        current().rows(rows, (*columns, "actip", "majority", "languages"))
        return
    profile, codes = country_profile(code.lower()), country_codes(code.lower())
    if sign:
        identity = open_identity(home, passphrase_file)
        note = CodeSetNote(
            country=codes.country,
            version=codes.version,
            digest=codes.digest,
            by=identity.participant,
            signed_at=SystemClock().now(),
        )
        sign.write_bytes(sign_code_set(note, identity.signer()))
        current().result({"country": codes.country, "version": codes.version, "by": note.by})
    elif verify:
        directory = trusted_directory(load_settings(home))
        signed = verify_code_set(verify.read_bytes(), directory, now=SystemClock().now())
        codes.require(signed)
        current().result({"country": codes.country, "version": codes.version, "by": signed.by})
    else:
        current().result({**profile.to_dict(), "codes": _codes(codes)})


def _row(profile: CountryProfile) -> dict[str, Any]:
    law = profile.data_protection
    return {
        "country": profile.country,
        "name": profile.name,
        "roles": list(profile.roles),
        "gdpr": _sure(law.gdpr),
        "convention_108": _sure(law.convention_108),
        "cets_197": _sure(law.cets_197),
        "palermo": _sure(law.palermo),
        "actip": _sure(law.actip),
        "majority": _sure(profile.age_of_majority),
        "languages": list(profile.languages),
        "programmes": list(profile.programmes),
    }


def _sure(fact: Fact) -> str:
    return fact.relied_on


def _codes(codes: CodeSet) -> dict[str, Any]:
    return {
        "version": codes.version,
        "system": codes.system,
        "digest": codes.digest,
        "lists": {
            name: {
                "words": len(codes.to_ours[name]),
                "cannot_map": sorted(codes.cannot_map.get(name, ())),
                "cannot_say": sorted(codes.cannot_say.get(name, ())),
            }
            for name in codes.lists
        },
    }
