# SPDX-License-Identifier: Apache-2.0
"""``podfence lab down``: end a lab."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared


@click.command(cls=Command, exits="0  nothing is left of it\n2  there is no lab")
@shared.named
def command(*, name: str) -> int:
    """End the lab, and return when nothing is left of it."""
    from podfence.lab.client import Client

    Client(name).down()
    return 0
