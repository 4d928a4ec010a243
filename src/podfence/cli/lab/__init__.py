# SPDX-License-Identifier: Apache-2.0
"""``podfence lab``: a small cluster on this machine, with real packets."""

from __future__ import annotations

import click

from podfence.cli.commands import Commands

_TABLE = {
    "up": ("podfence.cli.lab.up", "Start a lab, with the objects of manifests"),
    "kubectl": ("podfence.cli.lab.kubectl", "Run kubectl for the lab"),
    "kubeconfig": ("podfence.cli.lab.kubectl:kubeconfig", "Print the path of the kubeconfig of the lab"),
    "get": ("podfence.cli.lab.get", "Show objects as kubectl does"),
    "describe": ("podfence.cli.lab.get:describe", "Show all fields of objects"),
    "run": ("podfence.cli.lab.create:run", "Create a pod of one container"),
    "create": ("podfence.cli.lab.create", "Create objects"),
    "apply": ("podfence.cli.lab.apply", "Create or change objects"),
    "expose": ("podfence.cli.lab.create:expose", "Create a Service for a pod or a workload"),
    "label": ("podfence.cli.lab.marks:label", "Change the labels of objects"),
    "annotate": ("podfence.cli.lab.marks:annotate", "Change the annotations of objects"),
    "delete": ("podfence.cli.lab.apply:delete", "Delete objects"),
    "list": ("podfence.cli.lab.status:labs", "List the labs that run"),
    "status": ("podfence.cli.lab.status", "Show nodes, pods and what runs in them, Services and policies"),
    "exec": ("podfence.cli.lab.exec", "Run a command in a pod, on a node, or outside the cluster"),
    "shell": ("podfence.cli.lab.exec:shell", "Open a shell in a pod, on a node, or outside the cluster"),
    "verify": (
        "podfence.cli.lab.verify",
        "Check with real connections that packets pass exactly where the engine says",
    ),
    "logs": ("podfence.cli.lab.logs", "Print the log of the lab and its agents, or the output of a pod"),
    "image": ("podfence.cli.lab.image", "Run the programs of image archives"),
    "down": ("podfence.cli.lab.up:down", "Stop the lab and remove everything of it"),
}

_EXAMPLES = """
# Start a cluster of two nodes with a shop in it
podfence lab up -f examples/three-tier/app.yaml

# Try a connection, and apply policies
podfence lab exec shop/deploy/web -- wget -qO- --timeout=2 http://api:5000
podfence lab apply -f examples/three-tier/policies

# Verify that every connection matches the engine's answer
podfence lab verify
podfence lab down
"""


@click.group("lab", cls=Commands, table=_TABLE, examples=_EXAMPLES)
def command() -> None:
    """Run a small cluster on this machine, with real processes, real packets, and policies in the kernel.

    Nodes and pods are network namespaces inside namespaces of the lab's own, so a lab changes nothing on this machine.
    It needs no root if the system lets users create namespaces.
    """
