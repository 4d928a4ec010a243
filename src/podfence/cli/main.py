# SPDX-License-Identifier: Apache-2.0
"""The programs ``podfence`` and ``kubectl-podfence``."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

import click

from podfence.cli.commands import Commands

_TABLE = {
    "list": ("podfence.cli.list", "Who can reach whom, on what"),
    "check": ("podfence.cli.check", "Whether a connection is allowed, and by what"),
    "explain": ("podfence.cli.explain", "How the decision on a connection comes about"),
    "agent": ("podfence.cli.agent", "Enforce the policies of a cluster on this node"),
    "controller": ("podfence.cli.controller", "Let pods onto nodes whose agent is ready"),
    "why": ("podfence.cli.why", "The engine's answer beside the kernel of this node"),
    "lab": ("podfence.cli.lab", "A small cluster on this machine, with real packets"),
    "options": ("podfence.cli.options", "What upstream leaves open, and how it is answered here"),
    "semantics": ("podfence.cli.semantics", "The rules that answers rest on, by number"),
    "config": ("podfence.cli.config", "The settings of podfence.toml that are in force here"),
    "schema": ("podfence.cli.schema", "The JSON Schema of what the commands print"),
    "completion": ("podfence.cli.completion", "The completion script of a shell"),
    "version": ("podfence.cli.version", "The version of podfence"),
}

_EXAMPLES = """
# Who can reach whom, by the manifests of a folder
podfence list -f manifests/ -R

# May the web pods connect to the database, and why (not)?
podfence check shop/web shop/db 5432 -f manifests/
podfence explain shop/web shop/db 5432 -f manifests/

# The same questions about the live cluster that kubectl talks to, or another one
podfence list
podfence check shop/web shop/db 5432 --context prod
"""


@click.group(
    "podfence",
    cls=Commands,
    table=_TABLE,
    examples=_EXAMPLES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def commands(ctx: click.Context, *, version: bool) -> int:
    """Answer who can talk to whom in a Kubernetes cluster, exactly, from its NetworkPolicies."""
    if ctx.invoked_subcommand is None:
        if version:
            from podfence.cli.version import line

            click.echo(line())
        else:
            click.echo(ctx.get_help())
    return 0


def main() -> NoReturn:
    """Run the program; the process ends with the exit code of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(commands.main(standalone_mode=False))
