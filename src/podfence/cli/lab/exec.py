# SPDX-License-Identifier: Apache-2.0
"""``podfence lab exec`` and ``podfence lab shell``: run a command in a pod."""

from __future__ import annotations

import sys

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab exec shop/deploy/web -- wget -qO- --timeout=2 http://api:5000
podfence lab exec client -n shop -- ping -c 1 10.244.1.2

# Run commands on a node, and outside the cluster
podfence lab exec node:node-1 -- nft list table inet podfence
podfence lab exec outside -- wget -qO- --timeout=2 http://172.30.0.11:31261
"""

_in_container = click.option(
    "-c", "--container", metavar="NAME", help="Container name. The default is the first container."
)


@click.command(
    cls=Command, examples=_EXAMPLES, exits="the exit code of the command, or 2 if the lab or the pod does not exist"
)
@click.argument("target", metavar="POD")
@click.argument("command_line", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG...]")
@_in_container
@click.option("-i", "--stdin", "stdin", is_flag=True, help="Pass standard input to the command.")
@click.option("-t", "--tty", "tty", is_flag=True, help="Give the command a terminal.")
@shared.in_lab
def command(
    *,
    target: str,
    command_line: tuple[str, ...],
    container: str | None,
    stdin: bool,
    tty: bool,
    namespace: str,
    name: str,
) -> int:
    """Run a command in a pod, on a node, or outside the cluster.

    POD is the name of a pod, NS/NAME, a workload such as deploy/NAME (its first pod), node:NAME, or outside.
    """
    from podfence.cli.lab import terminal

    return terminal.run(
        name, target, command_line, container=container, namespace=namespace, stdin=stdin or tty, tty=tty
    )


@click.command(
    "shell",
    cls=Command,
    examples="podfence lab shell shop/deploy/web\npodfence lab shell outside",
    exits="the exit code of the shell, or 2 if the lab or the pod does not exist",
)
@click.argument("target", metavar="POD")
@_in_container
@shared.in_lab
def shell(*, target: str, container: str | None, namespace: str, name: str) -> int:
    """Open a shell in a pod, on a node (node:NAME), or outside the cluster (outside)."""
    from podfence.cli.lab import terminal

    return terminal.run(
        name, target, ("sh",), container=container, namespace=namespace, stdin=True, tty=sys.stdin.isatty()
    )
