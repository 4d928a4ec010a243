# SPDX-License-Identifier: Apache-2.0
"""Rows in aligned columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.report import columns
from tests.twin.effort import tried

ROWS = (("a", "bb", "c"), ("aaa", "", "ccc"), ("a", "b", ""))


def test_columns_are_aligned_two_spaces_apart_without_trailing_spaces() -> None:
    assert list(columns.lines(ROWS)) == ["a    bb  c", "aaa      ccc", "a    b"]


def test_the_gaps_between_columns_can_be_chosen() -> None:
    assert list(columns.lines([("a", "->", "b")], gaps=(" ", " "))) == ["a -> b"]


def test_no_rows_are_no_lines_not_even_a_header() -> None:
    assert list(columns.lines([], header=("A",), width=40)) == []


def test_one_very_long_cell_does_not_push_the_other_lines_apart() -> None:
    rows = [("x" * 500, "1"), ("y", "2")]

    first, second = columns.lines(rows)

    assert first == "x" * 500 + "  1"
    assert second == "y".ljust(columns.LONGEST_PADDING) + "  2"


def test_a_cell_is_wrapped_between_members_and_never_inside_a_name_that_fits() -> None:
    rows = [("shop/deploy/web, shop/deploy/api, lab/*", "TCP 80")]

    assert list(columns.lines(rows, width=28)) == [
        "shop/deploy/web,      TCP 80",
        "shop/deploy/api,",
        "lab/*",
    ]


@pytest.mark.parametrize("width", [30, 40, 79, 200])
@tried(400)
@given(
    rows=st.lists(
        st.tuples(*[st.text("abc-/, ", max_size=120).map(lambda text: " ".join(text.split()))] * 3), min_size=1
    )
)
def test_no_line_is_wider_than_the_terminal_and_no_character_is_lost(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    lines = list(columns.lines(rows, width=width))

    assert max(map(len, lines)) <= width
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(map("".join, rows)).replace(" ", ""))


def test_a_paragraph_hangs_from_its_first_line() -> None:
    assert (
        columns.paragraph("G1 = shop/deploy/web, shop/deploy/api", 24) == "G1 = shop/deploy/web,\n    shop/deploy/api"
    )
    assert columns.paragraph("G1 = shop/deploy/web, shop/deploy/api", None) == "G1 = shop/deploy/web, shop/deploy/api"


@pytest.mark.parametrize("width", [20, 40, 79])
@given(text=st.text("abc-/, ", max_size=300).map(lambda text: " ".join(text.split())))
def test_no_line_of_a_paragraph_is_wider_than_the_terminal(text: str, width: int) -> None:
    lines = columns.paragraph(text, width).split("\n")

    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_name_that_is_too_long_is_broken_after_a_slash_or_a_hyphen() -> None:
    rows = [("kubeflow/deploy/kserve-models-web-application", "TCP 80")]

    assert list(columns.lines(rows, width=30)) == [
        "kubeflow/deploy/        TCP 80",
        "kserve-models-web-",
        "application",
    ]


def test_where_there_is_room_for_the_longest_words_no_name_is_broken() -> None:
    rows = [("shop/deploy/a-name-that-is-rather-long", "->", "all pods except shop/sts/db, dev/deploy/web")]

    assert list(columns.lines(rows, gaps=(" ", " "), width=62)) == [
        "shop/deploy/a-name-that-is-rather-long -> all pods except",
        "                                          shop/sts/db,",
        "                                          dev/deploy/web",
    ]
