# SPDX-License-Identifier: Apache-2.0
"""Layers over a line: where many overlap, which of them has each port first.

A layer is a set of addresses, and at each of them it has ports, under a label; lower labels come first. What
several layers amount to at one address is a cover. Along the line layers begin and end, and the cover at one
address is nearly that at the last: the layers are the leaves of a tree whose nodes are the covers of what is
below, so that a layer which begins or ends costs the way to the root and not a look at all the others. Equal
covers are one object, and two that were laid over each other before are not again.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from podfence.sets.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed import SupportsDunderLT


_L = TypeVar("_L", bound="SupportsDunderLT[Any]")

Cover = tuple[tuple[int, int, _L], ...]
"""(first, last, label) of disjoint spans of ports, in order; neighbours with equal labels are one span."""


class Layer(NamedTuple, Generic[_L]):
    """A layer: the addresses where it is, the ports it has there, and its label."""

    addresses: Spans
    ports: Spans
    label: _L

    @property
    def cover(self) -> Cover[_L]:
        """Return what it amounts to alone."""
        return tuple((first, last, self.label) for first, last in self.ports)


def over(one: Cover[_L], other: Cover[_L]) -> Cover[_L]:
    """Return two covers laid over each other: of each port, the lower label."""
    if not one or not other:
        return one or other
    result: list[tuple[int, int, _L]] = []
    rest_of_one, rest_of_other = iter(one), iter(other)
    a = next(rest_of_one, None)
    b = next(rest_of_other, None)
    while a is not None and b is not None:
        if a[0] > b[0]:
            a, b, rest_of_one, rest_of_other = b, a, rest_of_other, rest_of_one
        if a[1] < b[0]:
            _append(result, a)
            a = next(rest_of_one, None)
            continue
        if a[0] < b[0]:
            _append(result, (a[0], b[0] - 1, a[2]))
        last = min(a[1], b[1])
        _append(result, (b[0], last, min(a[2], b[2])))
        a = (last + 1, a[1], a[2]) if a[1] > last else next(rest_of_one, None)
        b = (last + 1, b[1], b[2]) if b[1] > last else next(rest_of_other, None)
    for item, rest in ((a, rest_of_one), (b, rest_of_other)):
        if item is not None:
            _append(result, item)
            result += rest
    return tuple(result)


def _append(result: list[tuple[int, int, _L]], item: tuple[int, int, _L]) -> None:
    if result:
        first, last, label = result[-1]
        if last + 1 == item[0] and label == item[2]:
            result[-1] = (first, item[1], label)
            return
    result.append(item)


def together(covers: Sequence[Cover[_L]]) -> Cover[_L]:
    """Return covers laid over each other, two by two, so that none is walked once for each of the others."""
    level = list(covers)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [over(one, other) for one, other in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0] if level else ()


class Swept(NamedTuple, Generic[_L]):
    """What layers amount to along the line.

    `ranges` are (first, last, number) in order, where a layer is; `covers` has by number what they amount to there.
    """

    ranges: list[tuple[int, int, int]]
    covers: list[Cover[_L]]


def sweep(layers: Sequence[Layer[_L]]) -> Swept[_L]:
    """Return what layers amount to along the line; ranges with equal covers are one if nothing is between them.

    The layers should be in order of their labels: those that come and go together are near each other then.
    """
    cuts: dict[int, list[int]] = defaultdict(list)
    for place, layer in enumerate(layers):
        for first, last in layer.addresses:
            cuts[first].append(place)
            cuts[last + 1].append(place)
    tree = Stack([layer.cover for layer in layers])
    ranges: list[tuple[int, int, int]] = []
    for first, after in pairwise(sorted(cuts)):
        root = tree.flip(cuts[first])
        if not root:
            continue
        if ranges and ranges[-1][1] + 1 == first and ranges[-1][2] == root:
            ranges[-1] = (ranges[-1][0], after - 1, root)
        else:
            ranges.append((first, after - 1, root))
    return Swept(ranges, tree.covers)


class Stack(Generic[_L]):
    """Covers that are there or not, and what those that are amount to together.

    `covers` has all that ever came about, by number; number 0 is the one without ports. They are in a tree, in which
    node n has the children 2n and 2n+1, and holds the number of what is below it.
    """

    def __init__(self, leaves: Sequence[Cover[_L]]) -> None:
        """Start with none of them there; those that come and go together should be near each other."""
        self.covers: list[Cover[_L]] = [()]
        self._numbers: dict[Cover[_L], int] = {(): 0}
        self._over: dict[tuple[int, int], int] = {}
        self._leaves = [self._number(cover) for cover in leaves]
        self._width = 1 << max(len(leaves) - 1, 0).bit_length()
        self._nodes = [0] * (2 * self._width)

    def _number(self, cover: Cover[_L]) -> int:
        number = self._numbers.setdefault(cover, len(self.covers))
        if number == len(self.covers):
            self.covers.append(cover)
        return number

    def flip(self, places: Iterable[int]) -> int:
        """Let some be there that were not, and the other way round; return the number of the cover of all."""
        nodes, width = self._nodes, self._width
        outdated: set[int] = set()
        for place in places:
            node = width + place
            nodes[node] = 0 if nodes[node] else self._leaves[place]
            outdated.add(node >> 1)
        if width == 1:
            return nodes[1]
        while outdated:
            above: set[int] = set()
            for node in outdated:
                found = self._joined(nodes[2 * node], nodes[2 * node + 1])
                if found != nodes[node]:
                    nodes[node] = found
                    if node > 1:
                        above.add(node >> 1)
            outdated = above
        return nodes[1]

    def _joined(self, one: int, other: int) -> int:
        if not one or not other:
            return one or other
        found = self._over.get((one, other))
        if found is None:
            found = self._over[one, other] = self._number(over(self.covers[one], self.covers[other]))
        return found
