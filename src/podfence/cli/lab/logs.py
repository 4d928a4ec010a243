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
# What the agents denied and did, as it happens
podfence lab logs -f

# What a pod printed
podfence lab logs shop/deploy/api
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  shown\n2  there is no such lab or pod")
@click.argument("target", required=False, metavar="[POD]")
@click.option("-c", "--container", metavar="NAME", help="Which container; the first unless given.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@shared.in_namespace
@shared.named
def command(*, target: str | None, container: str | None, follow: bool, namespace: str, name: str) -> int:
    """Show the log of the lab and its agents (one line for every denied connection), or of a pod."""
    from podfence.lab.client import Client

    with Client(name).conversation(
        "logs", target=target, container=container, follow=follow, namespace=namespace
    ) as replies:
        for reply in replies:
            outputs.write(reply["lines"])
            sys.stdout.flush()
    return os.EX_OK
