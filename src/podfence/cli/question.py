# SPDX-License-Identifier: Apache-2.0
"""``podfence check`` and ``podfence explain``: a question about one connection, and the exit code of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from podfence.cli import complete, outputs
from podfence.cli.commands import Command, added
from podfence.cli.inputs import load, note, reads_cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.api import Cluster
    from podfence.cli.inputs import Inputs
    from podfence.kube.omissions import Gap
    from podfence.policy.verdict import Verdict
    from podfence.report.style import When

EXITS = """
0  allowed
1  denied
2  no answer
3  depends on the pod, the port, an option, or something unknown; the output says on what
"""

WRITTEN = """
\b
Endpoints:
  shop/web, web            a pod, or the workload of that name
  shop/deploy/web          a workload by kind: deploy sts ds rs rc job cj po
  shop/svc/web             a Service: every backend, on its target port
  shop/*                   all pods of a namespace
  shop/app=web,tier=front  a pod with exactly these labels; it need not exist
  10.0.0.0/8, internet     addresses outside the cluster
  node:NAME                a node and its hostNetwork pods
  own-node, node           the node of the pod at the other end; any other node
  self, apiserver          the same pod as the other end; the API server

\b
Ports:
  80, 53/udp, 9000-9010/sctp, metrics, icmp. The default is every port.
"""


asks = added(
    click.argument("source", metavar="SRC", shell_complete=complete.endpoints),
    click.argument("destination", metavar="DST", shell_complete=complete.endpoints),
    click.argument("port", metavar="[PORT]", required=False),
    reads_cluster,
    outputs.formatted("Verdict"),
    outputs.coloured,
)
"""Adds SRC DST [PORT], the shared options and ``-o`` to a command."""


def answered(kind: str, verdict: Verdict, cluster: Cluster, form: str, colour: When, gaps: Sequence[Gap] = ()) -> int:
    """Write a verdict and return its exit code.

    The notes of the cluster are on standard error already, and in documents they are data. Only documents say what
    the answer assumes.
    """
    assumes: tuple[str, ...] = ()
    if form != "text":
        verdict, assumes = replace(verdict, notes=(*cluster.notes, *verdict.notes)), cluster.assumes
    outputs.write_as(kind, form, verdict, colour, gaps, assumes, cluster.warnings)
    return exit_code(verdict)


def exit_code(verdict: Verdict) -> int:
    """Return 0 for allowed, 1 for denied, 3 for depends."""
    return {True: 0, False: 1, None: 3}[verdict.allowed]


_CHECK = """
Print in one line whether SRC may connect to DST on PORT, and which policies decide.
"""

_CHECK_EXAMPLES = """
# Check whether the web pods may connect to the database
podfence check shop/web shop/db 5432 -f manifests/

# Check the same in the live cluster of a kubeconfig context
podfence check shop/web shop/db 5432 --context prod

# In a script, use the exit code: 0 means allowed, 1 means denied
podfence check shop/web internet 443 -q -f manifests/ > /dev/null

# Check a pod that does not exist yet, by its labels
podfence check shop/app=job,tier=batch shop/db 5432 -f manifests/
"""


@click.command(cls=Command, help=_CHECK + WRITTEN, examples=_CHECK_EXAMPLES, exits=EXITS)
@asks
def check(*, inputs: Inputs, source: str, destination: str, port: str | None, form: str, colour: When) -> int:
    """Print the decision and return the exit code of the verdict."""
    cluster = load(inputs, form)
    # A line has no room for changes that would admit what is denied; documents have them.
    ask = cluster.check if form == "text" else cluster.explain
    answer = ask(source, destination, port, namespace=inputs.own_namespace)
    gaps = cluster.gaps_between(source, destination, namespace=inputs.own_namespace)
    code = answered("Verdict", answer, cluster, form, colour, gaps)
    for text in answer.notes if form == "text" else ():
        note(inputs, text)
    return code


_EXPLAIN = """
Explain step by step why a connection is allowed or denied, at both ends and tier by tier. The
output quotes the rules. For a denied connection, it also shows the nearest rule and the smallest
change that admits the connection.
"""

_EXPLAIN_EXAMPLES = """
# Explain why the web pods cannot connect to the database
podfence explain shop/web shop/db 5432 -f manifests/

# Explain the same in the live cluster
podfence explain shop/web shop/db 5432

# Print the policy with the smallest change that admits the connection
podfence explain shop/web shop/db 5432 --remedy -f manifests/

# Print the explanation as JSON
podfence explain shop/web shop/db 5432 -o json -f manifests/
"""


@click.command(cls=Command, help=_EXPLAIN + WRITTEN, examples=_EXPLAIN_EXAMPLES, exits=EXITS)
@asks
@click.option(
    "--remedy", is_flag=True, help="Print only the policy with the smallest change that admits the connection."
)
def explain(
    *, inputs: Inputs, source: str, destination: str, port: str | None, form: str, colour: When, remedy: bool
) -> int:
    """Print the chain of the decision and return the exit code of the verdict."""
    if remedy and form != "text":
        raise click.UsageError(f"--remedy and -o {form} exclude each other")
    cluster = load(inputs, form)
    answer = cluster.explain(source, destination, port, namespace=inputs.own_namespace)
    if remedy:
        from podfence.report.verdict_text import remedies

        found = cluster.mended(answer)
        outputs.write(remedies(found))
        if not found:
            note(inputs, f"no change to propose: {answer.decision.value}")
        return exit_code(answer)
    gaps = cluster.gaps_between(source, destination, namespace=inputs.own_namespace)
    return answered("Explanation", answer, cluster, form, colour, gaps)
