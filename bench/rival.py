# SPDX-License-Identifier: Apache-2.0
"""The same question put to network-config-analyzer, the other analyser in Python, on the same files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands import PODFENCE, manifests
from bench.measure import Measured, once, several
from bench.report import Section, duration, table
from bench.size import MEDIUM, SMALL, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "network-config-analyzer"
VERSION = "2.1.0"
LIMIT = 60.0
_BUILD = Path(__file__).resolve().parent.parent / "build"
_SIZES = (Size(50, 4, 20), Size(200, 8, 50), SMALL, Size(1_000, 40, 250), MEDIUM)
_QUICK_SIZES = _SIZES[:2]
_TEXT = (
    f"{NAME} {VERSION} (`nca --connectivity`) and podfence (`podfence list`) list all connections of the same files. "
    f"A program that does not end within {LIMIT:.0f} s is stopped."
)


def section(folder: Path, *, quick: bool) -> Section:
    """Return the comparison; without the rival, which `--quick` does not install, only a sentence."""
    title = f"Compared with {NAME}"
    program = _BUILD / "rival-venv" / "bin" / "nca"
    failure = "" if program.exists() else "it is not installed" if quick else _install(program)
    if failure:
        return Section(title, f"Not measured: {failure}.", ())
    heads = ("", "wall clock", "memory", "podfence", "memory", "times as fast")
    return Section(title, _TEXT, table(heads, _rows(program, folder, quick=quick)))


def _install(program: Path) -> str:
    """Make an environment with the rival; return why that is not possible, or nothing."""
    _BUILD.mkdir(exist_ok=True)
    (_BUILD / ".gitignore").write_text("*\n")
    venv = program.parent.parent
    commands = (
        (sys.executable, "-m", "venv", venv),
        (venv / "bin" / "python", "-m", "pip", "install", "--quiet", f"{NAME}=={VERSION}"),
    )
    for command in commands:
        run = once(command, limit=300)
        if run.code:
            return f"{NAME} could not be installed"
    return ""


def _rows(program: Path, folder: Path, *, quick: bool) -> Iterator[tuple[str, ...]]:
    runs = 1 if quick else 3
    for size in _QUICK_SIZES if quick else _SIZES:
        files = manifests(size, folder)
        policies, pods, namespaces = (files / f"{kind}.yaml" for kind in ("networkpolicy", "pod", "namespace"))
        command = (program, "--connectivity", policies, "-p", pods, "-n", namespaces)
        first = several(command, runs=1, limit=LIMIT, says="final fw rules", warm=False)
        # A run of half a minute does not depend on what is in a cache.
        theirs = (
            several(command, runs=runs, limit=LIMIT, warm=False)
            if not first.failure and first.wall < LIMIT / 3
            else first
        )
        ours = several([PODFENCE, "list", "-f", files], runs=runs, limit=LIMIT)
        yield (str(size), *_cells(theirs), *_cells(ours), _factor(theirs, ours))


def _cells(measured: Measured) -> tuple[str, str]:
    return (measured.failure or duration(measured.wall), f"{measured.memory:,.0f} MiB")


def _factor(theirs: Measured, ours: Measured) -> str:
    if ours.failure:
        return ""
    return f"{'more than ' if theirs.failure else ''}{theirs.wall / ours.wall:,.0f}"
