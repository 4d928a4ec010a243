# SPDX-License-Identifier: Apache-2.0
"""Sets of small numbers as Python integers: bit n is set when n is a member."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FEW = 6


def union(sets: Iterable[int]) -> int:
    """Return the members of any of several sets."""
    return reduce(or_, sets, 0)


def members(bits: int) -> Iterator[int]:
    """Yield the members in ascending order."""
    if bits.bit_count() <= _FEW:
        while bits:
            low = bits & -bits
            yield low.bit_length() - 1
            bits ^= low
        return
    # One pass over the digits in C beats taking bits off an integer of thousands of words.
    digits = bin(bits)[:1:-1]
    index = digits.find("1")
    while index >= 0:
        yield index
        index = digits.find("1", index + 1)
