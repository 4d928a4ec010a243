# SPDX-License-Identifier: Apache-2.0
"""``podfence semantics``: the rules that reasons rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from podfence.report.style import When

_EXAMPLES = """
# Print the rule that a reason cites as "semantics 2.2"
podfence semantics 2.2

# Print all rules about Services, nodes and other special ends
podfence semantics 7
"""


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("number", metavar="[RULE]", required=False)
@outputs.coloured
def command(number: str | None, colour: When) -> int:
    """Print one rule of the specification, or all rules of a section. Without RULE, list the sections."""
    from podfence.report import semantics

    page = outputs.page(colour)
    outputs.write(semantics.contents(page) if number is None else semantics.text(number, page))
    return 0
