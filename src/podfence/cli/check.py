# SPDX-License-Identifier: Apache-2.0
"""``podfence check``: whether a connection is allowed, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import question
from podfence.cli.commands import Command
from podfence.cli.inputs import load, note

if TYPE_CHECKING:
    from podfence.cli.inputs import Inputs
    from podfence.report.style import When

_HELP = """
Print in one line whether SRC may connect to DST on PORT, and which policies decide.
"""

_EXAMPLES = """
# Check whether the web pods may connect to the database
podfence check shop/web shop/db 5432 -f manifests/

# Check the same in the live cluster of a kubeconfig context
podfence check shop/web shop/db 5432 --context prod

# In a script, use the exit code: 0 means allowed, 1 means denied
podfence check shop/web internet 443 -q -f manifests/ > /dev/null

# Check a pod that does not exist yet, by its labels
podfence check shop/app=job,tier=batch shop/db 5432 -f manifests/
"""


@click.command(cls=Command, help=_HELP + question.WRITTEN, examples=_EXAMPLES, exits=question.EXITS)
@question.asks
def command(*, inputs: Inputs, source: str, destination: str, port: str | None, form: str, colour: When) -> int:
    """Print the decision and return the exit code of the verdict."""
    cluster = load(inputs, form)
    # A line has no room for changes that would admit what is denied; documents have them.
    ask = cluster.check if form == "text" else cluster.explain
    answer = ask(source, destination, port, namespace=inputs.own_namespace)
    gaps = cluster.gaps_between(source, destination, namespace=inputs.own_namespace)
    code = question.answered("Verdict", answer, cluster, form, colour, gaps)
    for text in answer.notes if form == "text" else ():
        note(inputs, text)
    return code
