# SPDX-License-Identifier: Apache-2.0
"""``podfence controller``: let pods onto nodes whose agent is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli.agent.options import with_kubeconfig, with_log_format, with_log_level
from podfence.cli.commands import Command
from podfence.cli.live import with_context

if TYPE_CHECKING:
    from podfence.agent.node.logs import Form, Level

_EXAMPLES = """
# Run it in the cluster, as its Deployment does
podfence controller --namespace podfence-system

# Run it by hand, with a kubeconfig
podfence controller --namespace podfence-system --kubeconfig ~/.kube/config
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  stopped by SIGTERM or SIGINT\n2  no cluster to connect to")
@with_kubeconfig
@with_context
@click.option(
    "--namespace",
    "-n",
    envvar="POD_NAMESPACE",
    metavar="NAME",
    default="podfence-system",
    show_default=True,
    help="Namespace of the agents. Defaults to POD_NAMESPACE.",
)
@with_log_format
@with_log_level
def command(*, kubeconfig: str, context: str, namespace: str, log_format: Form, log_level: Level) -> int:
    """Remove the taint podfence.io/agent-not-ready from each node whose agent is ready, until it is stopped.

    Nodes that join with this taint get no pods until podfence enforces policies on them. A cluster needs only one
    controller; a second one does no harm.
    """
    from podfence.agent.controller.main import run
    from podfence.kube.access.access import Choice

    run(Choice(kubeconfig=kubeconfig, context=context), namespace, log_format, log_level)
    return 0
