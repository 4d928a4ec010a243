# SPDX-License-Identifier: Apache-2.0
"""The options that say how an answer is written, and the writing of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

import click

from podfence.cli import errors, settings
from podfence.errors import PodfenceError
from podfence.report import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podfence.kube.findings import Finding
    from podfence.kube.omissions import Gap
    from podfence.report.remarks import Refusal
    from podfence.report.style import Page, When

_Function = TypeVar("_Function", bound="Callable[..., object]")

# Formats that say in a field of their own that an answer is incomplete.
_DOCUMENTS = ("json", "yaml", "matrix-json")


def formatted(*kinds: str) -> Callable[[_Function], _Function]:
    """Add ``-o`` with the formats of these kinds of answers, the first being the default."""
    return of_formats(*formats.names(*kinds))


def of_formats(*names: str) -> Callable[[_Function], _Function]:
    """Add ``-o`` with these formats, the first being the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(names),
        default=names[0],
        metavar="FORMAT",
        help=f"Output format: {', '.join(names)}. The default is {names[0]}.",
    )


def also_written(kind: str) -> Callable[[_Function], _Function]:
    """Add ``--write``: other formats of a kind of answer for files, as pairs of a format and a path."""

    def pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
        found = [value.partition("=")[::2] for value in values]
        for form, path in found:
            if form not in formats.names(kind) or not path:
                raise click.BadParameter(f"write FORMAT=FILE, with one of the formats {', '.join(formats.names(kind))}")
        return found

    return click.option(
        "--write",
        "also",
        metavar="FORMAT=FILE",
        multiple=True,
        callback=pairs,
        help="Also write the answer to a file, in this format. Repeatable.",
    )


coloured = click.option(
    "--color",
    "colour",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    metavar="WHEN",
    help="When to use colors: auto (on a terminal, unless NO_COLOR is set), always or never.",
)
"""Adds ``--color``."""


def width() -> int | None:
    """Return the width of the terminal that standard output is, None if it is none."""
    if not sys.stdout.isatty():
        return None
    from shutil import get_terminal_size

    return get_terminal_size().columns


def page(colour: When, gaps: Sequence[Gap] = (), assumes: tuple[str, ...] = ()) -> Page:
    """Return what standard output is to text: how wide, whether in colour, and what the answer does not know."""
    from podfence.report.style import Page, choose

    return Page(width(), choose(colour, sys.stdout, os.environ), tuple(map(str, gaps)), assumes)


def write_as(
    kind: str,
    form: str,
    answer: object,
    colour: When,
    gaps: Sequence[Gap] = (),
    assumes: tuple[str, ...] = (),
    findings: tuple[Finding, ...] = (),
    title: str = "",
    also: Sequence[tuple[str, str]] = (),
) -> None:
    """Write an answer of a kind in one of its formats to standard output.

    Documents say what it `assumes`, and formats for remarks say the `findings` of the input. With `gaps` it says first
    that it is incomplete; in CSV, where every line is data, that is said beside it. `title` is that of a comment.
    `also` are other formats and the files to write these to. Raises PodfenceError for a file that cannot be written.
    """
    from podfence.report.style import PLAIN

    written_on = page(colour, gaps, assumes)._replace(findings=findings, root=_from_root(), title=title)
    for other, path in also:
        _write_file(path, formats.lines(kind, other, answer, written_on._replace(width=None, style=PLAIN)))
    if form not in formats.REMARKS and gaps and form not in _DOCUMENTS:
        from podfence.policy.verdict import first_place

        line = f"incomplete: {first_place([*map(str, gaps)])}{' (-v names all)' if len(gaps) > 1 else ''}"
        if form == "csv":
            errors.complain(line)
        else:
            from podfence.report import columns

            write([columns.paragraph(line, width())])
    write(formats.lines(kind, form, answer, written_on))


def _write_file(path: str, lines: Iterable[str]) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123  as typed
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise PodfenceError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_refusal(form: str, refusal: Refusal, title: str = "", also: Sequence[tuple[str, str]] = ()) -> None:
    """Write why there is no answer, in the formats that have a place for that: comments and remarks."""
    written_on = page("never")._replace(root=_from_root(), title=title)
    offered = formats.names("Refusal")
    for other, path in also:
        if other in offered:
            _write_file(path, formats.lines("Refusal", other, refusal, written_on))
    if form in offered:
        write(formats.lines("Refusal", form, refusal, written_on))


def _from_root() -> str:
    """Return the path of the working directory from the root of its repository, "" if it is in none."""
    here = os.getcwd()  # noqa: PTH109  a path is only compared
    root = next(filter(settings.is_repository, settings.upwards(here)), here)
    found = os.path.relpath(here, root)
    return "" if found == "." else found


def write(lines: Iterable[str]) -> None:
    """Write `lines` to standard output as they come."""
    write_out = sys.stdout.write
    for line in lines:
        write_out(line + "\n")
