# SPDX-License-Identifier: Apache-2.0
"""Samples of a time, and what they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.report import duration, table

if TYPE_CHECKING:
    from collections.abc import Iterable

PERCENTS: Final = (50, 99)
SOON: Final = (0.050, 0.250)
"""The most seconds that half, and 99 of a hundred, changes may take."""


class Times(NamedTuple):
    """Seconds that something took, time after time; `goal` is for the percentiles of `PERCENTS`, if there is one."""

    name: str
    seconds: Sequence[float]
    goal: tuple[float, float] | None = None

    @property
    def missed(self) -> bool:
        """Return whether there is a goal that is not met."""
        if self.goal is None:
            return False
        return not self.seconds or any(
            percentile(self.seconds, percent) >= limit for percent, limit in zip(PERCENTS, self.goal, strict=True)
        )

    def cells(self) -> tuple[str, ...]:
        """Return a row of a table."""
        if not self.seconds:
            return (self.name, "not seen", "", "", "0", _goal(self.goal), "**no**" if self.missed else "")
        found = (*(percentile(self.seconds, percent) for percent in PERCENTS), max(self.seconds))
        verdict = "" if self.goal is None else "**no**" if self.missed else "yes"
        return (self.name, *map(duration, found), str(len(self.seconds)), _goal(self.goal), verdict)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many of a hundred do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def times_table(what: str, rows: Iterable[Times]) -> tuple[str, ...]:
    """Return the lines of a table of times."""
    return table((what, "p50", "p99", "slowest", "times", "goal", "met"), [row.cells() for row in rows])


def _goal(goal: tuple[float, float] | None) -> str:
    if goal is None:
        return ""
    return ", ".join(f"p{percent} < {duration(limit)}" for percent, limit in zip(PERCENTS, goal, strict=True))
