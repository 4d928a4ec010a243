# SPDX-License-Identifier: Apache-2.0
"""The programs ``podfence`` and ``kubectl-podfence``."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

from podfence.cli.commands import PROGRAM, Commands
from podfence.cli.errors import fail

_TABLE = {
    "list": ("podfence.cli.list", "List the connections that the policies allow"),
    "check": ("podfence.cli.question:check", "Check whether a connection is allowed, and by which policies"),
    "explain": ("podfence.cli.question:explain", "Explain step by step why a connection is allowed or denied"),
    "diff": ("podfence.cli.diff", "Compare two versions: which connections a change opens and closes"),
    "agent": ("podfence.cli.agent", "Enforce the policies of a cluster on this node"),
    "controller": ("podfence.cli.controller", "Remove the not-ready taint from nodes whose agent is ready"),
    "why": ("podfence.cli.why", "Compare the engine's answer with the kernel of this node"),
    "lab": ("podfence.cli.lab", "Run a small cluster on this machine, with real packets"),
    "options": ("podfence.cli.about:options", "List the engine options: what Kubernetes leaves open, and the values"),
    "semantics": ("podfence.cli.about:rules", "Print the numbered rules that the answers cite"),
    "config": ("podfence.cli.about:configuration", "Print the settings of podfence.toml that apply in this directory"),
    "schema": ("podfence.cli.about:schemas", "Print the JSON Schema of the output of the commands"),
    "completion": ("podfence.cli.about:completion", "Print the completion script for a shell"),
    "version": ("podfence.cli.about:version", "Print the version of podfence"),
}

_EXAMPLES = """
# List who can reach whom, from the manifests in a folder
podfence list -f manifests/ -R

# Check whether the web pods may connect to the database, and explain the answer
podfence check shop/web shop/db 5432 -f manifests/
podfence explain shop/web shop/db 5432 -f manifests/

# Ask about the live cluster that kubectl uses, or about another one
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
@click.version_option(package_name="podfence", message=f"{PROGRAM} %(version)s", help="Print the version and exit.")
@click.pass_context
def commands(ctx: click.Context) -> int:
    """Find out exactly which connections the NetworkPolicies of a Kubernetes cluster allow."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def main() -> NoReturn:
    """Run the program; the process ends with the exit code of the command."""
    # A stream that was closed before the start is None.
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if sys.stdout is None:
        sys.exit(fail("the answer cannot be written: standard output is closed"))
    try:
        os.getcwd()  # noqa: PTH109  pathlib takes longer to load than help to print
    except OSError as error:
        sys.exit(fail(f"the working directory cannot be read: {error.strerror}; change to another one"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(commands.main(standalone_mode=False))
