# SPDX-License-Identifier: Apache-2.0
"""``podfence options``: the engine's options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podfence.cli import outputs
from podfence.cli.commands import Command

if TYPE_CHECKING:
    from podfence.report.style import When

_EXAMPLES = """
# What there is to choose
podfence options

# Judge a pod's connections to itself by policy
podfence check shop/web shop/web 80 --set self-traffic=policy -f manifests/
"""


@click.command(cls=Command, examples=_EXAMPLES)
@outputs.formatted("Options")
@outputs.coloured
def command(form: str, colour: When) -> int:
    """List what the Kubernetes documents leave open, how it is answered here, and the other answers.

    RULE numbers the rule of the specification; `--set OPTION=VALUE` chooses another value.
    """
    from podfence.policy.options import describe
    from podfence.report import about

    outputs.write_as("Options", form, about.options(describe()), colour)
    return 0
