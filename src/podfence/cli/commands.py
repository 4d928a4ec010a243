# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN401, ARG002, FBT001, FBT002 - the signatures are those of the click methods they replace
"""The command and group classes: help as kubectl lays it out, commands imported when they are run."""

from __future__ import annotations

import re
import sys
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import click

from podfence.cli import errors
from podfence.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from click.shell_completion import CompletionItem

    _Adds = Callable[[Callable[..., int]], Callable[..., int]]

PROGRAM = "podfence"
PLUGIN = "kubectl podfence"

COMPLETION_VARIABLE = "_PODFENCE_COMPLETE"
"""The environment variable by which a completion script asks for words."""

ARGUMENTS = "podfence.arguments"
"""The key of the whole command line in the context's `meta`."""

_SHORT_OPTION_WITH_EQUALS = re.compile(r"(-[a-zA-Z])=(.*)", re.DOTALL)


def program() -> str:
    """Return how this program was called: ``kubectl podfence`` when it runs as a plugin."""
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2]
    return PLUGIN if name.startswith("kubectl-podfence") else PROGRAM


def added(*options: _Adds) -> _Adds:
    """Return the decorator that adds options and arguments to a command, in the order in which help lists them."""

    def add(function: Callable[..., int]) -> Callable[..., int]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


class Command(click.Command):
    """A command whose help starts with what it is for and examples; `exits` describes its exit codes."""

    def __init__(self, *args: Any, examples: str = "", exits: str = "", **kwargs: Any) -> None:
        """Take click's arguments; `examples` are shell lines with comments, written with ``podfence``."""
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.exits = exits

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse `args`, taking ``-o=json`` for ``-o json`` as kubectl does."""
        return super().parse_args(ctx, [_SHORT_OPTION_WITH_EQUALS.sub(r"\1\2", arg) for arg in args])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write description, examples, options, exit codes and usage, in kubectl's order."""
        _write_head(self.help or "", self.examples, ctx, formatter)
        self.format_options(ctx, formatter)
        if self.exits:
            _write_lines("Exit codes", self.exits, formatter)
        _write_lines("Usage", " ".join([ctx.command_path, *self.collect_usage_pieces(ctx)]), formatter)


class Commands(click.Group):
    """The group of all commands; `table` maps a name to its module and one line of help.

    A module that has several commands is written with the name of the one: ``module:name``.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], examples: str, **kwargs: Any) -> None:
        """Take click's arguments and the table of commands."""
        super().__init__(*args, **kwargs)
        self.table = table
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse `args` and keep them, for messages that repeat the command."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is none of that name."""
        if cmd_name not in self.table:
            return None
        from importlib import import_module

        module, _, name = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name or "command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that start with `incomplete`, without importing a command."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=text) for name, (_, text) in self.table.items() if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` name; an unknown one is a usage error with the nearest name."""
        if args and not ctx.resilient_parsing and args[0] not in self.table and not args[0].startswith("-"):
            near = nearest(args[0], self.table)
            hint = f"; did you mean {near}?" if near else ""
            raise click.UsageError(f"unknown command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write description, examples, commands, options and usage without importing a command."""
        _write_head(self.help or "", self.examples, ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])
        click.Command.format_options(self, ctx, formatter)
        _write_lines("Usage", f"{ctx.command_path} COMMAND [OPTIONS]", formatter)
        formatter.write_paragraph()
        formatter.write_text(f"`{ctx.command_path} COMMAND --help` shows more information about a command.")

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; the process ends with its exit code, or that is returned if not in standalone mode."""
        code = errors.guarded(
            lambda: super(Commands, self).main(
                args, prog_name or program(), complete_var or COMPLETION_VARIABLE, standalone_mode=False, **extra
            )
        )
        if standalone_mode:
            sys.exit(code)
        return code

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read a command line; help and version that it asks for are out when this returns."""
        with errors.writing():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that `ctx` names; what it has written is out when this returns."""
        with errors.writing():
            return super().invoke(ctx)


def _write_head(text: str, examples: str, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    formatter.write_text(cleandoc(text))
    if not examples:
        return
    name = ctx.find_root().command_path
    _write_lines("Examples", re.sub(r"(?m)(^|[|] )podfence ", rf"\1{name} ", examples), formatter)


def _write_lines(title: str, text: str, formatter: click.HelpFormatter) -> None:
    with formatter.section(title):
        for line in text.strip().splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}".rstrip() + "\n")
