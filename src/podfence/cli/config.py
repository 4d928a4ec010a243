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
"""


@click.command(cls=Command, examples=_EXAMPLES)
@settings.chosen
def command(*, config: str | None, no_config: bool) -> int:
    """Print what a podfence.toml, or the table tool.podfence of a pyproject.toml, says here.

    The nearest one above the working directory counts, up to the folder of the repository.
    """
    found = settings.find(config, os.environ, wanted=not no_config)
    source = found.file or "default"
    rows = [
        ("filename", ", ".join(found.filename) or "the live cluster", bool(found.filename)),
        ("recursive", str(found.recursive).lower(), found.recursive),
        ("exclude", ", ".join(found.exclude) or "nothing", bool(found.exclude)),
        ("namespace", found.namespace or "default", bool(found.namespace)),
        *(("options." + setting.partition("=")[0], setting.partition("=")[2], True) for setting in found.options),
    ]
    key_width = max(len(key) for key, _, _ in rows)
    value_width = max(len(value) for _, value, _ in rows)
    outputs.write(
        f"{key:{key_width}}  {value:{value_width}}  {source if is_set else 'default'}" for key, value, is_set in rows
    )
    return 0
