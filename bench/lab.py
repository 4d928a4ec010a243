# SPDX-License-Identifier: Apache-2.0
"""The lab: how long it takes to start one, to fill it, and to try every connection in it."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Final

from bench.measure import module, once
from bench.report import Section, duration, table

if TYPE_CHECKING:
    from pathlib import Path

TITLE: Final = "The lab"
_GOALS: Final = {"verify": 60.0, "change a policy": 0.1}
_LIMIT: Final = 600.0
_TEXT: Final = (
    "Ten namespaces with two Deployments each and a policy on one of them; each pod declares two ports. "
    "Every connection is a real one, from inside the pod, and compared with the engine's answer."
)


def section(folder: Path, *, quick: bool) -> Section:
    """Return the measurements; a sentence instead where there can be no lab."""
    pods, rounds = (20, 1) if quick else (100, 3)
    run = once([*module("bench.cluster", str(folder), str(pods), str(rounds))], limit=_LIMIT)
    if run.code:
        why = run.complaint.strip().splitlines()[-1:] or [f"exit code {run.code}"]
        return Section(TITLE, f"Not measured: {why[0]}.", (), 1)
    times: dict[str, list[float]] = {}
    for line in run.output.splitlines():
        name, number = json.loads(line)
        times.setdefault(name, []).append(number)
    tried = times.pop("tried")[0]
    names = {
        "verify": f"verify all pairs: {tried:,.0f} connections",
        "change a policy": "change a policy, until the kernels of all nodes have it: 95 of 100",
    }
    rows, missed = [], 0
    for name, found in times.items():
        seconds = statistics.quantiles(found, n=20)[-1] if name == "change a policy" else statistics.median(found)
        # A look is not held against anything.
        goal = None if quick else _GOALS.get(name)
        met = goal is None or seconds < goal
        missed += not met
        judged = ("", "") if goal is None else (f"< {duration(goal)}", "yes" if met else "**no**")
        rows.append((names.get(name, name), duration(seconds), *judged))
    return Section(TITLE, _TEXT, table(("work", "time", "goal", "met"), rows), missed)
