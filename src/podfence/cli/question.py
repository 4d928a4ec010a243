# SPDX-License-Identifier: Apache-2.0
"""What ``check`` and ``explain`` share: a question about one connection, and the exit code of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from podfence.cli import complete, outputs
from podfence.cli.inputs import reads_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.api import Cluster
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


def asks(function: Callable[..., int]) -> Callable[..., int]:
    """Add SRC DST [PORT], the shared options and ``-o`` to a command."""
    decorators = (
        click.argument("source", metavar="SRC", shell_complete=complete.endpoints),
        click.argument("destination", metavar="DST", shell_complete=complete.endpoints),
        click.argument("port", metavar="[PORT]", required=False),
        reads_cluster,
        outputs.formatted("Verdict"),
        outputs.coloured,
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


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
