# SPDX-License-Identifier: Apache-2.0
"""``podfence lab create``: objects of manifests, and namespaces, Deployments and Services by their flags."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EXAMPLES = """
podfence lab create -f policies/
podfence lab create namespace prod
podfence lab create deployment web --image=nginx --replicas=2
podfence lab create service clusterip web --tcp=80:8080
"""

_Flags = dict[str, Any]


def _namespace(_name: str, _flags: _Flags) -> _Flags:
    return {}


def _deployment(name: str, flags: _Flags) -> _Flags:
    from podfence.lab.processes.catalog import short_name

    if flags["image"] is None:
        raise click.UsageError("a Deployment needs --image")
    # An image may have a name that a container may not have.
    container: _Flags = {"name": re.sub("[._]", "-", short_name(flags["image"])), "image": flags["image"]}
    if flags["port"] is not None:
        container["ports"] = [{"containerPort": flags["port"]}]
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    replicas = 1 if flags["replicas"] is None else flags["replicas"]
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _service(kind: str) -> Callable[[str, _Flags], _Flags]:
    def service(name: str, flags: _Flags) -> _Flags:
        if not flags["tcp"]:
            raise click.UsageError("a Service needs --tcp=PORT or --tcp=PORT:TARGET")
        labels = {"app": name}
        spec = {"type": kind, "selector": labels, "ports": [_port(text) for text in flags["tcp"]]}
        return {"metadata": {"name": name, "labels": labels}, "spec": spec}

    return service


def _port(text: str) -> _Flags:
    """Return the port that ``80`` or ``80:8080`` means, with kubectl's name for it."""
    outer, _, inner = text.partition(":")
    if not text.isascii() or not outer.isdecimal() or (inner and not inner.isdecimal()):
        raise click.UsageError(f"--tcp: {text!r} is not PORT or PORT:TARGET")
    name = f"{outer}-{inner}" if inner else outer
    return {"name": name, "port": int(outer), "protocol": "TCP", "targetPort": int(inner or outer)}


_DEPLOYMENT: Final = ("deployments", ("image", "replicas", "port"), _deployment)
_KINDS: Final[Mapping[str, tuple[str, tuple[str, ...], Callable[[str, _Flags], _Flags]]]] = {
    "namespace": ("namespaces", (), _namespace),
    "ns": ("namespaces", (), _namespace),
    "deployment": _DEPLOYMENT,
    "deploy": _DEPLOYMENT,
    "service clusterip": ("services", ("tcp",), _service("ClusterIP")),
    "service nodeport": ("services", ("tcp",), _service("NodePort")),
}
"""What kubectl's words make: objects of which resource, with which flags."""


@click.command(cls=Command, examples=_EXAMPLES, exits=served.EXITS)
@click.argument("words", nargs=-1, metavar="[namespace|deployment|service clusterip|service nodeport NAME]")
@click.option("--image", metavar="IMAGE", help="Image of the Deployment.")
@click.option("--replicas", type=click.IntRange(min=0), metavar="N", help="Pods of the Deployment. The default is 1.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port that the container declares.")
@click.option("--tcp", multiple=True, metavar="PORT[:TARGET]", help="Port of the Service, and of its pods. Repeatable.")
@shared.reads_manifests
@shared.in_namespace
@shared.named
def command(
    *,
    words: tuple[str, ...],
    manifests: shared.Manifests,
    namespace: str,
    name: str,
    **flags: Any,  # noqa: ANN401 - what click gives for each flag
) -> int:
    """Create the objects of manifests, a namespace, a Deployment or a Service, as `kubectl create` does.

    Returns when the pods run and the policies are in the kernel.
    """
    from podfence.lab import rest

    if bool(words) == bool(manifests):
        raise click.UsageError(f"name what to create: {', '.join(_KINDS)}, each with a NAME, or -f PATH, or -k DIR")
    *kind, target = words or ("",)
    plural, taken, make = _KINDS.get(" ".join(kind), ("", (), _namespace))
    if words and not plural:
        raise click.UsageError(f"create makes {', '.join(_KINDS)}, each with one NAME; use -f for everything else")
    for flag, value in flags.items():
        if value not in (None, ()) and flag not in taken:
            raise click.UsageError(f"--{flag} is not a flag of create {' '.join(kind) or '-f'}")
    made = {"metadata": {"name": target}, **make(target, flags)} if words else {}
    server = served.rest(name)
    if words:
        return served.changes(name, partial(served.create, server, rest.resource(plural), namespace, made))
    return served.changes(
        name,
        *(
            partial(served.create, server, item.row, item.namespace, item.value, file=item.file)
            for item in served.written(manifests, name, namespace)
        ),
    )
