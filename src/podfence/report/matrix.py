# SPDX-License-Identifier: Apache-2.0
"""The grid of all pairs: numbered rows with names, columns by the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.answers import Matrix
    from podfence.report.style import Page

_DECISIONS = {".": "allowed", "X": "denied", "~": "depends", "?": "depends"}
_MEANINGS = ((".", "allowed"), ("X", "denied"), ("~", "allowed on some ports"), ("?", "depends"))


def grid(answer: Matrix, page: Page = PAGE) -> Iterator[str]:
    """Yield the grid and its legend; the numbers of columns are written downwards, so a column is one character."""
    if not answer.names:
        return
    style = page.style
    digits = len(str(len(answer.names)))
    numbers = [str(number).rjust(digits) for number in range(1, len(answer.names) + 1)]
    names = max(map(len, answer.names))
    margin = " " * (digits + 1 + names)
    for digit in range(digits):
        yield (margin + "  " + " ".join(number[digit] for number in numbers)).rstrip()
    for number, name, row in zip(numbers, answer.names, answer.rows, strict=True):
        cells = " ".join(style.decision(_DECISIONS[cell], cell) for cell in row)
        yield f"{number} {name.ljust(names)}  {cells}"
    yield ""
    yield "row to column:  " + "   ".join(
        f"{style.decision(_DECISIONS[cell], cell)} {meaning}" for cell, meaning in _MEANINGS
    )
