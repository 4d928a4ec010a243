# SPDX-License-Identifier: Apache-2.0
"""``podfence lab run``: a pod with one container."""

from __future__ import annotations

from typing import Any

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

_EXAMPLES = """
podfence lab run web --image=nginx --labels=app=web --expose --port=80
podfence lab run client --image=busybox -- sleep 3600
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  created\n1  the server refused it\n2  the lab does not exist")
@click.argument("pod", metavar="NAME")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARG...]")
@click.option("--image", required=True, metavar="IMAGE", help="Image of the container.")
@click.option("--labels", "-l", multiple=True, metavar="KEY=VALUE,...", help="Labels. The default is run=NAME.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port that the container declares.")
@click.option("--expose", is_flag=True, help="Create a Service for the pod, too. Needs --port.")
@click.option("--restart", type=click.Choice(("Always", "OnFailure", "Never")), default="Always", metavar="POLICY",
              help="Restart policy: Always (the default), OnFailure or Never.")  # fmt: skip
@shared.in_namespace
@shared.named
def command(
    *,
    pod: str,
    words: tuple[str, ...],
    image: str,
    labels: tuple[str, ...],
    port: int | None,
    expose: bool,
    restart: str,
    namespace: str,
    name: str,
) -> int:
    """Create a pod of one container as `kubectl run` does, where there is no kubectl.

    For a shell in it, use `podfence lab shell`.
    """
    from podfence.lab import rest

    if expose and port is None:
        raise click.UsageError("--expose needs --port")
    chosen = served.pairs(labels, "--labels") or {"run": pod}
    container: dict[str, Any] = {"name": pod, "image": image}
    if words:
        container["args"] = list(words)
    if port is not None:
        container["ports"] = [{"containerPort": port}]
    server = served.rest(name)

    def create(kind: str, spec: dict[str, Any]) -> None:
        row = rest.resource(kind)
        made = {
            "apiVersion": row.api_version,
            "kind": row.kind,
            "metadata": {"name": pod, "labels": chosen},
            "spec": spec,
        }
        server.send("POST", rest.path(row, namespace), made)
        outputs.write([f"{rest.printed(row, pod)} created"])

    service = {"selector": chosen, "ports": [{"port": port, "protocol": "TCP", "targetPort": port}]}
    return served.refusals(
        *((lambda: create("services", service),) if expose else ()),
        lambda: create("pods", {"containers": [container], "restartPolicy": restart}),
    )
