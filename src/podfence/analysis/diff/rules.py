# SPDX-License-Identifier: Apache-2.0
"""The rules of one policy on both sides: which were added, removed and changed."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import Rule


_MOST: Final = 1_000_000


def aligned(old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[tuple[int | None, int | None]]:
    """Yield the numbers of rules that are each other's counterpart, None where there is none, in order.

    Equal rules are counterparts; of the others, those that stand at the same place between equal ones.
    """
    numbers: dict[Rule, int] = {}
    one, other = ([numbers.setdefault(rule, len(numbers)) for rule in rules] for rules in (old, new))
    first = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if first is None:
        first = min(len(one), len(other))
    last, end = len(one), len(other)
    while last > first < end and one[last - 1] == other[end - 1]:
        last, end = last - 1, end - 1
    yield from ((place, place) for place in range(first))
    yield from _aligned(one[first:last], other[first:end], first)
    yield from zip(range(last, len(one)), range(end, len(other)), strict=True)


def differing(old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[tuple[int, int | None, int | None]]:
    """Yield the counterparts that are not equal, with their place in the alignment."""
    for place, (one, other) in enumerate(aligned(old, new)):
        if one is None or other is None or old[one] != new[other]:
            yield place, one, other


def _aligned(one: list[int], other: list[int], offset: int) -> Iterator[tuple[int | None, int | None]]:
    if len(one) * len(other) > _MOST:
        # So many are not told apart; each is the counterpart of the one at its place.
        blocks = [(0, len(one), 0, len(other))]
    else:
        blocks = [block[1:] for block in SequenceMatcher(None, one, other, autojunk=False).get_opcodes()]
    for first, last, start, end in blocks:
        yield from zip_longest(range(first + offset, last + offset), range(start + offset, end + offset))
