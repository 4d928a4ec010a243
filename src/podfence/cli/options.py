# SPDX-License-Identifier: Apache-2.0
"""``podfence options``: the engine's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import click

from podfence.cli import outputs
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from podfence.report.style import When

Form = Literal["table", "json", "yaml"]

_EXAMPLES = """
# What there is to choose
podfence options

# Judge a pod's connections to itself by policy
podfence check shop/web shop/web 80 --set self-traffic=policy -f manifests/
"""


@click.command(cls=Command, examples=_EXAMPLES)
@outputs.of_formats(*get_args(Form))
@outputs.coloured
def command(form: Form, colour: When) -> int:
    """List what the Kubernetes documents leave open, how it is answered here, and the other answers.

    RULE numbers the rule of the specification; `--set OPTION=VALUE` chooses another value.
    """
    from podfence.policy.options import describe

    if form == "table":
        from podfence.report import options

        outputs.write(options.table(describe(), outputs.page(colour)))
    else:
        from podfence.report import documents, structured

        outputs.write(structured.lines(documents.options(describe()), form))
    return 0
