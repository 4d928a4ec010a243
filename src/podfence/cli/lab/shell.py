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
    exits="the exit code of the shell, or 2 if the lab or the pod does not exist",
)
@click.argument("target", metavar="POD")
@click.option("-c", "--container", metavar="NAME", help="Container name. The default is the first container.")
@shared.in_namespace
@shared.named
def command(*, target: str, container: str | None, namespace: str, name: str) -> int:
    """Open a shell in a pod, on a node (node:NAME), or outside the cluster (outside)."""
    from podfence.cli.lab import terminal

    return terminal.run(
        name, target, ("sh",), container=container, namespace=namespace, stdin=True, tty=sys.stdin.isatty()
    )
