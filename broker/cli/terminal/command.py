"""What every command has in common: `--json`, `--debug`, and errors that end as exit codes.

A group knows its commands by name and imports one when it is called, so that `--help` is quick.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from broker.cli.terminal.failures import Exit, as_json, exit_code, sentence
from broker.cli.terminal.output import Output
from schemas.errors import BrokerError


class ReferralCommand(click.Command):
    """A command with `--json` and `--debug`, whose errors end as exit codes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["--json", "as_json"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_choose_json,
                help="The result as JSON on standard output.",
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_choose_debug,
                help="Show a traceback when something fails.",
            ),
        ]

    def make_context(
        self, info_name: str | None, args: list[str], *others: Any, **more: Any
    ) -> click.Context:
        # Looked up before parsing, which is what may fail.
        wants_json = "--json" in args
        try:
            return super().make_context(info_name, args, *others, **more)
        except click.UsageError as error:
            if not wants_json:
                raise
            raise _said_as_json(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        voice = _voice(ctx)
        try:
            return super().invoke(ctx)
        except BrokerError as error:
            if voice.debug:
                raise
            if voice.as_json:
                click.echo(json.dumps(as_json(error), ensure_ascii=False), err=True)
            else:
                voice.say(sentence(error), fg="red")
            ctx.exit(exit_code(error))
        except click.ClickException as error:
            if voice.as_json:
                raise _said_as_json(error) from None
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            raise  # who reads has read enough, as `head` has: Click ends without a word
        except FileNotFoundError as error:
            if voice.debug:
                raise
            ctx.exit(_fail(voice, Exit.NOT_FOUND, f"not found: {error.filename}"))
        except OSError as error:
            if voice.debug:
                raise
            where = f": {error.filename}" if error.filename else ""
            ctx.exit(_fail(voice, Exit.FAILED, f"failed: {error.strerror or error}{where}"))
        except Exception as error:
            # The text of a foreign exception may repeat what it was given: name it, no more.
            if voice.debug:
                raise
            text = f"failed: {type(error).__name__}, which is a bug; --debug shows where"
            ctx.exit(_fail(voice, Exit.FAILED, text))


class ReferralGroup(click.Group):
    """A group whose commands have `--json`, too."""

    command_class = ReferralCommand


ReferralGroup.group_class = type


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def __init__(
        self, *args: Any, chapters: Mapping[str, Mapping[str, tuple[str, str]]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.chapters = chapters
        self.lazy = {name: entry for part in chapters.values() for name, entry in part.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.lazy))
        for title, part in self.chapters.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in part.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and lines from the table: completing a command must not import them all."""
        return [
            CompletionItem(name, help=line)
            for name, (_, line) in self.lazy.items()
            if name.startswith(incomplete)
        ]


def _said_as_json(error: click.ClickException) -> click.exceptions.Exit:
    """Tell what ends a command, for a script; what is returned ends it."""
    _tell(Exit(error.exit_code), error.format_message())
    return click.exceptions.Exit(error.exit_code)


def _fail(voice: Output, code: Exit, text: str) -> Exit:
    """Tell, as it was asked for, what ended a command that is no word of the protocol."""
    if voice.as_json:
        _tell(code, text)
    else:
        voice.say(text, fg="red")
    return code


_NAMES = {
    Exit.USAGE: "usage",
    Exit.PARTLY: "partly-done",
    Exit.VERIFICATION: "not-verified",
    Exit.NOT_FOUND: "not-found",
}


def _tell(code: Exit, text: str) -> None:
    told = {"code": _NAMES.get(code, "failed"), "family": "command", "detail": text, "where": []}
    click.echo(json.dumps({"error": told}, ensure_ascii=False), err=True)


def _voice(ctx: click.Context) -> Output:
    found = ctx.find_object(Output)
    if found is None:
        found = ctx.find_root().obj = Output()
    return found


def _choose_json(ctx: click.Context, _param: click.Parameter, chosen: bool) -> None:
    if chosen:
        _voice(ctx).as_json = True


def _choose_debug(ctx: click.Context, _param: click.Parameter, chosen: bool) -> None:
    if chosen:
        _voice(ctx).debug = True
