# SPDX-License-Identifier: Apache-2.0
"""What a page of the tutorial tells its reader to type, and what it shows for it.

A session is made of the fenced ``console`` blocks of a page, in order:

- ``$ command`` is typed into a shell. It goes on over a backslash at the end of a line, and to the end of a here-document.
- ``/ # command`` is typed into the shell that the ``$`` command above it has opened in a pod.
- ``^C`` is a key that is pressed once what stands above it has appeared.
- ``/ # exit`` leads back; how kubectl greets and takes leave is not compared.
- ``...`` stands for any number of lines.
- Everything else is what is printed, standard output and standard error as a terminal shows them.

``$ podfence`` lines ask the engine; they are the business of ``tests/test_docs.py``. A comment directly before a block
takes it out, ``<!-- not run: reason -->``, or names what its cluster must have, such as ``<!-- needs: internet -->``.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT: Final = "$ "
POD_PROMPT: Final = "/ # "
INTERRUPT: Final = "^C"
LEAVE: Final = "exit"
LAB: Final = "a lab"
"""What a block needs that only a lab of podfence has: its ``podfence`` lines belong to the session, too."""

_BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<mark>not run|needs): (?P<what>[^\n]+) -->\n\s*)?^```console\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_HERE_DOCUMENT: Final = re.compile(r"<<\s*(?P<word>\w+)")


class Typed(NamedTuple):
    """One command in a pod's shell; `output` are the lines shown for it."""

    line: int
    command: str
    output: tuple[str, ...]


class Step(NamedTuple):
    """One command of the reader's shell, and those of the shell that it opens."""

    line: int
    command: str
    output: tuple[str, ...]
    inside: tuple[Typed, ...] = ()


class Block(NamedTuple):
    """The steps of one console block; `needs` is what not every cluster has, "" if any will do."""

    line: int
    needs: str
    steps: tuple[Step, ...]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that have something to run."""
    found = []
    for match in _BLOCK.finditer(text):
        if match["mark"] == "not run":
            continue
        line = text.count("\n", 0, match.start("text")) + 1
        needs = match["what"] or ""
        steps = tuple(step for step in _steps(match["text"].splitlines(), line) if needs == LAB or not _of_engine(step))
        if steps:
            found.append(Block(line, needs, steps))
    return found


def read(page: Path) -> list[Block]:
    """Return the blocks of a file."""
    return blocks(page.read_text())


def _of_engine(step: Step) -> bool:
    return step.command.startswith("podfence ")


def _steps(lines: list[str], first: int) -> list[Step]:
    starts = [index for index, line in enumerate(lines) if line.startswith(PROMPT)]
    return [_step(lines[start:end], first + start) for start, end in _spans(starts, len(lines))]


def _step(lines: list[str], first: int) -> Step:
    length = _command_length(lines)
    command = "\n".join(lines[:length]).removeprefix(PROMPT)
    starts = [index for index in range(length, len(lines)) if lines[index].startswith(POD_PROMPT)]
    inside = tuple(
        Typed(first + start, lines[start].removeprefix(POD_PROMPT), _shown(lines[start + 1 : end]))
        for start, end in _spans(starts, len(lines))
    )
    return Step(first, command, _shown(lines[length : starts[0] if starts else len(lines)]), inside)


def _spans(starts: list[int], end: int) -> Iterator[tuple[int, int]]:
    """Return from where to where each part goes, when one ends where the next starts."""
    return pairwise([*starts, end])


def _command_length(lines: list[str]) -> int:
    """Return how many lines the command at the beginning has."""
    document = _HERE_DOCUMENT.search(lines[0])
    if document:
        return lines.index(document["word"]) + 1
    return next(index for index, line in enumerate(lines, 1) if not line.endswith("\\"))


def _shown(lines: list[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if line.strip())
