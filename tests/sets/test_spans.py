# SPDX-License-Identifier: Apache-2.0
"""Spans against plain sets of integers: every operation, and the one canonical form."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.sets import spans

if TYPE_CHECKING:
    from podfence.sets.spans import Spans

UNIVERSE = 12
POINTS = st.frozensets(st.integers(0, UNIVERSE - 1))
PAIRS = st.lists(st.tuples(st.integers(0, UNIVERSE), st.integers(0, UNIVERSE)))


def spans_of(points: frozenset[int]) -> Spans:
    return spans.normalize((point, point) for point in points)


def points_of(value: Spans) -> frozenset[int]:
    return frozenset(point for first, last in value for point in range(first, last + 1))


def is_canonical(value: Spans) -> bool:
    in_order = all(first <= last for first, last in value)
    return in_order and all(one[1] + 1 < other[0] for one, other in itertools.pairwise(value))


@given(pairs=PAIRS)
def test_normalize_keeps_the_integers_and_gives_the_canonical_form(pairs: list[tuple[int, int]]) -> None:
    value = spans.normalize(pairs)

    assert points_of(value) == {point for first, last in pairs for point in range(first, last + 1)}
    assert is_canonical(value)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ()),
        ([(5, 4)], ()),
        ([(3, 3), (4, 4)], ((3, 4),)),
        ([(3, 3), (5, 5)], ((3, 3), (5, 5))),
        ([(6, 9), (1, 4), (2, 3)], ((1, 4), (6, 9))),
        ([(1, 4), (4, 8), (9, 9)], ((1, 9),)),
        ([(1, 9), (2, 3)], ((1, 9),)),
    ],
)
def test_normal_forms(pairs: list[tuple[int, int]], expected: Spans) -> None:
    assert spans.normalize(pairs) == expected


@given(one=POINTS, other=POINTS)
def test_operations_are_those_of_sets_of_integers(one: frozenset[int], other: frozenset[int]) -> None:
    left, right = spans_of(one), spans_of(other)
    results = {
        "union": (spans.union(left, right), one | other),
        "intersection": (spans.intersection(left, right), one & other),
        "difference": (spans.difference(left, right), one - other),
    }
    for name, (value, expected) in results.items():
        assert points_of(value) == expected, name
        assert is_canonical(value), name


@given(points=POINTS)
def test_contains_holds_exactly_for_the_members(points: frozenset[int]) -> None:
    value = spans_of(points)

    assert {point for point in range(-1, UNIVERSE + 1) if spans.contains(value, point)} == points


@given(one=POINTS, other=POINTS)
def test_equal_sets_are_equal_values_however_they_came_about(one: frozenset[int], other: frozenset[int]) -> None:
    left, right = spans_of(one), spans_of(other)

    assert spans.union(left, right) == spans.union(right, left) == spans_of(one | other)
    assert spans.difference(left, spans.difference(left, right)) == spans.intersection(left, right)
    assert (left == right) == (one == other)
