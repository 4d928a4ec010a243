# SPDX-License-Identifier: Apache-2.0
"""The options that say how an answer is written, and the writing of it."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podfence.report.style import Style, When

_Function = TypeVar("_Function", bound="Callable[..., object]")


def formatted(*formats: str) -> Callable[[_Function], _Function]:
    """Add ``-o`` with these formats, the first being the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(formats),
        default=formats[0],
        metavar="FORMAT",
        help=f"One of {', '.join(formats)}; {formats[0]} unless given.",
    )


def coloured(function: _Function) -> _Function:
    """Add ``--color``."""
    return click.option(
        "--color",
        "colour",
        type=click.Choice(("auto", "always", "never")),
        default="auto",
        metavar="WHEN",
        help="auto (on a terminal, unless NO_COLOR is set), always or never.",
    )(function)


def style(colour: When) -> Style:
    """Return how to emphasise text on standard output."""
    from podfence.report.style import choose

    return choose(colour, sys.stdout, os.environ)


def width() -> int | None:
    """Return the width of the terminal that standard output is, None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def write(lines: Iterable[str]) -> None:
    """Write `lines` to standard output as they come."""
    write_out = sys.stdout.write
    for line in lines:
        write_out(line + "\n")
