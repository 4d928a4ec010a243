# SPDX-License-Identifier: Apache-2.0
"""Layers over each other are, at each address and port, the lowest label that is there."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from podfence.sets.layers import Cover, Layer, over, sweep, together
from podfence.sets.spans import Spans, normalize


def spans(random: Random, most: int, end: int) -> Spans:
    starts = [random.randrange(end) for _ in range(random.randrange(1, most))]
    return normalize([(start, start + random.randrange(end // 3)) for start in starts])


def some(random: Random) -> list[Layer[int]]:
    return [
        Layer(spans(random, 4, 20), spans(random, 4, 15), random.choice((place, place // 2)))
        for place in range(random.randrange(8))
    ]


def points(cover: Cover[int]) -> dict[int, int]:
    return {point: label for first, last, label in cover for point in range(first, last + 1)}


def plainly(layers: list[Layer[int]], address: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for layer in layers:
        if any(first <= address <= last for first, last in layer.addresses):
            for first, last in layer.ports:
                for point in range(first, last + 1):
                    found[point] = min(found.get(point, layer.label), layer.label)
    return found


def assert_canonical(cover: Cover[int]) -> None:
    for one, other in pairwise(cover):
        assert one[1] < other[0]
        assert one[1] + 1 < other[0] or one[2] != other[2]


@pytest.mark.parametrize("seed", range(300))
def test_at_each_address_and_port_the_lowest_label_counts(seed: int) -> None:
    layers = some(Random(seed))
    swept = sweep(layers)
    at: dict[int, Cover[int]] = {}
    for first, last, number in swept.ranges:
        assert_canonical(swept.covers[number])
        for address in range(first, last + 1):
            assert address not in at
            at[address] = swept.covers[number]

    for address in range(30):
        assert points(at.get(address, ())) == plainly(layers, address)


@pytest.mark.parametrize("seed", range(50))
def test_ranges_are_in_order_and_neighbours_differ(seed: int) -> None:
    for one, other in pairwise(sweep(some(Random(seed))).ranges):
        assert one[1] < other[0]
        assert one[1] + 1 < other[0] or one[2] != other[2]


@pytest.mark.parametrize("seed", range(100))
def test_covers_are_laid_over_each_other_in_any_order(seed: int) -> None:
    random = Random(seed)
    covers = [layer.cover for layer in some(random)]
    whole = together(covers)
    assert_canonical(whole)
    random.shuffle(covers)
    one_by_one: Cover[int] = ()
    for cover in covers:
        one_by_one = over(cover, one_by_one)
    assert one_by_one == whole


def test_equal_covers_are_one_however_often_they_come() -> None:
    everywhere = [Layer(((0, 1000),), ((port, port),), port) for port in range(0, 40, 2)]
    there = Layer(tuple((address, address) for address in range(10, 1000, 10)), ((41, 41),), 50)
    swept = sweep([*everywhere, there])
    assert len(swept.ranges) == 2 * 99 + 1
    assert len({number for _, _, number in swept.ranges}) == 2


def test_no_layers_are_nothing() -> None:
    assert sweep([]).ranges == []
    assert together([]) == ()
