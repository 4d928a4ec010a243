# SPDX-License-Identifier: Apache-2.0
"""The API server of a lab: how quickly it answers, and how large it is with many objects."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Final

from bench.measure import module, once
from bench.report import Section, duration, table

if TYPE_CHECKING:
    from pathlib import Path

TITLE: Final = "The API server of a lab"
_LIMIT: Final = 300.0
_LIST: Final = 0.05
_MEMORY: Final = 150.0
_LEFT: Final = 1.2
_TEXT: Final = (
    "One client on the same machine opens a connection for each request, and waits for the first byte of the answer. "
    "The memory is that of the server with its client, 5,000 pods and 50 watches. "
    "The pods are then created and deleted twice. The last row compares the memory after the second time with the "
    "memory after the first: Python keeps memory of deleted objects for new ones."
)


def section(_folder: Path, *, quick: bool) -> Section:
    """Return the measurements; a sentence instead where the server cannot run."""
    rounds, watches, gone = (3, 100, 1000) if quick else (20, 500, 10000)
    run = once([*module("bench.serving", str(rounds), str(watches), str(gone))], limit=_LIMIT)
    if run.code:
        why = run.complaint.strip().splitlines()[-1:] or [f"exit code {run.code}"]
        return Section(TITLE, f"Not measured: {why[0]}.", (), 1)
    found: dict[str, list[float]] = {}
    for line in run.output.splitlines():
        name, number = json.loads(line)
        found.setdefault(name, []).append(number)
    size, left = found.pop("memory")[0], found.pop("left")[0]
    rows: list[tuple[str, str, str, str]] = []
    missed = 0
    for name, numbers in found.items():
        seconds = statistics.median(numbers)
        goal = _LIST if name.startswith("list") else 0.0
        met = not goal or seconds < goal
        missed += not met
        rows.append((name, duration(seconds), f"< {duration(goal)}" if goal else "", _word(met=met) if goal else ""))
    fits, returns = size < _MEMORY, left < _LEFT
    rows.append(("memory with 5,000 pods", f"{size:,.0f} MiB", f"< {_MEMORY:,.0f} MiB", _word(met=fits)))
    row = (f"memory after {gone:,} other pods", f"{left - 1:+.0%}", f"< {_LEFT - 1:+.0%}", _word(met=returns))
    rows.append(row)
    return Section(TITLE, _TEXT, table(("work", "result", "goal", "met"), rows), missed + (not fits) + (not returns))


def _word(*, met: bool) -> str:
    return "yes" if met else "**no**"
