# SPDX-License-Identifier: Apache-2.0
"""``podfence config``: the settings that are in force here, and where they come from."""

from __future__ import annotations

import os

import click

from podfence.cli import outputs, settings
from podfence.cli.commands import Command

_EXAMPLES = """
# Print what commands in this directory read without flags
podfence config

# Print the settings of another configuration file
podfence config --config ../podfence.toml

# Print the settings as JSON
podfence config -o json
"""


@click.command(cls=Command, examples=_EXAMPLES)
@settings.chosen
@outputs.formatted("Config")
def command(*, config: str | None, no_config: bool, form: str) -> int:
    """Print the settings of podfence.toml, or of the table tool.podfence in pyproject.toml, that apply here.

    podfence uses the nearest file in the working directory or above it, up to the root of the repository.
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
