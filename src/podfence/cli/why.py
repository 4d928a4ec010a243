# SPDX-License-Identifier: Apache-2.0
"""``podfence why``: the engine's answer on a node, beside what its kernel has and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs, question
from podfence.cli.agent.options import at_socket
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.report.style import When

DIFFERS = 4
"""The exit code when engine and kernel are not of one mind."""

_HELP = """
Show whether SRC may connect to DST on PORT, and what the kernel of this node does with the
connection. Run it on a node with an agent. The output shows the policies that isolate this node's
pods, the number of packets that each rule admitted and that were denied, and whether the kernel
matches the engine.
"""

_EXAMPLES = """
# On the node of the database, check whether the web pods may connect, and whether they try
podfence why shop/web shop/db 5432

# From anywhere, ask the agent in a pod of the DaemonSet
kubectl -n podfence-system exec PODFENCE_POD -- podfence why shop/web shop/db 5432
"""

_EXITS = """
0  allowed
1  denied
2  no answer: there is no agent on this node, or a name does not exist
3  depends on the pod, the port or an option; the output says on which
4  the kernel differs from the engine; the output says how
"""


@click.command(cls=Command, help=_HELP + question.WRITTEN, examples=_EXAMPLES, exits=_EXITS)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("port", metavar="[PORT]", required=False)
@click.option(
    "-n", "--namespace", metavar="NS", default="default", help="Default namespace of names. The default is default."
)
@outputs.formatted("Why")
@outputs.coloured
@at_socket
def command(
    *,
    source: str,
    destination: str,
    port: str | None,
    namespace: str,
    form: str,
    colour: When,
    socket: Path,
) -> int:
    """Print the answer and return the exit code of the verdict, or of a difference."""
    from podfence.agent.node.answer import Why
    from podfence.agent.node.client import ask

    answer = ask(socket, "why", Why, source=source, destination=destination, port=port, namespace=namespace)
    outputs.write_as("Why", form, answer, colour)
    return DIFFERS if answer.differs else question.exit_code(answer.verdict)
