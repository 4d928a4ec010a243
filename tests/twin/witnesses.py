# SPDX-License-Identifier: Apache-2.0
"""Verdicts that depend where no two completions were found that differ: how many, because of what, and of which seeds."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podfence.policy.verdict import Verdict

FEW = 6


class Missed:
    """Collects verdicts without a witness by the clause that they depend on."""

    def __init__(self) -> None:
        self._seeds: dict[str, list[int]] = defaultdict(list)

    def add(self, seed: int, verdict: Verdict) -> None:
        kinds = {item.text if item.what in ("part", "option") else item.what.value for item in verdict.depends_on}
        self._seeds[", ".join(sorted(kinds))].append(seed)

    def __len__(self) -> int:
        return sum(map(len, self._seeds.values()))

    def tell(self) -> str:
        """Print one line a clause, the most frequent first, which `pytest -rP` shows; return the same."""
        found = sorted(self._seeds.items(), key=lambda item: (-len(item[1]), item[0]))
        lines = [f"{len(seeds)} without a witness: {clause}; seeds {seeds[:FEW]}" for clause, seeds in found]
        print(*lines, sep="\n")  # noqa: T201  it is what a reader of the results looks for
        return "\n".join(lines)
