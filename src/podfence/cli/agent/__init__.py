# SPDX-License-Identifier: Apache-2.0
"""``podfence agent``: enforce the policies of a cluster on this node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podfence.cli.agent import options
from podfence.cli.commands import Commands
from podfence.cli.inputs import with_engine_options
from podfence.cli.live import with_context

if TYPE_CHECKING:
    from podfence.agent.node.hold import Network
    from podfence.agent.node.logs import Form, Level
    from podfence.dataplane.settings import Binding

_TABLE = {
    "status": ("podfence.cli.agent.status", "Show what the agent of this node does, and what is wrong"),
    "boot-unit": (
        "podfence.cli.agent.boot_unit",
        "Manage the systemd unit that blocks pods from boot until an agent is ready",
    ),
    "cleanup": ("podfence.cli.agent.cleanup", "Remove everything that an agent left on this node"),
}

_EXAMPLES = """
# Enforce policies on this node, as the DaemonSet does
podfence agent --node-name "$NODE_NAME"

# Run the agent by hand on a node, with a kubeconfig
podfence agent --node-name n1 --kubeconfig /etc/kubernetes/kubelet.conf

# Show whether the agent of this node is ready, and what is wrong
podfence agent status
"""


@click.group("agent", cls=Commands, table=_TABLE, examples=_EXAMPLES, invoke_without_command=True)
@options.with_kubeconfig
@with_context
@click.option(
    "--node-name",
    envvar="NODE_NAME",
    metavar="NAME",
    default="",
    help="Name of this node in the cluster. The default is the environment variable NODE_NAME.",
)
@click.option(
    "--listen",
    default="0.0.0.0:9474",
    metavar="ADDRESS:PORT",
    show_default=True,
    help="Address that serves /metrics, /livez and /readyz.",
)
@options.in_state_directory
@options.in_run_directory
@options.with_sysctls
@with_engine_options
@click.option(
    "--binding",
    type=click.Choice(["off", "report", "enforce"]),
    default="report",
    show_default=True,
    help="What to do with packets on a pod's link that do not have that pod's addresses: drop them (enforce), log them "
    "and let them pass (report), or do not check (off).",
)
@options.with_path(
    "--cni-results",
    default=Path("/var/lib/cni/results"),
    help="Directory with the results of CNI plugins, which name the link of each pod. The agent only reads it.",
)
@click.option(
    "--unbound-namespace",
    "unbound_namespaces",
    metavar="NAMESPACE",
    multiple=True,
    help="Namespace whose pods may send with any address, such as routers. Repeatable.",
)
@click.option(
    "--uplink",
    "uplinks",
    metavar="INTERFACE",
    multiple=True,
    help="Port of the pods' bridge that leads away from the node. Repeatable. The agent recognizes network devices, "
    "VLANs, bonds and tunnels by itself.",
)
@options.with_boot_hold
@options.with_boot_ranges
@options.with_boot_links
@click.option("--reject", is_flag=True, help="Reject denied connections instead of dropping their packets.")
@options.with_log_format
@options.with_log_level
@click.pass_context
def command(
    ctx: click.Context,
    *,
    kubeconfig: str,
    context: str,
    node_name: str,
    listen: str,
    state_dir: Path,
    run_dir: Path,
    sysctl_root: Path,
    settings: tuple[str, ...],
    binding: Binding,
    cni_results: Path,
    unbound_namespaces: tuple[str, ...],
    uplinks: tuple[str, ...],
    boot_hold: float | None,
    boot_ranges: tuple[Network, ...],
    boot_links: tuple[str, ...],
    reject: bool,
    log_format: Form,
    log_level: Level,
) -> int:
    """Enforce the NetworkPolicies of the cluster on this node, until it is stopped.

    However the agent stops, the kernel continues to enforce the rules that it has, and the next agent takes over.
    `podfence agent cleanup` removes everything from the node.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if not node_name:
        raise click.UsageError("the name of this node is missing; give it with --node-name, or in NODE_NAME")
    from podfence.agent.node.boot import Wanted
    from podfence.agent.node.hold import LINKS
    from podfence.agent.node.main import Setup, run
    from podfence.agent.node.matching import Granted
    from podfence.cli.about import number
    from podfence.kube.access.access import Choice
    from podfence.policy.options import Options

    run(
        Setup(
            node=node_name,
            choice=Choice(kubeconfig=kubeconfig, context=context),
            version=number(),
            listen=listen,
            state=state_dir,
            run=run_dir,
            sysctls=sysctl_root,
            results=cni_results,
            binding=binding,
            granted=Granted(frozenset(unbound_namespaces), frozenset(uplinks)),
            options=Options.parse(settings),
            boot=None if boot_hold is None else Wanted(boot_hold, boot_ranges, boot_links or LINKS),
            reject=reject,
            log_form=log_format,
            log_level=log_level,
        )
    )
    return 0
