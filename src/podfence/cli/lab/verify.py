# SPDX-License-Identifier: Apache-2.0
"""``podfence lab verify``: packets against the engine."""

from __future__ import annotations

import sys

import click
import msgspec

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared


@click.command(
    cls=Command,
    examples="podfence lab verify\npodfence lab verify --all-pairs -o json",
    exits="0  every connection is as the engine says\n1  some are not, or a server is dead\n2  could not be verified",
)
@click.option("--all-pairs", is_flag=True, help="Every pod to every pod, not one pod for all that are treated alike.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@outputs.formatted("Verification")
@shared.named
def command(*, all_pairs: bool, quiet: bool, form: str, name: str) -> int:
    """Open connections from inside the pods and from outside, and compare with what the engine answers.

    Tried is every declared port and one that is not declared, over TCP and UDP, and ICMP. Then the policies are
    lifted for a moment, and what did not answer must do so now: a dead server is not taken for a policy that works.
    """
    from podfence.cli.progress import shown
    from podfence.lab.client import Client
    from podfence.lab.errors import LabError
    from podfence.lab.verification.result import Verification

    with (
        shown(sys.stderr, "trying", quiet=quiet) as progress,
        Client(name).conversation("verify", all_pairs=all_pairs) as replies,
    ):
        for reply in replies:
            if "progress" not in reply:
                break
            if progress is not None:
                progress(*reply["progress"])
        else:
            raise LabError("the lab ended while it was verified")
    result = msgspec.convert(reply, Verification)
    outputs.write_as("Verification", form, result, "never")
    return 0 if result.holds else 1
