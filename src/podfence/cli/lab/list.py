# SPDX-License-Identifier: Apache-2.0
"""``podfence lab list``: the labs that run."""

from __future__ import annotations

import click

from podfence.cli import outputs
from podfence.cli.commands import Command


@click.command(cls=Command, exits="0  listed, also if there is none")
@outputs.formatted("Labs")
def command(*, form: str) -> int:
    """List the labs of this user that run, and how many nodes and pods each has."""
    from podfence.lab.client import running

    outputs.write_as("Labs", form, running(), "never")
    return 0
