# SPDX-License-Identifier: Apache-2.0
"""``podfence lab expose``: a Service for pods."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

if TYPE_CHECKING:
    from podfence.lab.store.resources import Resource

_EXAMPLES = """
podfence lab expose deployment web --port=80
podfence lab expose pod db --port=6379 --type=NodePort
"""


@click.command(cls=Command, examples=_EXAMPLES, exits=served.EXITS)
@click.argument("words", nargs=-1, required=True, metavar="KIND NAME|KIND/NAME")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port of the Service. The default is the "
              "first port that the pod declares.")  # fmt: skip
@click.option("--target-port", metavar="PORT", help="Port of the pods, by number or name. The default is --port.")
@click.option("--protocol", type=click.Choice(("TCP", "UDP")), default="TCP", metavar="PROTOCOL",
              help="TCP (the default) or UDP.")  # fmt: skip
@click.option("--type", "kind_of_service", type=click.Choice(("ClusterIP", "NodePort", "LoadBalancer")),
              default="ClusterIP", metavar="TYPE", help="ClusterIP (default), NodePort or LoadBalancer.")  # fmt: skip
@shared.in_namespace
@shared.named
def command(
    *,
    words: tuple[str, ...],
    port: int | None,
    target_port: str | None,
    protocol: str,
    kind_of_service: str,
    namespace: str,
    name: str,
) -> int:
    """Create a Service of the same name for a pod or a workload, as `kubectl expose` does."""
    from podfence.lab import rest

    targets = served.named(words)
    server = served.rest(name)

    def expose(row: Resource, target: str) -> None:
        found = server.send("GET", rest.path(row, namespace, target))
        selector, spec = _pods_of(row.kind, found)
        number = port or _declared(spec)
        if not selector or number is None:
            what = "labels to select it by" if not selector else "port, and none is given with --port"
            raise click.UsageError(f"{row.singular} {target} has no {what}")
        inside = target_port or ""
        inner: object = int(inside) if inside.isascii() and inside.isdecimal() else inside or number
        ports = [{"port": number, "protocol": protocol, "targetPort": inner}]
        labels = found["metadata"].get("labels") or {}
        spec = {"type": kind_of_service, "selector": selector, "ports": ports}
        made = {"metadata": {"name": target, "labels": labels}, "spec": spec}
        served.create(server, rest.resource("services"), namespace, made, "exposed")

    return served.changes(name, *(partial(expose, *target) for target in targets))


def _pods_of(kind: str, found: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the labels that select the pods of an object, and what they run."""
    spec: dict[str, Any] = found.get("spec") or {}
    if kind == "Pod":
        return found["metadata"].get("labels") or {}, spec
    selector = spec.get("selector") or {}
    template = (spec.get("template") or {}).get("spec") or {}
    return selector.get("matchLabels", selector if kind == "ReplicationController" else {}), template


def _declared(spec: dict[str, Any]) -> int | None:
    """Return the first port that containers declare."""
    ports = [port for container in spec.get("containers") or () for port in container.get("ports") or ()]
    return int(ports[0]["containerPort"]) if ports else None
