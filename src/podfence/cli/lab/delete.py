# SPDX-License-Identifier: Apache-2.0
"""``podfence lab delete``: delete objects."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

_EXAMPLES = """
podfence lab delete networkpolicy web-deny-all
podfence lab delete pod,svc web -n shop
podfence lab delete -f policies/
"""


@click.command(
    cls=Command, examples=_EXAMPLES, exits="0  deleted\n1  some objects did not exist\n2  nothing was changed"
)
@click.argument("words", nargs=-1, metavar="[KIND NAME...|KIND/NAME...]")
@shared.reads_manifests
@shared.in_namespace
@shared.named
def command(*, words: tuple[str, ...], manifests: shared.Manifests, namespace: str, name: str) -> int:
    """Delete the objects of manifests, or objects by kind and name. Returns when the kernels have the change.

    Deleting a workload also deletes its pods. Deleting a namespace also deletes everything in it.
    """
    from podfence.lab.client import Client, texts

    if bool(words) == bool(manifests):
        raise click.UsageError("name what to delete: KIND NAME..., or -f PATH, or -k DIR")
    if manifests:
        client = Client(name)
        sources = texts(shared.read_as_lab(manifests, client))
        tell = shared.teller(quiet=manifests.quiet)
        reply = client.request("delete", sources=sources, namespace=namespace, progress=tell)
        return shared.tell(reply, quiet=manifests.quiet)
    targets = served.named(words)
    server = served.rest(name)
    return served.changes(name, *(lambda target=target: served.delete(server, target, namespace) for target in targets))
