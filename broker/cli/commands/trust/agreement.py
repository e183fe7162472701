"""`referral agreement`: no agreement, no route. Both parties sign, then either registers it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import click

from broker.cli.homes.identity import home_option, open_identity, passphrase_option
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.output import current
from broker.clock import SystemClock
from keys import strict_json
from keys.jws import sign_jws
from keys.signing import countersign as add_signature
from keys.signing import sign_agreement, verify_agreement
from keys.statements.suspension import word_of
from schemas.agreement import SUSPENSION_TYP, Agreement, Suspension
from schemas.base import instant_text, unb64u

LIMIT = 256 * 1024


@click.group(cls=ReferralGroup)
def agreement() -> None:
    """Agreements between two organisations: who may send what to whom, from when until when."""


def terms_of(raw: bytes) -> Agreement:
    """The terms inside a signed agreement, for showing; nothing about its signatures is checked.

    Raises:
        MalformedJson: Not a JWS.
        SchemaRefused: Not an agreement.
    """
    outer = strict_json.parse(raw, limit=LIMIT)
    payload = outer.get("payload") if isinstance(outer, dict) else None
    return Agreement.from_json(unb64u(payload if isinstance(payload, str) else ""))


@agreement.command()
@click.option("--corridor", required=True, help="A known programme, as tact or care.")
@click.option("--from", "sender", required=True, metavar="PARTICIPANT", help="In the destination.")
@click.option("--to", "recipient", required=True, metavar="PARTICIPANT", help="In the origin.")
@click.option("--days", type=click.IntRange(1, 1830), default=365, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the terms here.")
def draft(corridor: str, sender: str, recipient: str, days: int, out: Path | None) -> None:
    """Terms to start from, of a corridor that exists. Read them, change them, then sign.

    Nothing is signed or registered. Where the law leaves a choice of transfer basis, they name the
    one that two public bodies usually take.
    """
    from adapters import corridors

    now = SystemClock().now().replace(microsecond=0)
    terms = corridors.draft(
        corridor,
        sender,
        recipient,
        agreement=uuid4(),
        valid_from=now.date(),
        valid_until=now.date() + timedelta(days=days),
        now=now,
    )
    text = json.dumps(terms.to_dict(), ensure_ascii=False, indent=2)
    if out is None:
        current().text(text)
        return
    out.write_text(text + "\n", encoding="utf-8")
    current().result({"agreement": str(terms.id), "corridor": corridor, "out": str(out)})


@agreement.command()
@click.argument("terms", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@home_option
@passphrase_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The signed file.")
def sign(terms: Path, home: Path, passphrase_file: str | None, out: Path) -> None:
    """Sign the TERMS (JSON) as the first party."""
    identity = open_identity(home, passphrase_file)
    data = terms.read_bytes()
    strict_json.parse(data, limit=LIMIT)
    content = Agreement.from_json(data)
    if identity.participant not in content.parties:
        raise click.UsageError(f"{identity.participant} is no party to these terms")
    out.write_bytes(sign_agreement(content, identity.signer()))
    current().result({"agreement": str(content.id), "signed_by": identity.participant})


@agreement.command()
@click.argument("signed", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@home_option
@passphrase_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The result.")
def countersign(signed: Path, home: Path, passphrase_file: str | None, out: Path) -> None:
    """Sign what the other party has SIGNED, over the same terms."""
    identity = open_identity(home, passphrase_file)
    raw = signed.read_bytes()
    content = terms_of(raw)
    if identity.participant not in content.parties:
        raise click.UsageError(f"{identity.participant} is no party to these terms")
    both = add_signature(raw, identity.signer())
    verify_agreement(both, identity.directory(), now=SystemClock().now())
    out.write_bytes(both)
    current().result({"agreement": str(content.id), "signed_by": identity.participant})


@agreement.command()
@click.argument("signed", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@home_option
@passphrase_option
def register(signed: Path, home: Path, passphrase_file: str | None) -> None:
    """Register an agreement that both have SIGNED at the hub."""
    identity = open_identity(home, passphrase_file)
    raw = signed.read_bytes()

    async def send() -> None:
        async with identity.hub() as hub:
            await hub.register_agreement(raw)

    asyncio.run(send())
    current().result({"agreement": str(terms_of(raw).id), "registered": True})


@agreement.command("list")
@home_option
@passphrase_option
def list_(home: Path, passphrase_file: str | None) -> None:
    """List the agreements that the hub has for this participant."""
    identity = open_identity(home, passphrase_file)

    async def ask() -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
        async with identity.hub() as hub:
            return await hub.agreements()

    directory, now = identity.directory(), SystemClock().now()
    rows = []
    for raw, suspensions in asyncio.run(ask()):
        terms = terms_of(raw)
        words = [word_of(one, terms.parties, directory, now=now) for one in suspensions]
        holding = any(word.holds for word in words if word.agreement == terms.id)
        rows.append({**terms.to_dict(), "suspended": holding})
    current().rows(rows, ("id", "title", "parties", "valid_from", "valid_until", "suspended"))


def _suspension(home: Path, passphrase_file: str | None, identifier: UUID, action: str) -> None:
    identity = open_identity(home, passphrase_file)
    statement = Suspension.from_json(
        json.dumps(
            {
                "agreement": str(identifier),
                "by": identity.participant,
                "action": action,
                "issued_at": instant_text(SystemClock().now()),
            }
        )
    )
    raw = sign_jws(statement.to_json(), typ=SUSPENSION_TYP, signer=identity.signer())

    async def send() -> None:
        async with identity.hub() as hub:
            await hub.suspend(raw)

    asyncio.run(send())
    current().result({"agreement": str(identifier), "action": action})


@agreement.command()
@click.argument("agreement_id", type=click.UUID)
@home_option
@passphrase_option
def suspend(agreement_id: UUID, home: Path, passphrase_file: str | None) -> None:
    """Stop an agreement at once. Safety, withdrawals and receipts still pass."""
    _suspension(home, passphrase_file, agreement_id, "suspend")


@agreement.command()
@click.argument("agreement_id", type=click.UUID)
@home_option
@passphrase_option
def resume(agreement_id: UUID, home: Path, passphrase_file: str | None) -> None:
    """Take back one's own suspension. Who else suspended it must take back theirs."""
    _suspension(home, passphrase_file, agreement_id, "resume")
