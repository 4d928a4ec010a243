# SPDX-License-Identifier: Apache-2.0
"""``podfence schema``: the JSON Schema of every document."""

from __future__ import annotations

import click

from podfence.cli import complete, outputs
from podfence.cli.commands import Command

_EXAMPLES = """
# List the kinds of documents
podfence schema

# Print the schema of the output of `podfence check -o json`
podfence schema Verdict
"""


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("kind", metavar="[KIND]", required=False, shell_complete=complete.kinds)
def command(kind: str | None) -> int:
    """Print the JSON Schema of a kind of document that -o json and -o yaml print. Without KIND, list all kinds."""
    from podfence.report import documents, schema

    outputs.write(documents.KINDS if kind is None else [schema.text(kind)])
    return 0
