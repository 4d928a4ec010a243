# SPDX-License-Identifier: Apache-2.0
"""``podfence lab create``: namespaces and Deployments."""

from __future__ import annotations

from typing import Any

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

_EXAMPLES = """
podfence lab create namespace prod
podfence lab create deployment web --image=nginx --replicas=2
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  created\n1  the server refused it\n2  the lab does not exist")
@click.argument("kind", type=click.Choice(("namespace", "ns", "deployment", "deploy")), metavar="namespace|deployment")
@click.argument("target", metavar="NAME")
@click.option("--image", metavar="IMAGE", help="Image of the Deployment.")
@click.option("--replicas", type=click.IntRange(min=0), metavar="N", help="Pods of the Deployment. The default is 1.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port that the container declares.")
@shared.in_namespace
@shared.named
def command(
    *,
    kind: str,
    target: str,
    image: str | None,
    replicas: int | None,
    port: int | None,
    namespace: str,
    name: str,
) -> int:
    """Create a namespace or a Deployment as `kubectl create` does. For other objects, use `podfence lab apply`."""
    from podfence.lab import rest

    is_deployment = kind.startswith("deploy")
    if is_deployment and image is None:
        raise click.UsageError("a Deployment needs --image")
    if not is_deployment and (image or replicas is not None or port):
        raise click.UsageError("--image, --replicas and --port are those of a Deployment")
    row = rest.resource(kind)
    made: dict[str, Any] = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": target}}
    if is_deployment:
        container: dict[str, Any] = {"name": str(image).rpartition("/")[2].partition(":")[0], "image": image}
        if port is not None:
            container["ports"] = [{"containerPort": port}]
        labels = {"app": target}
        made["metadata"]["labels"] = labels
        made["spec"] = {
            "replicas": 1 if replicas is None else replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
    server = served.rest(name)

    def create() -> None:
        server.send("POST", rest.path(row, namespace if row.namespaced else ""), made)
        outputs.write([f"{rest.printed(row, target)} created"])

    return served.refusals(create)
