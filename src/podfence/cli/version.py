# SPDX-License-Identifier: Apache-2.0
"""``podfence version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from podfence.cli import outputs
from podfence.cli.commands import Command


@click.command(cls=Command, examples="podfence version\npodfence version -o json")
@outputs.formatted("Version")
def command(form: str) -> int:
    """Print the version of podfence."""
    from podfence.report.about import Version

    outputs.write_as("Version", form, Version(version=number(), python=platform.python_version()), "never")
    return 0


def number() -> str:
    """Return ``1.2.3``."""
    return metadata.version("podfence")
