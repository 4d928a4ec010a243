# SPDX-License-Identifier: Apache-2.0
"""Rows of text in aligned columns, whole when piped and wrapped to the width of a terminal."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from podfence.report.style import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podfence.report.style import Page, Style

LONGEST_PADDING = 48
"""One very long cell must not push the columns of all other lines out of sight."""

NARROWEST = 8
"""No column is wrapped to fewer characters, however narrow the terminal."""


_INDENT = "    "


def lines(
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str] = (),
    gaps: Sequence[str] = (),
    width: int | None = None,
    style: Style = PLAIN,
    paint: Callable[[int, str], str] | None = None,
) -> Iterator[str]:
    """Yield `rows` as aligned lines without line ends.

    `gaps` are the texts between columns (two spaces where not given). Without `width` every row is
    one line; with it, cells are wrapped so that no line is longer. `paint` colours a cell of a column,
    given its number and its padded text.
    """
    if not rows:
        return
    count = len(rows[0])
    between = [*gaps, *["  "] * count][: count - 1]
    titled = [header, *rows] if header else rows
    natural = [max(len(row[column]) for row in titled) for column in range(count)]
    if width is None:
        sizes = [min(size, LONGEST_PADDING) for size in natural]
    else:
        words = [max(len(word) for row in titled for word in row[column].split(" ")) for column in range(count)]
        sizes = _fit(natural, words, width - sum(map(len, between)))
    if header:
        yield style.strong(_join(header, sizes, between, None))
    for row in rows:
        if width is None:
            yield _join(row, sizes, between, paint)
            continue
        cells = [_wrapped(cell, size) for cell, size in zip(row, sizes, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            yield _join(parts, sizes, between, paint)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], page: Page) -> Iterator[str]:
    """Yield rows below a header as kubectl does: three spaces between columns."""
    return lines(rows, header=header, gaps=["   "] * len(header), width=page.width, style=page.style)


def painter(style: Style, *, arrow: int, column: int, decision: Callable[[str], str]) -> Callable[[int, str], str]:
    """Return what paints the column of arrows, and another `column` in the colour of the decision that a cell means."""

    def paint(number: int, text: str) -> str:
        if number == column:
            return style.decision(decision(text.strip()), text)
        return style.faint(text) if number == arrow else text

    return paint


def paragraph(text: str, width: int | None) -> str:
    """Return `text` wrapped to `width` with a hanging indent, or as it is without one."""
    if width is None or len(text) <= width:
        return text
    size = max(width, NARROWEST)
    first, *_ = _wrapped(text, size)
    rest = text[len(first) :].lstrip()
    return "\n".join([first, *(f"{_INDENT}{line}" for line in _wrapped(rest, max(size - len(_INDENT), NARROWEST)))])


def _wrapped(cell: str, size: int) -> list[str]:
    """Return a text in lines, broken between words, and in words that are longer after a slash, comma or hyphen."""
    if len(cell) <= size:
        return [cell]
    found = [""]
    for word in cell.split(" "):
        piece, rest = _broken(word, size)
        if found[-1] and len(found[-1]) + 1 + len(piece) <= size:
            found[-1] += f" {piece}"
        elif found[-1]:
            found.append(piece)
        else:
            found[-1] = piece
        while rest:
            piece, rest = _broken(rest, size)
            found.append(piece)
    return found


def _broken(word: str, size: int) -> tuple[str, str]:
    if len(word) <= size:
        return word, ""
    cut = next((end for mark in "/,-" if (end := word.rfind(mark, 0, size) + 1) > size // 2), size)
    return word[:cut], word[cut:]


def _join(
    cells: Sequence[str], sizes: Sequence[int], between: Sequence[str], paint: Callable[[int, str], str] | None
) -> str:
    last = max((index for index, cell in enumerate(cells) if cell), default=-1)
    pieces: list[str] = []
    for index, cell in enumerate(cells[: last + 1]):
        padded = cell if index == last else cell.ljust(sizes[index])
        pieces.append(paint(index, padded) if paint and cell else padded)
        if index != last:
            pieces.append(between[index])
    return "".join(pieces)


def _fit(natural: Sequence[int], words: Sequence[int], room: int) -> list[int]:
    """Return column sizes that sum to at most `room`: narrow columns keep their size, wide ones share the rest.

    Where there is room for the longest `words` of the wide ones, no word is broken.
    """
    sizes = list(natural)
    wide = set(range(len(natural)))
    while sum(sizes) > room and wide:
        left = room - sum(size for index, size in enumerate(sizes) if index not in wide)
        share = max(left // len(wide), NARROWEST)
        narrow = {index for index in wide if natural[index] <= share}
        if not narrow:
            spare = left - sum(words[index] for index in wide)
            if spare < 0:
                sizes = [share if index in wide else size for index, size in enumerate(sizes)]
                break
            # Those that need least first: what they do not take is left for the others.
            for rest, index in enumerate(sorted(wide, key=lambda index: natural[index] - words[index])):
                more = min(natural[index] - words[index], spare // (len(wide) - rest))
                sizes[index] = words[index] + more
                spare -= more
            break
        wide -= narrow
    return sizes
