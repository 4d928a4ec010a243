# SPDX-License-Identifier: Apache-2.0
"""Counting who refers to what, so that nobody has to look through everything to see that a thing is unused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_K = TypeVar("_K")


class References(Generic[_K]):
    """How many refer to each of some things; those that nobody refers to are not in it."""

    def __init__(self) -> None:
        """Start with nothing referred to."""
        self._counts: dict[_K, int] = {}

    def __iter__(self) -> Iterator[_K]:
        """Yield what is referred to."""
        return iter(self._counts)

    def __contains__(self, item: object) -> bool:
        """Return whether anybody refers to it."""
        return item in self._counts

    def count(self, item: _K) -> int:
        """Return how many refer to it."""
        return self._counts.get(item, 0)

    def move(self, before: Iterable[_K], after: Iterable[_K]) -> list[_K]:
        """Let one who referred to `before` refer to `after`; return what nobody refers to any more."""
        if before is after:
            return []
        counts = self._counts
        for item in after:
            counts[item] = counts.get(item, 0) + 1
        gone = []
        for item in before:
            counts[item] -= 1
            if not counts[item]:
                del counts[item]
                gone.append(item)
        return gone
