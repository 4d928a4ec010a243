# SPDX-License-Identifier: Apache-2.0
"""``podfence lab up``: start a lab."""

from __future__ import annotations

from typing import get_args

import click

from podfence.cli import complete
from podfence.cli.commands import Command
from podfence.cli.lab import shared
from podfence.dataplane.settings import Binding
from podfence.lab.addresses import PodNetworkKind

_EXAMPLES = """
# An empty cluster of two nodes
podfence lab up

# One with the objects of some manifests, with IPv4 and IPv6
podfence lab up -f manifests/ -R --dual

# One where the pods of a node share a bridge, as with flannel
podfence lab up --network bridge
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  the lab runs\n2  it could not be started")
@shared.reads_manifests
@shared.in_namespace
@click.option("--nodes", type=click.IntRange(1, 200), default=2, metavar="N", help="How many nodes; 2 unless given.")
@click.option("--ipv6", "family", flag_value="ipv6", help="Addresses of IPv6 only.")
@click.option("--dual", "family", flag_value="dual", help="Addresses of both families.")
@click.option(
    "--network",
    type=click.Choice(get_args(PodNetworkKind)),
    default="routed",
    help="How pods are connected to their node: routed (a link for each, the default), or bridge.",
)
@click.option(
    "--binding",
    type=click.Choice(get_args(Binding)),
    default="enforce",
    help="Packets on a pod's link that are not that pod's: enforce (drop them, the default), report, or off.",
)
@click.option(
    "--set",
    "settings",
    metavar="OPTION=VALUE",
    multiple=True,
    shell_complete=complete.settings,
    help="Engine option, see `podfence options`; repeatable.",
)
@shared.named
def command(
    *,
    manifests: shared.Manifests,
    namespace: str,
    nodes: int,
    family: str | None,
    network: PodNetworkKind,
    binding: Binding,
    settings: tuple[str, ...],
    name: str,
) -> int:
    """Start a cluster of network namespaces on this machine, and return when it runs.

    It goes on in the background until `podfence lab down`.
    """
    from podfence.dataplane.compiler import check_options
    from podfence.lab.client import Client
    from podfence.policy.options import Options

    options = Options.parse(settings)
    check_options(options)
    objects = shared.read(manifests, legacy=options.legacy, lax=options.validation == "lax")
    reply = Client(name).up(
        objects,
        nodes=nodes,
        families={None: (4,), "ipv6": (6,), "dual": (4, 6)}[family],
        network=network,
        binding=binding,
        settings=settings,
        namespace=namespace,
        progress=shared.teller(quiet=manifests.quiet),
    )
    return shared.tell(reply, quiet=manifests.quiet)
