# SPDX-License-Identifier: Apache-2.0
"""``podfence list``: who can reach whom."""

from __future__ import annotations

import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

import click

from podfence.cli import complete, errors, outputs
from podfence.cli.commands import Command
from podfence.cli.inputs import incomplete, load, note, reads_cluster
from podfence.report.counts import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from podfence.analysis.answers import Connectivity, PodConnection
    from podfence.cli.inputs import Inputs
    from podfence.kube.omissions import Gap
    from podfence.report.style import When

_EXAMPLES = """
# All connections between the workloads of a folder, and those of the live cluster
podfence list -f manifests/
podfence list

# Who reaches the database, and on which ports
podfence list --to shop/db -f manifests/

# Which connections to the internet are open, as CSV
podfence list --to internet -o csv -f manifests/

# The grid of all pairs for one port
podfence list --port 5432 -o matrix -f manifests/
"""


Form = Literal["table", "json", "yaml", "csv", "md", "matrix", "matrix-json"]


class Question(TypedDict):
    """What the options ask for, as the arguments of the methods that answer."""

    source: str | None
    destination: str | None
    port: str | None
    namespaces: Collection[str] | None
    namespace: str | None


@click.command(
    cls=Command,
    examples=_EXAMPLES,
    exits="0  answered, even if nothing is allowed\n2  could not answer",
)
@click.option("--from", "source", metavar="SRC", shell_complete=complete.endpoints, help="Only from this endpoint.")
@click.option("--to", "destination", metavar="DST", shell_complete=complete.endpoints, help="Only to this endpoint.")
@click.option("--port", metavar="PORT", help="Only on this port.")
@click.option("--pods", is_flag=True, help="One line per pair of pods, written as they are found.")
@reads_cluster
@outputs.formatted(*get_args(Form))
@outputs.coloured
def command(
    *,
    inputs: Inputs,
    source: str | None,
    destination: str | None,
    port: str | None,
    pods: bool,
    form: Form,
    colour: When,
) -> int:
    """List every connection that the policies allow; what is not listed is denied.

    Endpoints and ports are written as for `check`. In CSV the members of a set are separated by
    spaces, and `10.0.0.0/8!10.1.0.0/16` is the first block without the second.
    """
    if form in ("matrix", "matrix-json"):
        for flag, given in (("--pods", pods), ("--from", source), ("--to", destination)):
            if given:
                raise click.UsageError(f"{flag} and -o {form} exclude each other", click.get_current_context())
    cluster = load(inputs)
    gaps = cluster.gaps if inputs.shown is None else [gap for gap in cluster.gaps if gap.touches(inputs.shown)]
    if form in ("matrix", "matrix-json"):
        from podfence.report import documents, matrix, structured

        grid = cluster.matrix(port=port, namespaces=inputs.shown)
        if form == "matrix":
            outputs.write(incomplete(gaps))
            outputs.write(matrix.grid(grid, style=outputs.style(colour)))
        else:
            outputs.write(structured.lines(documents.matrix(grid), "json", gaps))
        return 0
    question = Question(
        source=source,
        destination=destination,
        port=port,
        namespaces=inputs.shown,
        namespace=inputs.own_namespace,
    )
    if pods:
        connections = cluster.pod_connections(**question)
        # What cannot be asked turns out here, before anything is written.
        first = tuple(islice(connections, 1))
        _write_pods(chain(first, connections), form, colour, gaps)
        if not first:
            note(inputs, "nothing is allowed")
    else:
        from podfence.cli.progress import shown

        with shown(sys.stderr, "listing", quiet=inputs.quiet) as progress:
            answer = cluster.connectivity(**question, progress=progress)
        _write(answer, form, colour, gaps)
        _tell(answer, inputs)
    return 0


def _write(answer: Connectivity, form: Form, colour: When, gaps: Sequence[Gap]) -> None:
    from podfence.report import csv, documents, markdown, structured, table

    if form not in ("json", "yaml"):
        _say_incomplete(gaps, form)
    if form == "csv":
        csv.connectivity(answer, sys.stdout)
    elif form == "md":
        outputs.write(markdown.connectivity(answer))
    elif form in ("json", "yaml"):
        outputs.write(structured.lines(documents.connectivity(answer), form, gaps))
    else:
        outputs.write(table.connectivity(answer, width=outputs.width(), style=outputs.style(colour)))


def _write_pods(connections: Iterable[PodConnection], form: Form, colour: When, gaps: Sequence[Gap]) -> None:
    from podfence.report import csv, markdown, structured, table

    if form not in ("json", "yaml"):
        _say_incomplete(gaps, form)
    if form == "csv":
        csv.pods(connections, sys.stdout)
    elif form == "md":
        outputs.write(markdown.pods(connections))
    elif form in ("json", "yaml"):
        outputs.write(structured.pod_lines(connections, form, gaps))
    else:
        outputs.write(table.pods(connections, style=outputs.style(colour)))


def _say_incomplete(gaps: Sequence[Gap], form: Form) -> None:
    """Say before an answer that it is incomplete; in CSV, where every line is data, beside it."""
    if form == "csv":
        for line in incomplete(gaps):
            errors.complain(line)
    else:
        outputs.write(incomplete(gaps))


def _tell(answer: Connectivity, inputs: Inputs) -> None:
    if not answer.workloads:
        note(inputs, "the input has no pods and no workloads")
    elif not answer.connections:
        note(inputs, "nothing is allowed")
    if inputs.verbose:
        counts = (
            counted(answer.workloads, "workload"),
            counted(answer.pods, "pod"),
            counted(answer.policies, "policy", "policies"),
        )
        note(inputs, ", ".join(counts))
