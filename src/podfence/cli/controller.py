# SPDX-License-Identifier: Apache-2.0
"""``podfence controller``: let pods onto nodes whose agent is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli.commands import Command
from podfence.cli.in_cluster import with_context, with_kubeconfig, with_log_format, with_log_level

if TYPE_CHECKING:
    from podfence.agent.node.logs import Form, Level

_EXAMPLES = """
# In the cluster, as its Deployment does
podfence controller --namespace podfence-system

# By hand, with a kubeconfig
podfence controller --namespace podfence-system --kubeconfig ~/.kube/config
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  it was told to stop\n2  there is no way to a cluster")
@with_kubeconfig
@with_context
@click.option(
    "--namespace",
    "-n",
    envvar="POD_NAMESPACE",
    metavar="NAME",
    default="podfence-system",
    show_default=True,
    help="The namespace of the agents; POD_NAMESPACE unless given.",
)
@with_log_format
@with_log_level
def command(*, kubeconfig: str, context: str, namespace: str, log_format: Form, log_level: Level) -> int:
    """Take the taint podfence.io/agent-not-ready off each node whose agent is ready, until told to stop.

    Nodes that are made with this taint get no pods before podfence enforces on them.
    One controller serves all nodes of a cluster; a second one does no harm.
    """
    from podfence.agent.controller.main import run
    from podfence.kube.access.choice import Choice

    run(Choice(kubeconfig=kubeconfig, context=context), namespace, log_format, log_level)
    return 0
