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
    exits="0  every connection matches the engine's answer\n1  a connection does not match, or a server is dead\n"
    "2  the lab could not be verified",
)
@click.option(
    "--all-pairs", is_flag=True, help="Try every pod with every pod, not one pod for all that get the same answers."
)
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@outputs.formatted("Verification")
@shared.named
def command(*, all_pairs: bool, quiet: bool, form: str, name: str) -> int:
    """Open connections from inside the pods and from outside, and compare the results with the engine's answers.

    The lab tries every declared port and one that is not declared, over TCP and UDP, and ICMP. Then it lifts the
    policies for a moment and tries again where nothing answered, so a dead server does not look like a denied one.
    """
    from podfence.cli.progress import shown
    from podfence.lab.verification.result import Verification

    with shown(sys.stderr, "trying", quiet=quiet) as bar:
        progress = None if bar is None else lambda at: bar(*at)
        reply = shared.client(name).request("verify", all_pairs=all_pairs, progress=progress)
    result = msgspec.convert(reply, Verification)
    outputs.write_as("Verification", form, result, "never")
    return 0 if result.holds else 1
