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
    if bool(words) == bool(manifests):
        raise click.UsageError("name what to delete: KIND NAME..., or -f PATH, or -k DIR")
    server = served.rest(name)
    if manifests:
        targets = [
            (item.row, item.namespace or namespace, item.name, item.file) for item in served.written(manifests, name)
        ]
    else:
        targets = [(target.row, namespace, target.name, "") for target in served.named(words)]
    return served.changes(name, *(lambda at=at: served.delete(server, *at[:3], file=at[3]) for at in targets))
