# SPDX-License-Identifier: Apache-2.0
"""``podfence lab apply`` and ``podfence lab delete``: objects of manifests, or by their names, changed and deleted."""

from __future__ import annotations

from functools import partial

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab apply -f policies/
podfence lab apply -n shop -f - < policy.yaml
"""

_DELETE_EXAMPLES = """
podfence lab delete networkpolicy web-deny-all
podfence lab delete pod,svc web -n shop
podfence lab delete -f policies/
"""


@click.command(
    cls=Command, examples=_EXAMPLES, exits="0  applied\n1  some objects were refused\n2  nothing was changed"
)
@shared.reads_manifests
@shared.in_lab
def command(*, manifests: shared.Manifests, namespace: str, name: str) -> int:
    """Create or change the objects of manifests. Returns when the pods run and the policies are in the kernel."""
    if not manifests:
        raise click.UsageError("nothing to apply: give files and folders with -f PATH or a kustomization with -k DIR")
    objects = shared.read_as_lab(manifests, name)
    reply = shared.client(name).apply(objects, namespace=namespace, progress=shared.teller(quiet=manifests.quiet))
    return shared.tell(reply, quiet=manifests.quiet)


@click.command(
    "delete",
    cls=Command,
    examples=_DELETE_EXAMPLES,
    exits="0  deleted\n1  some objects did not exist\n2  nothing was changed",
)
@click.argument("words", nargs=-1, metavar="[KIND NAME...|KIND/NAME...]")
@shared.reads_manifests
@shared.in_lab
def delete(*, words: tuple[str, ...], manifests: shared.Manifests, namespace: str, name: str) -> int:
    """Delete the objects of manifests, or objects by kind and name. Returns when the kernels have the change.

    Deleting a workload also deletes its pods. Deleting a namespace also deletes everything in it.
    """
    if bool(words) == bool(manifests):
        raise click.UsageError("name what to delete: KIND NAME..., or -f PATH, or -k DIR")
    server = shared.rest(name)
    if words:
        requests = [partial(shared.delete, server, row, namespace, target) for row, target in shared.objects(words)]
    else:
        requests = [
            partial(shared.delete, server, item.row, item.namespace, item.name, file=item.file)
            for item in shared.written(manifests, name, namespace)
        ]
    return shared.changes(name, *requests)
