# SPDX-License-Identifier: Apache-2.0
"""``podfence lab``: a small cluster on this machine, with real packets."""

from __future__ import annotations

import click

from podfence.cli.commands import Commands

_TABLE = {
    "up": ("podfence.cli.lab.up", "Start a lab, with the objects of some manifests in it"),
    "apply": ("podfence.cli.lab.apply", "Create or change objects"),
    "delete": ("podfence.cli.lab.delete", "Delete objects"),
    "label": ("podfence.cli.lab.label", "Change the labels of a pod or namespace"),
    "status": ("podfence.cli.lab.status", "Nodes, pods and what runs in them, Services, policies"),
    "exec": ("podfence.cli.lab.exec", "Run a command in a pod, on a node, or outside the cluster"),
    "shell": ("podfence.cli.lab.shell", "Look around in a pod"),
    "verify": ("podfence.cli.lab.verify", "Whether packets pass exactly where the engine says so"),
    "logs": ("podfence.cli.lab.logs", "What agents and lab report, or what a pod printed"),
    "image": ("podfence.cli.lab.image", "Run programs from image archives"),
    "down": ("podfence.cli.lab.down", "End the lab; nothing is left of it"),
}

_EXAMPLES = """
# A cluster of two nodes with a shop in it
podfence lab up -f examples/three-tier/app.yaml

# Does a connection work, and does it after policies are applied?
podfence lab exec shop/deploy/web -- wget -qO- --timeout=2 http://api:5000
podfence lab apply -f examples/three-tier/policies

# Is every connection as the engine says?
podfence lab verify
podfence lab down
"""


@click.group("lab", cls=Commands, table=_TABLE, examples=_EXAMPLES)
def command() -> None:
    """Run a small Kubernetes cluster on this machine: real processes, real packets, and policies in the kernel.

    Nodes and pods are network namespaces, all inside one private set of namespaces: nothing of this machine is
    changed, and no root is needed where the system lets users make namespaces.
    """
