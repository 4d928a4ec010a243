# SPDX-License-Identifier: Apache-2.0
"""``podfence list``: who can reach whom."""

from __future__ import annotations

import sys
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from podfence.cli import complete, outputs
from podfence.cli.commands import Command
from podfence.cli.inputs import load, note, reads_cluster
from podfence.errors import counted
from podfence.report import formats

if TYPE_CHECKING:
    from podfence.analysis.answers import Connectivity
    from podfence.analysis.overview import Overview
    from podfence.api import Limits
    from podfence.cli.inputs import Inputs
    from podfence.report.style import When

_EXAMPLES = """
# List all connections between the workloads in a folder, and those in the live cluster
podfence list -f manifests/
podfence list

# List who can reach the database, and on which ports
podfence list --to shop/db -f manifests/

# List the connections to the internet, as CSV
podfence list --to internet -o csv -f manifests/

# Print a matrix of all pairs for one port
podfence list --port 5432 -o matrix -f manifests/
"""


@click.command(
    cls=Command,
    examples=_EXAMPLES,
    exits="0  listed, even if nothing is allowed\n2  no answer",
)
@click.option(
    "--from",
    "source",
    metavar="SRC",
    shell_complete=complete.endpoints,
    help="List only connections from this endpoint.",
)
@click.option(
    "--to",
    "destination",
    metavar="DST",
    shell_complete=complete.endpoints,
    help="List only connections to this endpoint.",
)
@click.option("--port", metavar="PORT", help="List only connections on this port.")
@click.option(
    "--peers",
    type=click.Choice(["all", "present"]),
    default="all",
    help="Whether to list peers of rules that no pod in the input matches.",
)
@click.option("--pods", is_flag=True, help="Print one line for each pair of pods, as soon as it is found.")
@reads_cluster
@outputs.formatted("Overview", "Connectivity", "Matrix")
@outputs.coloured
def command(
    *,
    inputs: Inputs,
    source: str | None,
    destination: str | None,
    port: str | None,
    peers: str,
    pods: bool,
    form: str,
    colour: When,
) -> int:
    """List every connection that the policies allow. Connections that are not listed are denied.

    The list includes peers of rules that no pod in the input matches; they end with `(none here)`. Write endpoints and
    ports as for `check`. In CSV, spaces separate the members of a set, except in such a peer, and
    `10.0.0.0/8!10.1.0.0/16` means the first block without the second.
    """
    as_grid = form in formats.names("Matrix")
    if as_grid:
        for flag, given in (("--pods", pods), ("--from", source), ("--to", destination)):
            if given:
                raise click.UsageError(f"{flag} and -o {form} exclude each other")
    cluster = load(inputs, form)
    gaps = cluster.gaps if inputs.shown is None else [gap for gap in cluster.gaps if gap.touches(inputs.shown)]
    if as_grid:
        grid = cluster.matrix(port=port, namespaces=inputs.shown)
        outputs.write_as("Matrix", form, grid, colour, gaps, cluster.assumes)
        return 0
    limits: Limits = {
        "source": source,
        "destination": destination,
        "port": port,
        "namespaces": inputs.shown,
        "namespace": inputs.own_namespace,
        "absent": peers == "all",
    }
    if pods:
        connections = cluster.pod_connections(**limits)
        first = tuple(islice(connections, 1))
        outputs.write_as(
            "PodConnections", form, chain(first, connections), colour, gaps, cluster.assumes, cluster.warnings
        )
        if not first:
            note(inputs, "nothing is allowed")
    else:
        from podfence.cli.progress import shown

        with shown(sys.stderr, "listing", quiet=inputs.quiet) as progress:
            kind = "Overview" if form in formats.names("Overview") else "Connectivity"
            ask = cluster.overview if kind == "Overview" else cluster.connectivity
            answer: Overview | Connectivity = ask(**limits, progress=progress)
        outputs.write_as(kind, form, answer, colour, gaps, cluster.assumes, cluster.warnings)
        _tell(answer, inputs, only_hosts=bool(cluster.state.members), incomplete=bool(gaps))
    return 0


def _tell(answer: Overview | Connectivity, inputs: Inputs, *, only_hosts: bool, incomplete: bool) -> None:
    if not answer.workloads and only_hosts:
        note(inputs, "all pods are hostNetwork, part of their nodes: there is nothing to judge")
    elif not answer.workloads:
        listed = ": listed are pods with exactly the labels by which policies select" if answer else ""
        note(inputs, f"the input has no pods and no workloads{listed}")
    elif not answer:
        note(inputs, f"nothing is allowed{' by the policies that were read' if incomplete else ''}")
    if inputs.verbose:
        counts = (
            counted(answer.workloads, "workload"),
            counted(answer.pods, "pod"),
            counted(answer.policies, "policy", "policies"),
        )
        note(inputs, ", ".join(counts))
