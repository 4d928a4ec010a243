# SPDX-License-Identifier: Apache-2.0
"""``podfence lab up`` and ``podfence lab down``: start and end a lab."""

from __future__ import annotations

import os
from typing import get_args

import click

from podfence.cli import errors
from podfence.cli.commands import Command
from podfence.cli.inputs import with_engine_options
from podfence.cli.lab import kubectl, shared
from podfence.dataplane.settings import Binding
from podfence.lab.addresses import MOST_NODES, PodNetworkKind

_NEXT = """\
the lab runs until `podfence lab down{name}`; use it with kubectl:
  podfence lab kubectl{name} get pods --all-namespaces
  export KUBECONFIG=$(podfence lab kubeconfig{name})"""

_IN_SHELL = "kubectl uses the lab in this shell; leave it with `exit`, and end the lab with `podfence lab down{name}`"

_EXAMPLES = """
# Start an empty cluster of two nodes
podfence lab up

# Start one with the objects of manifests, with IPv4 and IPv6
podfence lab up -f manifests/ -R --dual

# Start one where the pods of a node share a bridge, as with flannel
podfence lab up --network bridge

# Start one, and open a shell in which kubectl finds it
podfence lab up --shell
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  the lab runs\n2  the lab could not be started")
@shared.reads_manifests
@shared.in_namespace
@click.option(
    "--nodes", type=click.IntRange(1, MOST_NODES), default=2, metavar="N", help="Number of nodes. The default is 2."
)
@click.option("--ipv6", "family", flag_value="ipv6", help="Use only IPv6 addresses.")
@click.option("--dual", "family", flag_value="dual", help="Use IPv4 and IPv6 addresses.")
@click.option(
    "--network",
    type=click.Choice(get_args(PodNetworkKind)),
    default="routed",
    help="How pods are connected to their node: routed (a link for each pod, the default), or bridge.",
)
@click.option(
    "--binding",
    type=click.Choice(get_args(Binding)),
    default="enforce",
    help="What to do with packets on a pod's link that do not have that pod's addresses: drop them (enforce, the "
    "default), log them (report), or do not check (off).",
)
@with_engine_options
@click.option("--shell", is_flag=True, help="Open a shell in which kubectl, and k for short, finds the lab.")
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
    shell: bool,
    name: str,
) -> int:
    """Start a cluster of network namespaces on this machine. Returns when it runs.

    The lab runs in the background until `podfence lab down`.
    """
    from podfence.dataplane.enforceable import check_options
    from podfence.lab.sandbox import DEFAULT_NAME
    from podfence.policy.options import Options

    options = Options.parse(settings)
    check_options(options)
    objects = shared.read(manifests, legacy=options.legacy, lax=options.validation == "lax")
    reply = shared.client(name).up(
        objects,
        nodes=nodes,
        families={None: (4,), "ipv6": (6,), "dual": (4, 6)}[family],
        network=network,
        binding=binding,
        settings=settings,
        namespace=namespace,
        progress=shared.teller(quiet=manifests.quiet),
    )
    code = shared.tell(reply, quiet=manifests.quiet)
    if reply["access"] is not None and not manifests.quiet:
        meant = os.environ.get("PODFENCE_LAB") or DEFAULT_NAME
        errors.complain((_IN_SHELL if shell else _NEXT).format(name="" if name == meant else f" --name {name}"))
    return kubectl.shell(name) if shell and reply["access"] is not None else code


@click.command("down", cls=Command, exits="0  nothing of the lab is left\n2  the lab does not exist")
@shared.named
def down(*, name: str) -> int:
    """Stop the lab. Returns when nothing of the lab is left."""
    shared.client(name).down()
    return 0
