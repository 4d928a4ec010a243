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
Explain step by step why a connection is allowed or denied, at both ends and tier by tier. The
output quotes the rules. For a denied connection, it also shows the nearest rule and the smallest
change that admits the connection.
"""

_EXAMPLES = """
# Explain why the web pods cannot connect to the database
podfence explain shop/web shop/db 5432 -f manifests/

# Explain the same in the live cluster
podfence explain shop/web shop/db 5432

# Print the policy with the smallest change that admits the connection
podfence explain shop/web shop/db 5432 --remedy -f manifests/

# Print the explanation as JSON
podfence explain shop/web shop/db 5432 -o json -f manifests/
"""


@click.command(cls=Command, help=_HELP + question.WRITTEN, examples=_EXAMPLES, exits=question.EXITS)
@question.asks
@click.option(
    "--remedy", is_flag=True, help="Print only the policy with the smallest change that admits the connection."
)
def command(
    *, inputs: Inputs, source: str, destination: str, port: str | None, form: str, colour: When, remedy: bool
) -> int:
    """Print the chain of the decision and return the exit code of the verdict."""
    if remedy and form != "text":
        raise click.UsageError(f"--remedy and -o {form} exclude each other", click.get_current_context())
    cluster = load(inputs, form)
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
