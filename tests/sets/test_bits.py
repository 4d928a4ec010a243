# SPDX-License-Identifier: Apache-2.0
"""Members of a bitset, few and many: two ways of finding them, one answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.sets import members


@given(numbers=st.frozensets(st.integers(0, 300), max_size=20))
def test_members_are_the_set_bits_in_ascending_order(numbers: frozenset[int]) -> None:
    assert list(members(sum(1 << number for number in numbers))) == sorted(numbers)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7, 8, 64, 65, 10_000])
def test_members_at_the_sizes_where_the_way_changes(count: int) -> None:
    assert list(members((1 << count) - 1)) == list(range(count))
    assert list(members(((1 << count) - 1) << 1000)) == list(range(1000, 1000 + count))
