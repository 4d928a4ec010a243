# SPDX-License-Identifier: Apache-2.0
"""``podfence lab logs``: what agents, lab and pods printed."""

from __future__ import annotations

import os
import sys
import time

import click

from podfence.cli import duration, outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared
from podfence.report import lab_log

_EXAMPLES = """
# Follow what the agents denied and did
podfence lab logs -f

# Print the last lines of a pod's output, with their times
podfence lab logs shop/deploy/api --tail 20 --timestamps
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  printed\n2  the lab or the pod does not exist")
@click.argument("target", required=False, metavar="[POD]")
@click.option("-c", "--container", metavar="NAME", help="Container name. The default is the first container.")
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they come.")
@click.option("-p", "--previous", is_flag=True, help="Print the output before the container was restarted.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Print only the last N lines.")
@click.option(
    "--since", metavar="TIME", callback=duration.limit, help="Print only lines newer than a time such as 5s, 2m or 3h."
)
@click.option("--timestamps", is_flag=True, help="Print the time before each line.")
@outputs.of_formats(*lab_log.FORMATS)
@shared.in_lab
def command(
    *,
    target: str | None,
    container: str | None,
    follow: bool,
    previous: bool,
    tail: int | None,
    since: float | None,
    timestamps: bool,
    form: str,
    namespace: str,
    name: str,
) -> int:
    """Print the log of the lab and its agents, with a line for every denied connection, or the output of a pod."""
    from podfence.lab.lines import Line

    for flag, is_given in (("-c", container), ("-p", previous)):
        if is_given and target is None:
            raise click.UsageError(f"{flag} needs a pod")
    with shared.client(name).conversation(
        "logs",
        target=target,
        container=container,
        follow=follow,
        previous=previous,
        tail=tail,
        since=0 if since is None else time.time_ns() - round(since * 1e9),
        namespace=namespace,
    ) as replies:
        for reply in replies:
            lines = [Line(*line) for line in reply["lines"]]
            outputs.write(lab_log.lines(lines, form, timestamps=timestamps, sources=target is None))
            sys.stdout.flush()
    return os.EX_OK
