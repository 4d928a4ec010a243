# SPDX-License-Identifier: Apache-2.0
"""``podfence version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.report import formats


@click.command(cls=Command, examples="podfence version\npodfence version -o json")
@outputs.of_formats("text", *formats.names("Version"))
def command(form: str) -> int:
    """Print the version of podfence."""
    if form == "text":
        outputs.write([line()])
    else:
        from podfence.report.about import Version

        answer = Version(version=number(), python=platform.python_version())
        outputs.write_as("Version", form, answer, "never")
    return 0


def line() -> str:
    """Return ``podfence 1.2.3``."""
    return f"podfence {number()}"


def number() -> str:
    """Return ``1.2.3``."""
    return metadata.version("podfence")
