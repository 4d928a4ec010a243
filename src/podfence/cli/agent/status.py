# SPDX-License-Identifier: Apache-2.0
"""``podfence agent status``: what the agent of this node does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs
from podfence.cli.agent.options import at_socket
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.report.style import When

_EXAMPLES = """
# Show whether this node enforces policies, and what is wrong
podfence agent status

# From anywhere, ask the agent in a pod of the DaemonSet
kubectl -n podfence-system exec PODFENCE_POD -- podfence agent status
"""

_EXITS = """
0  the agent is ready
1  the agent is not ready; the output says why
2  no answer: no agent answers on this node, or you may not ask it
"""


@click.command(cls=Command, examples=_EXAMPLES, exits=_EXITS)
@outputs.formatted("AgentStatus")
@outputs.coloured
@at_socket
def command(*, form: str, colour: When, socket: Path) -> int:
    """Show what the agent of this node enforces, where its objects come from, and what is wrong."""
    from podfence.agent.node.answer import AgentStatus
    from podfence.agent.node.client import ask

    status = ask(socket, "status", AgentStatus)
    outputs.write_as("AgentStatus", form, status, colour)
    return 0 if status.ready else 1
