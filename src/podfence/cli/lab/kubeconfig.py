# SPDX-License-Identifier: Apache-2.0
"""``podfence lab kubeconfig``: where the kubeconfig of a lab is."""

from __future__ import annotations

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared


@click.command(
    cls=Command,
    examples="export KUBECONFIG=$(podfence lab kubeconfig)\nkubectl get pods",
    exits="0  printed\n2  the lab does not exist, or has no API server",
)
@shared.named
def command(*, name: str) -> int:
    """Print the path of the lab's kubeconfig. It has the only context that leads to the lab.

    The file is readable by you only, and goes with the lab. Your own kubeconfig stays as it is.
    """
    from podfence.lab.client import Client

    outputs.write([str(Client(name).kubeconfig())])
    return 0
