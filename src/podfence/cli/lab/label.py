# SPDX-License-Identifier: Apache-2.0
"""``podfence lab label``: change labels."""

from __future__ import annotations

import click

from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab label namespace prod purpose=production
podfence lab label pod client role=monitoring app-
"""


@click.command(
    cls=Command,
    examples=_EXAMPLES,
    exits="0  changed, or already so\n1  the object does not exist\n2  the lab does not exist, or a label is invalid",
)
@shared.changes_keys
def command(*, kind: str, target: str, changes: tuple[str, ...], namespace: str, name: str) -> int:
    """Set labels of a pod or namespace (KEY=VALUE), or remove them (KEY-)."""
    from podfence.lab.client import Client

    wanted = shared.changed(changes)
    reply = Client(name).request("label", kind=kind, target=target, changes=wanted, namespace=namespace)
    return shared.tell(reply, quiet=False)
