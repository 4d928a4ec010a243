# SPDX-License-Identifier: Apache-2.0
"""The lab: how long it takes to start one, to fill it, to type into it, and to try every connection in it."""

from __future__ import annotations

import json
import shutil
import statistics
from typing import TYPE_CHECKING, Final

from bench.measure import module, once
from bench.report import Section, duration, table

if TYPE_CHECKING:
    from pathlib import Path

TITLE: Final = "The lab"
_CHANGE: Final = "change a policy"
_GOALS: Final = {"verify": 60.0, _CHANGE: 0.1, "lab up": 3.0, "kubectl run": 0.5, "kubectl apply": 60.0}
"""Seconds by how the name of a row begins."""
_LIMIT: Final = 600.0
_TEXT: Final = (
    "Ten namespaces with two Deployments each and a policy on one of them; each pod declares two ports. "
    "Every connection is a real one, from inside the pod, and compared with the engine's answer. "
    "The commands of kubectl are typed into other labs, one after the other, and counted with the start of their "
    "programs."
)


def section(folder: Path, *, quick: bool) -> Section:
    """Return the measurements; a sentence instead where there can be no lab."""
    pods, rounds, crowd = (20, 1, 20) if quick else (100, 3, 1000)
    kubectl = shutil.which("kubectl")
    commands = [module("bench.cluster", str(folder), str(pods), str(rounds))]
    commands += [module("bench.typed", kubectl, str(rounds), str(crowd))] if kubectl else []
    times: dict[str, list[float]] = {}
    for command in commands:
        run = once([*command], limit=_LIMIT)
        if run.code:
            why = run.complaint.strip().splitlines()[-1:] or [f"exit code {run.code}"]
            return Section(TITLE, f"Not measured: {why[0]}.", (), 1)
        for line in run.output.splitlines():
            name, number = json.loads(line)
            times.setdefault(name, []).append(number)
    tried = times.pop("tried")[0]
    names = {
        "verify": f"verify all pairs: {tried:,.0f} connections",
        _CHANGE: f"{_CHANGE}, until the kernels of all nodes have it: 95 of 100",
    }
    rows, missed = [], 0
    for name, found in times.items():
        seconds = statistics.quantiles(found, n=20)[-1] if name == _CHANGE else statistics.median(found)
        # A look is not held against anything.
        goal = None if quick else next((most for begin, most in _GOALS.items() if name.startswith(begin)), None)
        met = goal is None or seconds < goal
        missed += not met
        judged = ("", "") if goal is None else (f"< {duration(goal)}", "yes" if met else "**no**")
        rows.append((names.get(name, name), duration(seconds), *judged))
    text = _TEXT if kubectl else f"{_TEXT} Nothing was typed: there is no kubectl on PATH."
    return Section(TITLE, text, table(("work", "time", "goal", "met"), rows), missed)
