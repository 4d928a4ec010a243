# SPDX-License-Identifier: Apache-2.0
"""``podfence lab list`` and ``podfence lab status``: the labs that run, and what is in one."""

from __future__ import annotations

import click
import msgspec

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared


@click.command(cls=Command, exits="0  shown\n2  the lab does not exist")
@outputs.formatted("LabStatus")
@shared.named
def command(*, form: str, name: str) -> int:
    """Show nodes, pods and what runs in them, Services, and since when policies are in the kernel.

    A pod runs the real program if this machine has it or its image was loaded. Otherwise it runs a stand-in that
    answers on the pod's ports; the output says so.
    """
    from podfence.lab.status import LabStatus

    status = msgspec.convert(shared.client(name).request("status"), LabStatus)
    outputs.write_as("LabStatus", form, status, "never")
    return 0


@click.command("list", cls=Command, exits="0  listed, also if there is none")
@outputs.formatted("Labs")
def labs(*, form: str) -> int:
    """List the labs of this user that run, and how many nodes and pods each has."""
    from podfence.lab.client import running

    outputs.write_as("Labs", form, running(), "never")
    return 0
