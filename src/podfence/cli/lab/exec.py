# SPDX-License-Identifier: Apache-2.0
"""``podfence lab exec``: run a command in a pod."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab exec shop/deploy/web -- wget -qO- --timeout=2 http://api:5000
podfence lab exec client -n shop -- ping -c 1 10.244.1.2

# From a node, and from outside the cluster
podfence lab exec node:node-1 -- nft list table inet podfence
podfence lab exec outside -- wget -qO- --timeout=2 http://172.30.0.11:31261
"""


@click.command(
    cls=Command, examples=_EXAMPLES, exits="the exit code of the command; 2 if there is no such lab or pod too"
)
@click.argument("target", metavar="POD")
@click.argument("command_line", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG...]")
@click.option("-c", "--container", metavar="NAME", help="Which container; the first unless given.")
@click.option("-i", "--stdin", "stdin", is_flag=True, help="Give the command this standard input.")
@click.option("-t", "--tty", "tty", is_flag=True, help="Give the command a terminal.")
@shared.in_namespace
@shared.named
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
    """Run a command inside a pod: POD, NS/POD, deploy/NAME and so on (its first pod), node:NAME, or outside."""
    from podfence.cli.lab import terminal

    return terminal.run(
        name, target, command_line, container=container, namespace=namespace, stdin=stdin or tty, tty=tty
    )
