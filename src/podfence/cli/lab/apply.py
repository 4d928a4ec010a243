# SPDX-License-Identifier: Apache-2.0
"""``podfence lab apply``: create or change objects."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab apply -f policies/
podfence lab apply -n shop -f - < policy.yaml
"""


@click.command(
    cls=Command, examples=_EXAMPLES, exits="0  applied\n1  some objects were refused\n2  nothing was changed"
)
@shared.reads_manifests
@shared.in_namespace
@shared.named
def command(*, manifests: shared.Manifests, namespace: str, name: str) -> int:
    """Create or change the objects of manifests. Returns when the pods run and the policies are in the kernel."""
    from podfence.lab.client import Client

    if not manifests:
        raise click.UsageError("nothing to apply: give files and folders with -f PATH or a kustomization with -k DIR")
    client = Client(name)
    objects = shared.read_as_lab(manifests, client)
    reply = client.apply(objects, namespace=namespace, progress=shared.teller(quiet=manifests.quiet))
    return shared.tell(reply, quiet=manifests.quiet)
