# SPDX-License-Identifier: Apache-2.0
"""Pauses between tries of what failed: longer each time, and at random, so that many who failed do not try together."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# More than it takes to reach any longest pause.
_MOST_DOUBLINGS: Final = 30


class Backoff:
    """How long to pause after each failure in a row; for one owner."""

    def __init__(self, first: float, longest: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        """Have seen no failure.

        The first pause is at most `first` seconds, each further one at most twice as long as the one before, and none
        is over `longest`. `uniform` draws at random between two bounds: each pause is at least half of the most.
        """
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._failures = 0

    @property
    def has_failed(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def failed(self, *, hopeless: bool = False) -> float:
        """Note a failure, and return how many seconds to pause: the most at once if it is `hopeless`."""
        most = self._longest if hopeless else min(self._first * 2**self._failures, self._longest)
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        return self._uniform(most / 2, most)

    def worked(self) -> None:
        """Note that a try worked."""
        self._failures = 0
