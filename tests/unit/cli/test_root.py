"""The command line keeps its contract: where words go, how it ends, and what it does not import."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from broker.cli import commands
from broker.cli.root import CHAPTERS, referral
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.failures import NEXT_STEP, Exit, as_json, error_named, exit_code, sentence
from broker.cli.terminal.output import current, fields, fitting, table
from schemas import errors

COMMANDS = {name: entry for part in CHAPTERS.values() for name, entry in part.items()}
HEAVY = ("pydantic", "fastapi", "sqlalchemy", "rich", "httpx2", "aio_pika", "tuf", "uvicorn")


def imported_by(*arguments: str) -> set[str]:
    program = (
        "import sys\n"
        "from broker.cli.root import referral\n"
        f"referral.main({list(arguments)!r}, standalone_mode=False)\n"
        "sys.stderr.write(' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_imports_nothing_heavy() -> None:
    assert imported_by("--help").isdisjoint(HEAVY)


def test_completing_a_command_imports_none_of_them() -> None:
    program = (
        "import sys\n"
        "from broker.cli.root import referral\n"
        "import click\n"
        "found = referral.shell_complete(click.Context(referral), 'tr')\n"
        "print([item.value for item in found])\n"
        "assert not [name for name in sys.modules if name.startswith('broker.cli.commands.')]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['transfer']\n"


def test_every_command_of_the_contract_is_listed() -> None:
    answer = CliRunner().invoke(referral, ["--help"])
    wanted = "demo hub gateway keys directory agreement send inbox show answer transfer withdraw"
    for name in [*wanted.split(), "consent", "log", "doctor"]:
        assert f"  {name} " in answer.stdout


def test_every_module_of_commands_can_be_reached() -> None:
    listed = {target.partition(":")[0].rpartition(".")[2] for target, _ in COMMANDS.values()}
    there = {place.stem for place in Path(commands.__file__).parent.glob("*/[a-z]*.py")}
    assert there - listed == {"ceremony", "log_watch"}  # parts of `directory` and of `log`


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(referral, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage:" in answer.stdout


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found += leaves(child, (*path, name))
    return found


@pytest.mark.parametrize("path", leaves(referral), ids=" ".join)
def test_json_is_offered_everywhere(path: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(referral, [*path, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "--json" in answer.stdout


@pytest.mark.parametrize("path", leaves(referral), ids=" ".join)
def test_no_command_takes_a_secret_as_an_option_or_from_the_environment(
    path: tuple[str, ...],
) -> None:
    command: click.Command | None = referral
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    for parameter in command.params:
        for option in parameter.opts:
            if any(word in option for word in ("passphrase", "password", "token", "secret")):
                assert option.endswith("-file"), option
                assert parameter.envvar is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConsentScope(), Exit.POLICY),
        (errors.ConsentWithdrawn(), Exit.POLICY),
        (errors.NoAgreement(), Exit.POLICY),
        (errors.ExceptionRefused(), Exit.POLICY),
        (errors.NotFound(), Exit.NOT_FOUND),
        (errors.RecipientUnknown(), Exit.NOT_FOUND),
        (errors.BadSignature(), Exit.VERIFICATION),
        (errors.LogInconsistent(), Exit.VERIFICATION),
        (errors.DirectoryRefused(), Exit.VERIFICATION),
        (errors.HubUnreachable(), Exit.UNREACHABLE),
        (errors.StorageUnavailable(), Exit.UNREACHABLE),
        (errors.CustodyLocked(), Exit.FAILED),
        (errors.SchemaRefused(), Exit.FAILED),
        (errors.Conflict(), Exit.FAILED),
    ],
)
def test_the_exit_code_says_what_can_be_done_about_it(
    error: errors.BrokerError, code: Exit
) -> None:
    assert exit_code(error) is code
    rebuilt = error_named(error.code, family=error.family)
    assert exit_code(rebuilt) is code
    assert error.code in sentence(rebuilt)


def test_a_code_from_a_newer_gateway_keeps_its_family() -> None:
    assert exit_code(error_named("not-yet-invented", family="unavailable")) is Exit.UNREACHABLE
    assert exit_code(error_named("not-yet-invented", family="suspect")) is Exit.VERIFICATION
    assert exit_code(error_named("not-yet-invented")) is Exit.FAILED


def run(function: object, *arguments: str) -> tuple[int, str, str]:
    command = click.command("try", cls=ReferralCommand)(function)  # type: ignore[arg-type]
    answer = CliRunner().invoke(command, list(arguments))
    return answer.exit_code, answer.stdout, answer.stderr


def test_an_error_goes_to_standard_error_with_its_next_step() -> None:
    def refuse() -> None:
        raise errors.ConsentScope(where=("sections.health_general",))

    code, out, err = run(refuse)
    assert (code, out) == (Exit.POLICY, "")
    assert "consent-scope" in err
    assert "sections.health_general" in err
    assert "next: " in err


def test_with_json_the_error_is_json_too_and_standard_output_stays_empty() -> None:
    def refuse() -> None:
        raise errors.NotFound()

    code, out, err = run(refuse, "--json")
    assert (code, out) == (Exit.NOT_FOUND, "")
    assert json.loads(err)["error"]["code"] == "not-found"


def test_a_bug_is_named_without_repeating_what_it_was_about() -> None:
    def break_down() -> None:
        raise ValueError("Invented Person, born 2001")

    code, out, err = run(break_down)
    assert code == Exit.FAILED
    assert "ValueError" in err
    assert "Invented" not in out + err


def test_every_code_of_the_protocol_has_a_next_step_and_a_new_one_has_its_familys() -> None:
    for code, kind in errors.codes().items():
        assert NEXT_STEP[code], kind
        assert as_json(kind())["error"]["next"] == NEXT_STEP[code]  # type: ignore[index]
    assert sentence(errors.Unavailable("closed")).startswith("unavailable: closed\n")
    newer = error_named("of-tomorrow", family="unavailable")
    assert sentence(newer).endswith(f"next: {NEXT_STEP['unavailable']}")


def test_every_command_of_a_next_step_could_be_typed() -> None:
    for step in NEXT_STEP.values():
        for said in re.findall(r"referral ([a-z -]+)", step):
            command: click.Command = referral
            for word in said.split():
                if not isinstance(command, click.Group) or word.startswith("-"):
                    break
                found = command.get_command(click.Context(command), word)
                assert found is not None, said
                command = found


def test_every_page_of_a_next_step_is_there() -> None:
    for step in NEXT_STEP.values():
        for page in re.findall(r"docs/[a-z/-]+\.md", step, re.IGNORECASE):
            assert Path(page).is_file(), page


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_missing_file_is_not_found_and_is_told_as_it_was_asked_for(
    options: tuple[str, ...],
) -> None:
    def read() -> None:
        with open("/nowhere/at/all"):
            pass

    code, out, err = run(read, *options)
    assert (code, out) == (Exit.NOT_FOUND, "")
    if options:
        assert json.loads(err)["error"]["code"] == "not-found"
    else:
        assert err == "not found: /nowhere/at/all\n"


def test_with_json_a_bug_and_a_full_disk_are_json_too() -> None:
    def break_down() -> None:
        raise ValueError("Invented Person, born 2001")

    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for work in (break_down, fill):
        code, out, err = run(work, "--json")
        assert (code, out) == (Exit.FAILED, "")
        assert json.loads(err)["error"]["detail"].startswith("failed: ")
        assert "Invented" not in err


def test_a_table_too_wide_for_the_terminal_is_said_name_by_name() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1" * 30, "case_ref": "C-1", "role": None},
        {"id": "2", "case_ref": "C-2"},
    ]
    columns = ("id", "case_ref", "role")
    assert fitting(rows, columns, 60) == table(rows, columns)
    cards = fitting(rows, columns, 40)
    assert cards.splitlines() == [
        f"id        {'1' * 30}",
        "case ref  C-1",
        "",
        "id        2",
        "case ref  C-2",
    ]


def test_a_result_is_one_json_object_and_narration_is_elsewhere() -> None:
    def work() -> None:
        current().say("working")
        current().result({"name": "Ana Ž", "count": 2})

    code, out, err = run(work, "--json")
    assert code == 0
    assert json.loads(out) == {"name": "Ana Ž", "count": 2}
    assert err == "working\n"


def test_a_table_aligns_and_marks_what_is_missing() -> None:
    text = table([{"id": "a", "at": None}, {"id": "bcd", "at": "now"}], ("id", "at"))
    assert text.splitlines() == ["id   at", "a    -", "bcd  now"]


def test_with_json_a_mistake_of_writing_is_json_too() -> None:
    ended = CliRunner().invoke(referral, ["show", "no-id", "--json"])
    assert (ended.exit_code, ended.stdout) == (Exit.USAGE, "")
    assert json.loads(ended.stderr)["error"]["code"] == "usage"


def test_what_has_parts_stands_below_its_name() -> None:
    rows = [{"fact": "filed", "by": "al.nrm", "code": None}]
    text = fields({"id": "m", "facts": rows, "body": {"a": {"b": 1}}, "none": {}})
    assert text.splitlines() == [
        "id    m",
        "facts",
        "  fact   by",
        "  filed  al.nrm",
        "body",
        "  a",
        "    b  1",
        "none  -",
    ]


def test_a_reader_that_has_read_enough_is_no_failure() -> None:
    """As in `referral catalogue | head`: the pipe is closed before the first word."""
    program = [sys.executable, "-m", "broker.cli", "catalogue"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
