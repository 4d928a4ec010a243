# SPDX-License-Identifier: Apache-2.0
"""``podfence agent``: enforce the policies of a cluster on this node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podfence.cli import complete
from podfence.cli.agent.boot_options import with_boot_hold, with_boot_links, with_boot_ranges
from podfence.cli.agent.places import in_run_directory, in_state_directory, with_sysctls
from podfence.cli.commands import Commands
from podfence.cli.in_cluster import with_context, with_kubeconfig, with_log_format, with_log_level

if TYPE_CHECKING:
    from podfence.agent.node.hold import Network
    from podfence.agent.node.logs import Form, Level
    from podfence.dataplane.settings import Binding

_TABLE = {
    "status": ("podfence.cli.agent.status", "What the agent of this node does, and whether anything is wrong"),
    "boot-unit": ("podfence.cli.agent.boot_unit", "Hold the pods of this node after a boot until an agent judges them"),
    "cleanup": ("podfence.cli.agent.cleanup", "Take everything off this node that an agent left"),
}

_EXAMPLES = """
# Enforce on this node, as its DaemonSet does
podfence agent --node-name "$NODE_NAME"

# By hand, on a node, with a kubeconfig
podfence agent --node-name n1 --kubeconfig /etc/kubernetes/kubelet.conf

# Is all well here?
podfence agent status
"""


@click.group("agent", cls=Commands, table=_TABLE, examples=_EXAMPLES, invoke_without_command=True)
@with_kubeconfig
@with_context
@click.option(
    "--node-name",
    envvar="NODE_NAME",
    metavar="NAME",
    default="",
    help="The name of this node in the cluster; NODE_NAME unless given.",
)
@click.option(
    "--listen",
    default="0.0.0.0:9474",
    metavar="ADDRESS:PORT",
    show_default=True,
    help="Where /metrics, /livez and /readyz are served.",
)
@in_state_directory
@in_run_directory
@with_sysctls
@click.option(
    "--set",
    "settings",
    metavar="OPTION=VALUE",
    multiple=True,
    shell_complete=complete.settings,
    help="Engine option, see `podfence options`; repeatable.",
)
@click.option(
    "--binding",
    type=click.Choice(["off", "report", "enforce"]),
    default="report",
    show_default=True,
    help="Whether a packet must come by the link of the pod whose address it has: drop others, only tell of them, or "
    "do not look.",
)
@click.option(
    "--cni-results",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/cni/results"),
    show_default=True,
    help="Where the results of network plugins are kept, which say whose link is which; only read.",
)
@click.option(
    "--unbound-namespace",
    "unbound_namespaces",
    metavar="NAMESPACE",
    multiple=True,
    help="Namespace whose pods may send with any address, such as routers; repeatable.",
)
@click.option(
    "--uplink",
    "uplinks",
    metavar="INTERFACE",
    multiple=True,
    help="Port of the pods' bridge that leads away from the node; repeatable. Devices, VLANs and tunnels are known.",
)
@with_boot_hold
@with_boot_ranges
@with_boot_links
@click.option("--reject", is_flag=True, help="Answer what is denied, instead of dropping it in silence.")
@with_log_format
@with_log_level
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
    """Enforce the NetworkPolicies of the cluster on this node, until told to stop.

    When it stops, whatever way, the kernel goes on enforcing what it has, and the next agent takes over.
    `podfence agent cleanup` takes everything off the node.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if not node_name:
        raise click.UsageError("which node is this? say so with --node-name, or in NODE_NAME")
    from podfence.agent.node.boot import Wanted
    from podfence.agent.node.hold import LINKS
    from podfence.agent.node.main import Setup, run
    from podfence.agent.node.matching import Granted
    from podfence.cli.version import number
    from podfence.kube.access.choice import Choice
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
