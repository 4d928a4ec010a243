# SPDX-License-Identifier: Apache-2.0
"""``podfence lab logs``: what agents, lab and pods printed."""

from __future__ import annotations

import os
import sys

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
# Follow what the agents denied and did
podfence lab logs -f

# Print the output of a pod
podfence lab logs shop/deploy/api
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  printed\n2  the lab or the pod does not exist")
@click.argument("target", required=False, metavar="[POD]")
@click.option("-c", "--container", metavar="NAME", help="Container name. The default is the first container.")
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they come.")
@shared.in_namespace
@shared.named
def command(*, target: str | None, container: str | None, follow: bool, namespace: str, name: str) -> int:
    """Print the log of the lab and its agents, with a line for every denied connection, or the output of a pod."""
    from podfence.lab.client import Client

    with Client(name).conversation(
        "logs", target=target, container=container, follow=follow, namespace=namespace
    ) as replies:
        for reply in replies:
            outputs.write(reply["lines"])
            sys.stdout.flush()
    return os.EX_OK
