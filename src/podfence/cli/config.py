# SPDX-License-Identifier: Apache-2.0
"""``podfence config``: the settings that are in force here, and where they come from."""

from __future__ import annotations

import os

import click

from podfence.cli import outputs, settings
from podfence.cli.commands import Command

_EXAMPLES = """
# What do commands in this folder read, without any flag?
podfence config

# And with the configuration of another place?
podfence config --config ../podfence.toml

# The same for a program
podfence config -o json
"""


@click.command(cls=Command, examples=_EXAMPLES)
@settings.chosen
@outputs.formatted("Config")
def command(*, config: str | None, no_config: bool, form: str) -> int:
    """Print what a podfence.toml, or the table tool.podfence of a pyproject.toml, says here.

    The nearest one above the working directory counts, up to the folder of the repository.
    """
    from podfence.report.about import Config

    found = settings.find(config, os.environ, wanted=not no_config)
    options = dict(setting.split("=", 1) for setting in found.options)
    named = ("filename", "recursive", "exclude", "namespace")
    answer = Config(
        file=found.file,
        filename=found.filename,
        recursive=found.recursive,
        exclude=found.exclude,
        namespace=found.namespace or "default",
        options=options,
        given=(*(name for name in named if getattr(found, name)), *(f"options.{name}" for name in options)),
    )
    outputs.write_as("Config", form, answer, "never")
    return 0
