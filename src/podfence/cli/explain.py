# SPDX-License-Identifier: Apache-2.0
"""``podfence explain``: how a decision comes about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs, question
from podfence.cli.commands import Command
from podfence.cli.inputs import incomplete, load

if TYPE_CHECKING:
    from podfence.cli.inputs import Inputs
    from podfence.cli.question import Form
    from podfence.report.style import When

_HELP = """
Show how the decision on a connection comes about: at both ends, tier by tier, with the rules
as they are written and, for a denial, the nearest rule and the smallest change.
"""

_EXAMPLES = """
# Why can the web pods not connect to the database?
podfence explain shop/web shop/db 5432 -f manifests/

# The same in the live cluster
podfence explain shop/web shop/db 5432

# The same for a program
podfence explain shop/web shop/db 5432 -o json -f manifests/
"""


@click.command(cls=Command, help=_HELP + question.WRITTEN, examples=_EXAMPLES, exits=question.EXITS)
@question.asks
def command(*, inputs: Inputs, source: str, destination: str, port: str | None, form: Form, colour: When) -> int:
    """Print the chain of the decision and return the exit code of the verdict."""
    from podfence.report import documents, structured, verdict

    cluster = load(inputs)
    answer = cluster.explain(source, destination, port, namespace=inputs.own_namespace)
    gaps = cluster.gaps_between(source, destination, namespace=inputs.own_namespace)
    if form == "text":
        outputs.write(incomplete(gaps))
        outputs.write(verdict.chain(answer, style=outputs.style(colour)))
    else:
        outputs.write(structured.lines(documents.decision(answer), form, gaps))
    return question.exit_code(answer, gaps)
