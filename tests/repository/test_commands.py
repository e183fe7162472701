"""Whatever command of ours a page shows or a unit starts exists, with the options that it knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from broker.cli.root import referral

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
CODE = re.compile(r"```\w*\n(?P<block>.*?)```|`(?P<mention>[^`\n]+)`", re.DOTALL)
ENDS = {"referral", "|", ">", "&&", ";", "..."}
"""Words after which a line shows something else."""
HOLE = "…"
"""Stands on a page for what is left out."""


def mentions(page: str) -> Iterator[list[str]]:
    """What is shown in passing, as `referral log verify`: a name and perhaps an option."""
    for code in CODE.finditer(page):
        if code["mention"] is not None:
            yield from commands(code["mention"])


def examples(page: str) -> Iterator[list[str]]:
    """What is shown in blocks of its own, to be typed."""
    for code in CODE.finditer(page):
        if code["block"] is not None:
            for line in code["block"].replace("\\\n", " ").splitlines():
                yield from commands(line)


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command that a line shows, without its program's name."""
    for begun in re.finditer(r"(?:^|(?<=\s))referral (?=[a-z-])", line):
        words = []
        for word in shlex.split(line[begun.end() :], comments=True):
            if word in ENDS:
                break
            words.append(word.rstrip(";").strip("[]"))
            if word.endswith(";"):
                break
        yield words


def find(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the words that are left for it.

    A group may be named alone, or asked for help.
    """
    command: click.Command = referral
    rest = list(words)
    with click.Context(referral) as context:
        while isinstance(command, click.Group) and rest and rest[0] != "--help":
            found = command.get_command(context, rest[0])
            assert found is not None, f"no command {rest[0]}: referral {' '.join(words)}"
            command, rest = found, rest[1:]
    return command, rest


def options(command: click.Command) -> set[str]:
    return {
        "--help",
        *(name for given in command.params for name in (*given.opts, *given.secondary_opts)),
    }


def check_mention(words: list[str]) -> None:
    command, rest = find(words)
    given = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
    assert given <= options(command), f"no such option: referral {' '.join(words)}"


def check_example(words: list[str]) -> None:
    """As far as it can be tried without running it: all but files, ids and names."""
    command, rest = find(words)
    if HOLE in words:
        check_mention(words)
        return
    shown = f"referral {' '.join(words)}"
    with click.Context(command) as context:
        found, surplus, _ = command.make_parser(context).parse_args(rest)
        assert surplus == [], shown
        for parameter in command.params:
            name = str(parameter.name)
            missing = name not in found or parameter.value_is_missing(found[name])
            assert not (parameter.required and missing), f"without {name}: {shown}"
            if isinstance(parameter.type, click.Choice) and not missing:
                values = found[name] if parameter.multiple else [found[name]]
                for value in values:
                    parameter.type.convert(value, parameter, context)


def check_page(text: str) -> None:
    for words in mentions(text):
        check_mention(words)
    for words in examples(text):
        check_example(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    check_page(page.read_text("utf-8"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_exists_with_options_that_it_knows(unit: Path) -> None:
    started = re.findall(r"^ExecStart=(.+)$", unit.read_text("utf-8"), re.MULTILINE)
    assert started
    for line in started:
        program, *words = shlex.split(line)
        assert program == "/opt/referral-broker/.venv/bin/referral"
        check_example(words)


@pytest.mark.parametrize(
    "wrong",
    [
        "Say `referral forward MESSAGE`.",
        "Say `referral log verify --offline`.",
        "```\nreferral withdraw\n```",
        "```\nreferral answer accept\n```",
        "```\nreferral send --to al.nrm\n```",
        "```\nreferral consent receipt GRANT --language de\n```",
        "```\nreferral inbox    referral show MESSAGE --opened\n```",
    ],
)
def test_what_could_not_run_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        check_page(wrong)
