# SPDX-License-Identifier: Apache-2.0
"""``podfence lab down``: end a lab."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared


@click.command(cls=Command, exits="0  nothing of the lab is left\n2  the lab does not exist")
@shared.named
def command(*, name: str) -> int:
    """Stop the lab. Returns when nothing of the lab is left."""
    from podfence.lab.client import Client

    Client(name).down()
    return 0
