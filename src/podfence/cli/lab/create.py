# SPDX-License-Identifier: Apache-2.0
"""``podfence lab create``, ``run`` and ``expose``: new objects, of manifests or by flags."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from podfence.lab.rest import Rest
    from podfence.lab.store.resources import Resource

_EXAMPLES = """
podfence lab create -f policies/
podfence lab create namespace prod
podfence lab create deployment web --image=nginx --replicas=2
podfence lab create service clusterip web --tcp=80:8080
"""

_RUN_EXAMPLES = """
podfence lab run web --image=nginx --labels=app=web --expose --port=80
podfence lab run client --image=busybox -- sleep 3600

# Open a shell in a pod that goes with it
podfence lab run test -it --rm --image=alpine -- sh
"""

_EXPOSE_EXAMPLES = """
podfence lab expose deployment web --port=80
podfence lab expose pod db --port=6379 --type=NodePort
"""

_Fields = dict[str, Any]

_port = click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port that the container declares.")


def _made(name: str, labels: Mapping[str, str], spec: _Fields) -> _Fields:
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _container(name: str, image: str, port: int | None) -> _Fields:
    container: _Fields = {"name": name, "image": image}
    return container if port is None else {**container, "ports": [{"containerPort": port}]}


def _deployment(name: str, flags: _Fields) -> _Fields:
    from podfence.lab.processes.catalog import short_name

    if flags["image"] is None:
        raise click.UsageError("a Deployment needs --image")
    # An image may have a name that a container may not have.
    container = _container(re.sub("[._]", "-", short_name(flags["image"])), flags["image"], flags["port"])
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    replicas = 1 if flags["replicas"] is None else flags["replicas"]
    return _made(name, labels, {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template})


def _service(kind: str) -> Callable[[str, _Fields], _Fields]:
    def service(name: str, flags: _Fields) -> _Fields:
        if not flags["tcp"]:
            raise click.UsageError("a Service needs --tcp=PORT or --tcp=PORT:TARGET")
        labels = {"app": name}
        ports = [_service_port(text) for text in flags["tcp"]]
        return _made(name, labels, {"type": kind, "selector": labels, "ports": ports})

    return service


def _service_port(text: str) -> _Fields:
    """Return the port that ``80`` or ``80:8080`` means, with kubectl's name for it."""
    outer, _, inner = text.partition(":")
    if not text.isascii() or not outer.isdecimal() or (inner and not inner.isdecimal()):
        raise click.UsageError(f"--tcp: {text!r} is not PORT or PORT:TARGET")
    name = f"{outer}-{inner}" if inner else outer
    return {"name": name, "port": int(outer), "protocol": "TCP", "targetPort": int(inner or outer)}


_DEPLOYMENT: Final = ("deployments", ("image", "replicas", "port"), _deployment)
_NAMESPACE: Final = ("namespaces", (), lambda name, _flags: {"metadata": {"name": name}})
_KINDS: Final[Mapping[str, tuple[str, tuple[str, ...], Callable[[str, _Fields], _Fields]]]] = {
    "namespace": _NAMESPACE,
    "ns": _NAMESPACE,
    "deployment": _DEPLOYMENT,
    "deploy": _DEPLOYMENT,
    "service clusterip": ("services", ("tcp",), _service("ClusterIP")),
    "service nodeport": ("services", ("tcp",), _service("NodePort")),
}
"""What kubectl's words make: objects of which resource, with which flags."""


@click.command(cls=Command, examples=_EXAMPLES, exits=shared.EXITS)
@click.argument("words", nargs=-1, metavar="[namespace|deployment|service clusterip|service nodeport NAME]")
@click.option("--image", metavar="IMAGE", help="Image of the Deployment.")
@click.option("--replicas", type=click.IntRange(min=0), metavar="N", help="Pods of the Deployment. The default is 1.")
@_port
@click.option("--tcp", multiple=True, metavar="PORT[:TARGET]", help="Port of the Service, and of its pods. Repeatable.")
@shared.reads_manifests
@shared.in_lab
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
    plural, taken, make = _KINDS.get(" ".join(kind), ("", *_NAMESPACE[1:]))
    if words and not plural:
        raise click.UsageError(f"create makes {', '.join(_KINDS)}, each with one NAME; use -f for everything else")
    for flag, value in flags.items():
        if value not in (None, ()) and flag not in taken:
            raise click.UsageError(f"--{flag} is not a flag of create {' '.join(kind) or '-f'}")
    made = make(target, flags) if words else {}
    server = shared.rest(name)
    if words:
        return shared.changes(name, partial(_create, server, rest.resource(plural), namespace, made))
    items = shared.written(manifests, name, namespace)
    requests = [partial(_create, server, item.row, item.namespace, item.value, file=item.file) for item in items]
    return shared.changes(name, *requests)


@click.command("run", cls=Command, examples=_RUN_EXAMPLES, exits=f"{shared.EXITS}\nwith -i or -t: that of the command")
@click.argument("pod", metavar="NAME")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARG...]")
@click.option("--image", required=True, metavar="IMAGE", help="Image of the container.")
@click.option("--labels", "-l", multiple=True, metavar="KEY=VALUE,...", help="Labels. The default is run=NAME.")
@_port
@click.option("--expose", is_flag=True, help="Create a Service for the pod, too. Needs --port.")
@click.option("--restart", type=click.Choice(("Always", "OnFailure", "Never")), default="Always", metavar="POLICY",
              help="Restart policy: Always (the default), OnFailure or Never.")  # fmt: skip
@click.option("-i", "--stdin", is_flag=True, help="Run the command with the standard input of this one.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("--rm", "removed", is_flag=True, help="Delete the pod when the command ends. Needs -i or -t.")
@shared.in_lab
def run(
    *,
    pod: str,
    words: tuple[str, ...],
    image: str,
    labels: tuple[str, ...],
    port: int | None,
    expose: bool,
    restart: str,
    stdin: bool,
    tty: bool,
    removed: bool,
    namespace: str,
    name: str,
) -> int:
    """Create a pod of one container as `kubectl run` does, where there is no kubectl. Returns when it runs.

    With -i or -t, the container waits, and the command (sh if there is none) runs in it, as with `lab exec`.
    """
    from podfence.cli.lab import terminal
    from podfence.lab import rest

    if expose and port is None:
        raise click.UsageError("--expose needs --port")
    if removed and not (stdin or tty):
        raise click.UsageError("--rm needs -i or -t: it deletes the pod when the command ends")
    chosen = _pairs(labels, "--labels") or {"run": pod}
    container = _container(pod, image, port)
    if stdin or tty:
        container |= {"command": ["sleep", "2147483647"]}
    elif words:
        container["args"] = list(words)
    server = shared.rest(name)

    def create(plural: str, spec: _Fields) -> None:
        _create(server, rest.resource(plural), namespace, _made(pod, chosen, spec))

    service = {"selector": chosen, "ports": [{"port": port, "protocol": "TCP", "targetPort": port}]}
    code = shared.changes(
        name,
        *((lambda: create("services", service),) if expose else ()),
        lambda: create("pods", {"containers": [container], "restartPolicy": restart}),
    )
    if code or not (stdin or tty):
        return code
    try:
        return terminal.run(name, pod, words or ("sh",), container=None, namespace=namespace, stdin=stdin, tty=tty)
    finally:
        if removed:
            shared.changes(name, lambda: shared.delete(server, rest.resource("pods"), namespace, pod))


@click.command("expose", cls=Command, examples=_EXPOSE_EXAMPLES, exits=shared.EXITS)
@click.argument("words", nargs=-1, required=True, metavar="KIND NAME|KIND/NAME")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port of the Service. The default is the "
              "first port that the pod declares.")  # fmt: skip
@click.option("--target-port", metavar="PORT", help="Port of the pods, by number or name. The default is --port.")
@click.option("--protocol", type=click.Choice(("TCP", "UDP")), default="TCP", metavar="PROTOCOL",
              help="TCP (the default) or UDP.")  # fmt: skip
@click.option("--type", "kind_of_service", type=click.Choice(("ClusterIP", "NodePort", "LoadBalancer")),
              default="ClusterIP", metavar="TYPE", help="ClusterIP (default), NodePort or LoadBalancer.")  # fmt: skip
@shared.in_lab
def expose(
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

    targets = shared.objects(words)
    server = shared.rest(name)

    def create(row: Resource, target: str) -> None:
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
        made = _made(target, labels, {"type": kind_of_service, "selector": selector, "ports": ports})
        _create(server, rest.resource("services"), namespace, made, "exposed")

    return shared.changes(name, *(partial(create, *target) for target in targets))


def _pods_of(kind: str, found: _Fields) -> tuple[dict[str, str], _Fields]:
    """Return the labels that select the pods of an object, and what they run."""
    spec: _Fields = found.get("spec") or {}
    if kind == "Pod":
        return found["metadata"].get("labels") or {}, spec
    selector: _Fields = spec.get("selector") or {}
    template = (spec.get("template") or {}).get("spec") or {}
    return selector.get("matchLabels", selector if kind == "ReplicationController" else {}), template


def _declared(spec: _Fields) -> int | None:
    """Return the first port that containers declare."""
    ports = [port for container in spec.get("containers") or () for port in container.get("ports") or ()]
    return int(ports[0]["containerPort"]) if ports else None


def _create(
    server: Rest, row: Resource, namespace: str, made: _Fields, verb: str = "created", *, file: str = ""
) -> None:
    """Create an object, of a manifest if it has a file, and print what was done. Raises RefusedError."""
    from podfence.lab import rest

    whole = {"apiVersion": row.api_version, "kind": row.kind, **made}
    # A manifest may have another version of the kind.
    row = row._replace(api_version=whole["apiVersion"])
    during = f'error when creating "{file}": ' if file else ""
    stored = server.send("POST", rest.path(row, namespace), whole, during=during)
    outputs.write([f"{rest.printed(row, stored['metadata']['name'])} {verb}"])


def _pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Return the texts ``KEY=VALUE``, which may be several with commas, as a mapping; raise a usage error."""
    found: dict[str, str] = {}
    for text in ",".join(texts).split(",") if texts else ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{flag}: {text!r} is not KEY=VALUE")
        found[key] = value
    return found
