"""`referral conform`: try every promise of the port on an adapter, and say which it keeps."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from adapters.base import Tools
from adapters.conformance import conform as run
from adapters.registry import adapter_names
from broker.cli.homes.identity import lent_tools
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.failures import Exit, advised
from broker.cli.terminal.output import current
from schemas.errors import NotFound, SchemaRefused

LEAST: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "external": ('command = ["/usr/bin/node", "/srv/casebook.mjs"]',),
        "fhir": ('url = "https://fhir.example.org/r4"',),
        "files": ('root = "/srv/trial"',),
        "primero": (
            'url = "https://primero.example.org"',
            'user = "broker"',
            'password_file = "/srv/password"',
        ),
        "sftp": (
            'host = "files.example.org"',
            'user = "broker"',
            'root = "trial"',
            'key_file = "/srv/key"',
            'host_key_file = "/srv/host-key.pub"',
            "sealed = true",
        ),
        "webhook": ('url = "https://cases.example.org/referral"', 'memory = "keys"'),
    }
)
"""What each adapter cannot do without: lines of a settings file."""
PAGES: Final[Mapping[str, str]] = MappingProxyType(
    {"fhir": "docs/adapters-fhir.md", "primero": "docs/adapters-primero.md"}
)


@click.command(cls=ReferralCommand)
@click.argument("adapter")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML: the adapter's own table, or a gateway.toml with [adapter.settings].",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of the adapter's own, as its gateway would lend it.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A gateway's home: signatures, sealing and a folder are lent as it lends them.",
)
@click.option("--kills", default=20, show_default=True, help="How often it is killed while filing.")
@click.option("--seed", default=1, show_default=True, help="Draws the moments of the kills.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report here as a page to print and sign (HTML).",
)
def conform(
    adapter: str,
    settings_file: Path | None,
    state: Path | None,
    home: Path | None,
    kills: int,
    seed: int,
    report: Path | None,
) -> None:
    """Run the conformance kit against ADAPTER, in-process or external.

    Invented cases are filed in the system that the settings name: use one made for trials. Ends
    with 3 if a promise is broken.
    """
    voice = current()
    if adapter not in adapter_names():
        here = f"adapters here: {', '.join(adapter_names())}"
        raise advised(NotFound("no such adapter"), here)
    try:
        settings = {} if settings_file is None else _table(settings_file)
        tools = Tools(state=state) if home is None else lent_tools(home)
        with voice.progress("trying") as at:
            found = run(
                adapter,
                settings,
                tools,
                now=datetime.now(UTC),
                kills=kills,
                seed=seed,
                at=at,
            )
    except SchemaRefused as error:
        raise advised(error, to_give(adapter)) from None
    if report is not None:
        report.write_text(found.to_html(), encoding="utf-8")
        voice.say(f"written: {report}")
    voice.result(found.to_json(), plain=found.to_text())
    if not found.passed:
        click.get_current_context().exit(Exit.VERIFICATION)


def to_give(adapter: str) -> str:
    """How an adapter is told of the system that it is tried on."""
    least = f", at least {'; '.join(LEAST[adapter])}" if adapter in LEAST else ""
    page = PAGES.get(adapter, "docs/adapters.md")
    return (
        "write the settings of a system made for trials into a file"
        f"{least} ({page}), then: referral conform {adapter} --settings FILE"
    )


def _table(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise SchemaRefused("the settings are not TOML") from None
    adapter = content.get("adapter")
    return dict(adapter.get("settings", {})) if isinstance(adapter, dict) else content
