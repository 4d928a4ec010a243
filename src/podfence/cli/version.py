# SPDX-License-Identifier: Apache-2.0
"""``podfence version``."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Literal, get_args

import click

from podfence.cli import outputs
from podfence.cli.commands import Command

Form = Literal["text", "json", "yaml"]


@click.command(cls=Command, examples="podfence version\npodfence version -o json")
@outputs.of_formats(*get_args(Form))
def command(form: Form) -> int:
    """Print the version of podfence."""
    if form == "text":
        outputs.write([line()])
    else:
        from podfence.report import documents, structured

        outputs.write(structured.lines(documents.version(number(), platform.python_version()), form))
    return 0


def line() -> str:
    """Return ``podfence 1.2.3``."""
    return f"podfence {number()}"


def number() -> str:
    """Return ``1.2.3``."""
    return metadata.version("podfence")
