# SPDX-License-Identifier: Apache-2.0
"""``podfence lab status``: what is in a lab."""

from __future__ import annotations

from typing import Literal, get_args

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared

Form = Literal["table", "json", "yaml"]


@click.command(cls=Command, exits="0  shown\n2  there is no lab")
@outputs.of_formats(*get_args(Form))
@shared.named
def command(*, form: Form, name: str) -> int:
    """Show nodes, pods and what runs in them, Services, and since when policies are in the kernel.

    A pod runs the real program where this machine has it, or an image archive that was loaded; otherwise a
    stand-in that answers on its ports, and it says so.
    """
    from podfence.lab.client import Client
    from podfence.lab.status import LabStatus
    from podfence.report import lab_status, structured

    status = LabStatus.read(Client(name).request("status"))
    if form == "table":
        outputs.write(lab_status.lines(status, width=outputs.width()))
    else:
        outputs.write(structured.lines(status, form))
    return 0
