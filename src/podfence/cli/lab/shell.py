# SPDX-License-Identifier: Apache-2.0
"""``podfence lab shell``: a shell in a pod."""

from __future__ import annotations

import sys

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared


@click.command(
    cls=Command,
    examples="podfence lab shell shop/deploy/web\npodfence lab shell outside",
    exits="the exit code of the shell; 2 if there is no such lab or pod too",
)
@click.argument("target", metavar="POD")
@click.option("-c", "--container", metavar="NAME", help="Which container; the first unless given.")
@shared.in_namespace
@shared.named
def command(*, target: str, container: str | None, namespace: str, name: str) -> int:
    """Open a shell inside a pod, on a node (node:NAME), or outside the cluster (outside)."""
    from podfence.cli.lab import terminal

    return terminal.run(
        name, target, ("sh",), container=container, namespace=namespace, stdin=True, tty=sys.stdin.isatty()
    )
