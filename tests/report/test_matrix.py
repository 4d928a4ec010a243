# SPDX-License-Identifier: Apache-2.0
"""The grid of all pairs."""

from __future__ import annotations

import pytest

from podfence.analysis.answers import Matrix
from podfence.report import matrix
from podfence.report.style import Page, Style
from tests.report import samples


def test_the_grid_has_numbered_rows_with_names_and_a_legend() -> None:
    assert list(matrix.grid(samples.GRID)) == [
        "                 1 2 3",
        "1 lab/a          . X ~",
        "2 lab/long-name  ? . .",
        "3 lab/c          X X .",
        "",
        "row to column:  . allowed   X denied   ~ allowed on some ports   ? depends",
    ]


@pytest.mark.parametrize(("count", "digits"), [(9, 1), (10, 2), (123, 3)])
def test_column_numbers_are_written_downwards(count: int, digits: int) -> None:
    answer = Matrix(names=tuple(f"a/{index}" for index in range(count)), rows=("." * count,) * count)
    lines = list(matrix.grid(answer))
    start = lines[digits].index(".")
    last = start + 2 * (count - 1)

    assert "".join(line[last] for line in lines[:digits]) == str(count)
    assert len(lines) == digits + count + 2


def test_an_empty_grid_is_no_lines() -> None:
    assert list(matrix.grid(Matrix(names=(), rows=()))) == []


def test_denied_is_red_and_allowed_green() -> None:
    text = "\n".join(matrix.grid(samples.GRID, Page(style=Style(colour=True))))

    assert "\x1b[31mX\x1b[0m" in text
    assert "\x1b[32m.\x1b[0m" in text
