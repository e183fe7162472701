"""`referral log monitor` and `referral log witness`: watching a log without being part of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from broker.cli.terminal.command import ReferralCommand, ReferralGroup
from broker.cli.terminal.failures import VerificationFailed
from broker.cli.terminal.output import current

KEYS = "keys"
LOGS = "logs"
SPLIT = "docs/operations/split-log.md"
"""What to do about a log that contradicts itself."""


@click.command(cls=ReferralCommand)
@click.option("--log", "url", required=True, metavar="URL", help="Its prefix, as https://hub/log")
@click.option("--vkey", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--state", required=True, type=click.Path(path_type=Path), help="A folder of ours.")
@click.option("--every", default=60.0, show_default=True, metavar="SECONDS")
@click.option("--once", is_flag=True, help="One step, then end.")
def monitor(url: str, vkey: Path, state: Path, every: float, once: bool) -> None:
    """Follow a log, any C2SP tlog-tiles one, and keep the proof if it contradicts itself.

    Reads checkpoint and hash tiles alone. Ends with code 3 when the log has shrunk or shows
    another history; both signed heads are then in the state folder.
    """
    from broker.audit.log.checkpoint import Contradiction
    from broker.audit.log.note import Verifier
    from broker.audit.witnesses.monitor import Monitor
    from broker.audit.witnesses.witness import WitnessMemory
    from broker.cli.commands.evidence.log import fetch
    from schemas.errors import LogInconsistent, Unavailable

    keys = [Verifier.from_text(line) for line in _lines(vkey)]
    memory = WitnessMemory(state).open()
    origin = keys[0].name

    async def get(path: str) -> bytes:
        return await asyncio.to_thread(fetch, f"{url.rstrip('/')}/{path}")

    async def remember(checkpoint: bytes) -> None:
        await asyncio.to_thread(memory.keep, origin, checkpoint)

    async def follow() -> None:
        watching = Monitor(log=keys, fetch=get, remember=remember, trusted=memory.last(origin))
        while True:
            try:
                step = await watching.update()
                head = step.head.checkpoint
                current().result(
                    {"size": head.size, "grew_by": step.grew_by},
                    plain=f"{head.size} entries, {step.grew_by} more, consistent",
                )
            except Unavailable as error:
                if once:
                    raise
                current().say(f"no answer: {error.describe()}")
            if once:
                return
            await asyncio.sleep(every)

    try:
        if memory.contradicted(origin):
            raise LogInconsistent(
                f"this log has contradicted itself before: see {state}\nnext: {SPLIT}"
            )
        asyncio.run(follow())
    except Contradiction as error:
        kept = memory.keep_contradiction(origin, *error.checkpoints)
        raise VerificationFailed(
            f"{error.detail}; both heads are in {kept}\nnext: {SPLIT}"
        ) from None
    except LogInconsistent as error:
        raise VerificationFailed(error.detail) from None
    finally:
        memory.close()


@click.group(cls=ReferralGroup)
def witness() -> None:
    """A tlog-witness (C2SP) of one's own: signs the heads of logs that only grow."""


@witness.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--name", required=True, help="A schema-less URL that names it, as witness.example/w1"
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with verifier keys of logs that it signs for.",
)
def init(folder: Path, name: str, logs: tuple[Path, ...]) -> None:
    """Make keys (Ed25519 and ML-DSA-44) and print their verifier keys for the logs' policies."""
    from broker.audit.log.checkpoint import make_log_key_mldsa, make_witness_key
    from broker.audit.log.note import Verifier
    from schemas.errors import Conflict

    if (folder / KEYS).exists():
        raise Conflict("there is a witness in this folder")
    followed = [line for path in logs for line in _lines(path)]
    for line in followed:
        Verifier.from_text(line)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = [make_witness_key(name), make_log_key_mldsa(name)]
    handle = os.open(folder / KEYS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("".join(f"{skey}\n" for skey, _ in made))
    (folder / LOGS).write_text("".join(f"{line}\n" for line in followed), encoding="utf-8")
    current().result(
        {"folder": str(folder), "vkeys": [vkey for _, vkey in made]},
        plain="\n".join(vkey for _, vkey in made),
    )


@witness.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8430, show_default=True)
def run(folder: Path, host: str, port: int) -> None:
    """Serve `POST /add-checkpoint`. TLS is the business of the proxy in front."""
    import uvicorn

    from broker.audit.log.note import NoteSigner, Verifier
    from broker.audit.witnesses.witness import Witness, WitnessMemory
    from broker.audit.witnesses.witness_http import create_witness_app
    from broker.clock import SystemClock
    from broker.telemetry import configure_logging

    logs: dict[str, list[Verifier]] = {}
    for line in _lines(folder / LOGS):
        key = Verifier.from_text(line)
        logs.setdefault(key.name, []).append(key)
    if not logs:
        raise click.UsageError(f"{folder / LOGS} names no log")
    signers = [NoteSigner.from_text(line) for line in _lines(folder / KEYS)]
    memory = WitnessMemory(folder / "memory").open()
    configure_logging("witness")
    try:
        app: Any = create_witness_app(Witness(logs, signers, memory), SystemClock().now)
        uvicorn.run(
            app, host=host, port=port, log_config=None, access_log=False, server_header=False
        )
    finally:
        memory.close()


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
