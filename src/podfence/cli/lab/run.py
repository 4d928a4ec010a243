# SPDX-License-Identifier: Apache-2.0
"""``podfence lab run``: a pod with one container."""

from __future__ import annotations

from typing import Any

import click

from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

_EXAMPLES = """
podfence lab run web --image=nginx --labels=app=web --expose --port=80
podfence lab run client --image=busybox -- sleep 3600

# Open a shell in a pod that goes with it
podfence lab run test -it --rm --image=alpine -- sh
"""


@click.command(cls=Command, examples=_EXAMPLES, exits=f"{served.EXITS}\nwith -i or -t: that of the command")
@click.argument("pod", metavar="NAME")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARG...]")
@click.option("--image", required=True, metavar="IMAGE", help="Image of the container.")
@click.option("--labels", "-l", multiple=True, metavar="KEY=VALUE,...", help="Labels. The default is run=NAME.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port that the container declares.")
@click.option("--expose", is_flag=True, help="Create a Service for the pod, too. Needs --port.")
@click.option("--restart", type=click.Choice(("Always", "OnFailure", "Never")), default="Always", metavar="POLICY",
              help="Restart policy: Always (the default), OnFailure or Never.")  # fmt: skip
@click.option("-i", "--stdin", is_flag=True, help="Run the command with the standard input of this one.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("--rm", "removed", is_flag=True, help="Delete the pod when the command ends. Needs -i or -t.")
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
    chosen = served.pairs(labels, "--labels") or {"run": pod}
    container: dict[str, Any] = {"name": pod, "image": image}
    if stdin or tty:
        container |= {"command": ["sleep", "2147483647"]}
    elif words:
        container["args"] = list(words)
    if port is not None:
        container["ports"] = [{"containerPort": port}]
    server = served.rest(name)

    def create(plural: str, spec: dict[str, Any]) -> None:
        made = {"metadata": {"name": pod, "labels": chosen}, "spec": spec}
        served.create(server, rest.resource(plural), namespace, made)

    service = {"selector": chosen, "ports": [{"port": port, "protocol": "TCP", "targetPort": port}]}
    code = served.changes(
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
            served.changes(name, lambda: served.delete(server, rest.resource("pods"), namespace, pod))
