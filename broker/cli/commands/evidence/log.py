"""`referral log`: what can be proven, by anybody, without trusting the hub.

`verify` and `verify-all` work offline: they read the files they are given and no settings, and
import nothing but the standard library, `cryptography` and the verifier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from broker.cli.commands.evidence.log_watch import monitor, witness
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.failures import VerificationFailed, advised
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current

BATCH = 1000


@click.group(cls=ReferralGroup)
def log() -> None:
    """Prove and verify. Verifying is offline: no network, no settings, no trust in a hub."""


def _policy(vkeys: tuple[Path, ...], policy: Path | None) -> Any:
    from broker.audit.proofs.policy import Policy, parse_policy

    if policy is not None:
        return parse_policy(policy.read_bytes())
    if not vkeys:
        raise click.UsageError("whose log? give --vkey FILE or --policy FILE")
    texts = [
        line.strip()
        for path in vkeys
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    return Policy.of_logs(*texts)


def _trust_options(command: Any) -> Any:
    command = click.option(
        "--vkey",
        "vkeys",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="The log's verifier key, from somebody you trust and not from the hub.",
    )(command)
    return click.option(
        "--policy",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A tlog-policy file: logs, witnesses and how many must agree.",
    )(command)


def _conclude(verdict: Any) -> None:
    current().result(verdict.to_dict(), plain="\n".join(verdict.lines()))
    if not verdict.proven:
        raise VerificationFailed("not proven")


@log.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@_trust_options
@click.option(
    "--keys",
    "key_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Participants' keys as `referral directory keys` wrote them; else the proof's own word.",
)
@click.option(
    "--root",
    "root_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The directory's first root, as it was handed over: of a bundle, keys are then judged by"
    " the directory of their time, and without --policy the bundle's own counts.",
)
@click.option("--envelope", help="It must be about this message.")
@click.option("--digest", help="It must be about these bytes (SHA-256, base64url).")
@click.option("--fact", help="It must state this: submitted, delivered, filed, read …")
def verify(
    file: Path,
    vkeys: tuple[Path, ...],
    policy: Path | None,
    key_file: Path | None,
    root_file: Path | None,
    envelope: str | None,
    digest: str | None,
    fact: str | None,
) -> None:
    """Verify one proof FILE offline: that a signed fact is in the log, and since when.

    A folder is verified as an auditor's bundle or as a whole exported log; so is a bundle's .zip.
    """
    from broker.audit.proofs.verify import Asked, verify_log, verify_proof_file

    keys = None if key_file is None else _trusted_keys(key_file)
    if file.is_dir() or file.suffix == ".zip":
        from broker.audit.bundle.bundle import CONTENTS, unpacked, verify_bundle

        with unpacked(file) as folder:
            if (folder / CONTENTS).exists():
                root = None if root_file is None else root_file.read_bytes()
                own = root is not None and not vkeys and policy is None
                chosen = None if own else _policy(vkeys, policy)
                _conclude(verify_bundle(folder, chosen, trusted_keys=keys, trusted_root=root))
            else:
                _conclude(verify_log(folder, _policy(vkeys, policy)))
        return
    verdict = verify_proof_file(
        file,
        _policy(vkeys, policy),
        trusted_keys=keys,
        asked=Asked(envelope=envelope, digest=digest, fact=fact),
    )
    _conclude(verdict)


def _trusted_keys(path: Path) -> Mapping[str, Any]:
    from broker.audit.bundle.bundle import read_keys
    from broker.audit.proofs.offline import Failed
    from schemas.errors import SchemaRefused

    try:
        return read_keys(path)
    except Failed as error:
        raise SchemaRefused(f"{path.name}: {error}") from None


@log.command("verify-all")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_trust_options
@click.option(
    "--earlier",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A checkpoint kept from before: the log must still begin with it.",
)
def verify_all(
    folder: Path, vkeys: tuple[Path, ...], policy: Path | None, earlier: tuple[Path, ...]
) -> None:
    """Verify a whole exported log offline: every entry, every tile, the signed head."""
    from broker.audit.proofs.verify import verify_log

    _conclude(
        verify_log(folder, _policy(vkeys, policy), earlier=[path.read_bytes() for path in earlier])
    )


@log.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--fact", default="delivered", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A file; standard output otherwise.")
def proof(api: LocalApi, message: str, fact: str, out: Path | None) -> None:
    """Fetch the proof of one fact about a MESSAGE of ours, as a file that verifies for ever."""
    text = api.text(f"/v1/proof/{message}", fact=fact)
    if out is None:
        current().text(text)
    else:
        out.write_text(text, encoding="utf-8")
        current().result({"message": message, "fact": fact, "file": str(out)})


def fetch(url: str) -> bytes:
    import urllib.error

    from broker.cli.fetch import get
    from schemas.errors import HubUnreachable, NotFound

    try:
        return get(url, seconds=20)[0]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise advised(
                NotFound("the log has nothing there"), "compare the URL with the log's own page"
            ) from None
        raise HubUnreachable(f"answers {error.code}") from None
    except OSError as error:
        raise HubUnreachable(type(error).__name__) from None


@log.command()
@click.option("--hub", "url", required=True, metavar="URL")
def checkpoint(url: str) -> None:
    """The newest signed head of a hub's log. Keep it: a later log must still begin with it."""
    text = fetch(f"{url.rstrip('/')}/log/checkpoint").decode()
    origin, size, root = text.split("\n")[:3]
    if current().as_json:
        current().result({"origin": origin, "size": int(size), "root": root, "note": text})
    else:
        current().text(text)


def _hub_options(command: Any) -> Any:
    command = click.option("--hub", "hub_id", help="Which hub; the home's own otherwise.")(command)
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        envvar="REFERRAL_HOME",
        default=".",
        help="Whose trusted directory is asked.",
    )(command)


def _hub_key(home: Path, hub_id: str | None) -> tuple[Any, Any]:
    from broker.audit.log.note import Verifier
    from broker.cli.homes.identity import known_directory
    from broker.gateway.settings import load_settings
    from schemas.errors import NotFound

    settings = load_settings(home)
    directory = known_directory(settings)
    entry = directory.participant(hub_id or settings.hub.id)
    if entry is None or entry.log_vkey is None:
        raise NotFound("the directory has no log key for that hub")
    return directory, Verifier.from_text(entry.log_vkey)


@log.command()
@_hub_options
@click.option("--witnesses", is_flag=True, help="The witnesses' keys, too; one line each.")
def vkey(home: Path, hub_id: str | None, witnesses: bool) -> None:
    """The verifier key of a hub's log, from the trust directory and not from the hub."""
    from broker.audit.witnesses.countries import witness_key

    directory, key = _hub_key(home, hub_id)
    found = {
        entry.id: found.to_text()
        for entry in directory.participants.values()
        if (found := witness_key(entry)) is not None
    }
    lines = [key.to_text(), *(found.values() if witnesses else ())]
    current().result(
        {"hub": hub_id, "vkey": key.to_text()} | ({"witnesses": found} if witnesses else {}),
        plain="\n".join(lines),
    )


@log.command()
@_hub_options
@click.option("--any", "needed", type=click.IntRange(min=0), help="So many; else more than half.")
@click.option(
    "--witness",
    "independent",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the verifier key of a witness that stands for no country.",
)
def policy(
    home: Path, hub_id: str | None, needed: int | None, independent: tuple[Path, ...]
) -> None:
    """A tlog-policy file from the trust directory: the hub's log, and its countries as witnesses.

    Give it to `log verify --policy`: a proof then counts only if so many countries signed.
    """
    from broker.audit.log.note import Verifier
    from broker.audit.witnesses.countries import policy_of

    directory, key = _hub_key(home, hub_id)
    others = [Verifier.from_text(path.read_text(encoding="utf-8")) for path in independent]
    made = policy_of(directory.participants.values(), logs=[key], needed=needed, independent=others)
    current().text(made.to_text())


@log.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="REFERRAL_HOME",
    default=".",
    help="The auditor's home.",
)
@click.option("--passphrase-file", metavar="FILE", help="Or - for standard input.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The same as FOLDER.")
def export(home: Path, passphrase_file: str | None, folder: Path | None, out: Path | None) -> None:
    """Download the whole log with an auditor's rights, to verify it offline afterwards.

    FOLDER is then a static C2SP tlog-tiles tree, which any web server can serve. A second export into the same folder continues where the first one stopped.
    """
    from broker.cli.homes.identity import open_identity
    from broker.cli.log.export import export_log

    target = folder or out
    if target is None:
        raise click.UsageError("into which folder?")
    identity = open_identity(home, passphrase_file)
    with current().progress("downloading entry") as at:
        size = asyncio.run(export_log(identity, target, at))
    current().result({"folder": str(target), "log_size": size})


@log.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="A day.")
@click.option("--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Inclusive.")
@click.option("--corridor", metavar="CC:CC", help="Only between these two countries, as it:al.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default="hub.toml",
    show_default=True,
    help="The hub's settings file; its database and keys are used.",
)
def bundle(
    target: Path, first: datetime, last: datetime, corridor: str | None, settings: Path
) -> None:
    """Make an auditor's bundle of a period: a folder, or one file if TARGET ends in .zip.

    All evidence with its proofs, the directory's history, a signed table of contents, and a report
    (HTML and PDF). `log verify TARGET` checks it offline.
    """
    from broker.cli.log.bundle import make_bundle

    made = make_bundle(settings, target, first, last, corridor)
    current().result(made)
    if not made["witnessed"]:
        current().say(
            "Too few witnesses have signed this head: it will not verify under a policy that asks "
            "for them. If the newest evidence is of this minute, make the bundle again in two."
        )


log.add_command(monitor)
log.add_command(witness)
