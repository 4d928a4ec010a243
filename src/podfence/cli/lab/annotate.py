# SPDX-License-Identifier: Apache-2.0
"""``podfence lab annotate``: change annotations."""

from __future__ import annotations

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import served, shared

_EXAMPLES = """
podfence lab annotate namespace default example.org/owner=shop
podfence lab annotate pod client example.org/note-
"""


@click.command(cls=Command, examples=_EXAMPLES, exits="0  changed, or already so\n1  the server refused it\n2  no lab")
@shared.changes_keys
def command(*, kind: str, target: str, changes: tuple[str, ...], namespace: str, name: str) -> int:
    """Set annotations of an object (KEY=VALUE), or remove them (KEY-), as `kubectl annotate` does."""
    from podfence.lab import rest

    row = rest.resource(kind)
    wanted = shared.changed(changes)
    server = served.rest(name)

    def annotate() -> None:
        where = rest.path(row, namespace if row.namespaced else "", target)
        server.send("PATCH", where, {"metadata": {"annotations": wanted}}, content=rest.MERGE)
        outputs.write([f"{rest.printed(row, target)} annotated"])

    return served.refusals(annotate)
