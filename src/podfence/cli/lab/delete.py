# SPDX-License-Identifier: Apache-2.0
"""``podfence lab delete``: delete objects."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab delete networkpolicy web-deny-all
podfence lab delete pod client -n shop
podfence lab delete -f policies/
"""


@click.command(
    cls=Command, examples=_EXAMPLES, exits="0  deleted\n1  some objects did not exist\n2  nothing was changed"
)
@click.argument("kind", required=False, metavar="[KIND")
@click.argument("names", nargs=-1, metavar="NAME...]")
@shared.reads_manifests
@shared.in_namespace
@shared.named
def command(*, kind: str | None, names: tuple[str, ...], manifests: shared.Manifests, namespace: str, name: str) -> int:
    """Delete the objects of manifests, or objects by kind and name. Returns when the kernels have the change.

    Deleting a workload also deletes its pods. Deleting a namespace also deletes everything in it.
    """
    from podfence.lab.client import Client, texts

    if bool(kind) == bool(manifests) or (kind and not names):
        raise click.UsageError("name what to delete: KIND NAME..., or -f PATH, or -k DIR")
    client = Client(name)
    reply = client.request(
        "delete",
        kind=kind,
        names=list(names),
        sources=texts(shared.read_as_lab(manifests, client) if manifests else ()),
        namespace=namespace,
        progress=shared.teller(quiet=manifests.quiet),
    )
    return shared.tell(reply, quiet=manifests.quiet)
