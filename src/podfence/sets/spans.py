# SPDX-License-Identifier: Apache-2.0
"""The algebra of sorted, disjoint, non-adjacent closed intervals of integers.

A value is a tuple of ``(first, last)`` pairs in ascending order with at least one integer missing
between two of them, so that equal sets are equal tuples. All functions take and return that form.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

Spans = tuple[tuple[int, int], ...]

_first = itemgetter(0)


def normalize(pairs: Iterable[tuple[int, int]]) -> Spans:
    """Return the canonical form of any closed intervals; those with first > last are empty."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(pair for pair in pairs if pair[0] <= pair[1]):
        if result and first <= result[-1][1] + 1:
            if last > result[-1][1]:
                result[-1] = (result[-1][0], last)
        else:
            result.append((first, last))
    return tuple(result)


def union(one: Spans, other: Spans) -> Spans:
    """Return the integers in either."""
    if not one or one == other:
        return other
    return normalize(one + other) if other else one


def intersection(one: Spans, other: Spans) -> Spans:
    """Return the integers in both."""
    result: list[tuple[int, int]] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first = max(one[i][0], other[j][0])
        last = min(one[i][1], other[j][1])
        if first <= last:
            result.append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(result)


def difference(one: Spans, other: Spans) -> Spans:
    """Return the integers of `one` that are not in `other`."""
    result: list[tuple[int, int]] = []
    j = 0
    for first, last in one:
        start = first
        while j < len(other) and other[j][1] < start:
            j += 1
        k = j
        while k < len(other) and other[k][0] <= last:
            if other[k][0] > start:
                result.append((start, other[k][0] - 1))
            start = max(start, other[k][1] + 1)
            k += 1
        if start <= last:
            result.append((start, last))
    return tuple(result)


def contains(spans: Spans, point: int) -> bool:
    """Return whether the integer is in the set."""
    index = bisect_right(spans, point, key=_first) - 1
    return index >= 0 and point <= spans[index][1]


def cut(spans: Spans, at: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the intervals of `spans`, taken apart so that each number of `at`, which are in order, begins one."""
    for first, last in spans:
        start = first
        for number in at[bisect_right(at, first) :]:
            if number > last:
                break
            yield start, number - 1
            start = number
        yield start, last


class SpanSet:
    """An immutable set of integers on a line; each kind of set says what its integers stand for."""

    __slots__ = ("_hash", "spans")

    def __init__(self, canonical: Spans) -> None:
        self.spans = canonical
        self._hash = hash(canonical)

    def __or__(self, other: Self) -> Self:
        return self if self.spans == other.spans else type(self)(union(self.spans, other.spans))

    def __and__(self, other: Self) -> Self:
        return self if self.spans == other.spans else type(self)(intersection(self.spans, other.spans))

    def __sub__(self, other: Self) -> Self:
        return type(self)(difference(self.spans, other.spans))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.spans == other.spans

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __le__(self, other: Self) -> bool:
        """Return whether every member is in `other`."""
        return not difference(self.spans, other.spans)

    def __contains__(self, point: int) -> bool:
        return contains(self.spans, point)
