# SPDX-License-Identifier: Apache-2.0
"""``podfence explain``: how a decision comes about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs, question
from podfence.cli.commands import Command
from podfence.cli.inputs import load, note

if TYPE_CHECKING:
    from podfence.cli.inputs import Inputs
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

# The policy as it would be with the smallest change that admits it
podfence explain shop/web shop/db 5432 --remedy -f manifests/

# The same for a program
podfence explain shop/web shop/db 5432 -o json -f manifests/
"""


@click.command(cls=Command, help=_HELP + question.WRITTEN, examples=_EXAMPLES, exits=question.EXITS)
@question.asks
@click.option("--remedy", is_flag=True, help="Print only the policy as the smallest change would make it.")
def command(
    *, inputs: Inputs, source: str, destination: str, port: str | None, form: str, colour: When, remedy: bool
) -> int:
    """Print the chain of the decision and return the exit code of the verdict."""
    if remedy and form != "text":
        raise click.UsageError(f"--remedy and -o {form} exclude each other", click.get_current_context())
    cluster = load(inputs)
    answer = cluster.explain(source, destination, port, namespace=inputs.own_namespace)
    if remedy:
        from podfence.report import remedy as report

        found = cluster.mended(answer)
        outputs.write(report.lines(found))
        if not found:
            note(inputs, f"no change to propose: {answer.decision.value}")
        return question.exit_code(answer)
    gaps = cluster.gaps_between(source, destination, namespace=inputs.own_namespace)
    return question.answered("Explanation", answer, cluster, form, colour, gaps)
