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
# List all options
podfence options

# Apply policies to the connections of a pod to itself
podfence check shop/web shop/web 80 --set self-traffic=policy -f manifests/
"""


@click.command(cls=Command, examples=_EXAMPLES)
@outputs.formatted("Options")
@outputs.coloured
def command(form: str, colour: When) -> int:
    """List the questions that the Kubernetes documentation leaves open, with the default answer and the others.

    RULE is the number of the rule in the specification. Use `--set OPTION=VALUE` to choose another value.
    """
    from podfence.policy.options import describe
    from podfence.report import about

    outputs.write_as("Options", form, about.options(describe()), colour)
    return 0
