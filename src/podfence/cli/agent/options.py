# SPDX-License-Identifier: Apache-2.0
"""The options of an agent: its cluster, its log, where it has its files, and what is held after a boot.

Other commands have some of them too: those of the controller, and those that ask an agent or clean up after it.
"""

from __future__ import annotations

import re
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from podfence.cli.duration import limit

if TYPE_CHECKING:
    from podfence.agent.node.hold import Network

_RUN: Final = Path("/run/podfence")
_LINK: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}|[A-Za-z0-9_.-]{1,14}\*")

with_kubeconfig: Final = click.option(
    "--kubeconfig",
    metavar="PATH",
    default="",
    type=click.Path(),
    help="Kubeconfig file to use. The default is KUBECONFIG, then ~/.kube/config, then the pod's service account.",
)

with_log_format: Final = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format of log lines."
)

with_log_level: Final = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level of log lines to write.",
)

with_path: Final = partial(click.option, type=click.Path(path_type=Path), show_default=True)
"""Adds an option that is a path, with its name, default and help."""

in_state_directory: Final = with_path(
    "--state-dir", default=Path("/var/lib/podfence"), help="Directory of the last known state of the cluster."
)

in_run_directory: Final = with_path(
    "--run-dir",
    default=_RUN,
    help="Directory of the socket that `podfence agent status` and `podfence why` connect to.",
)

at_socket: Final = with_path(
    "--socket", default=_RUN / "agent.sock", metavar="PATH", help="Socket of the agent of this node."
)

with_sysctls: Final = with_path(
    "--sysctl-root",
    default=Path("/proc/sys/net"),
    help="Directory of the node's network settings, if /proc/sys is read-only.",
)

with_root: Final = with_path("--root", default=Path("/"), help="Root directory of the node, as mounted in a container.")


def _networks(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[Network, ...]:
    """Return ranges of addresses. Raises click.BadParameter for what is none."""
    try:
        return tuple(ip_network(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _links(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of interfaces. Raises click.BadParameter for what is none."""
    for value in values:
        if not _LINK.fullmatch(value):
            raise click.BadParameter(
                f"{value!r} is not the name of an interface, or the beginning of one followed by *"
            )
    return values


with_boot_hold: Final = click.option(
    "--boot-hold",
    metavar="TIME",
    callback=limit,
    help="Keep the files that the unit of `podfence agent boot-unit` loads after a boot. Their rules block pods until "
    "this agent is ready, but no longer than this time, such as 5m.",
)

with_boot_ranges: Final = click.option(
    "--boot-range",
    "boot_ranges",
    metavar="CIDR",
    multiple=True,
    callback=_networks,
    help="Range of pod addresses to block after a boot, in addition to the podCIDRs of the Node. Repeatable.",
)

with_boot_links: Final = click.option(
    "--boot-link",
    "boot_links",
    metavar="INTERFACE",
    multiple=True,
    callback=_links,
    help="Name of an interface that pods are behind, or the beginning of names followed by *, to block after a boot. "
    "Repeatable. The default is cni0 and veth*.",
)
