# SPDX-License-Identifier: Apache-2.0
"""The parts of podfence by themselves, each measured in a process of its own."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench.commands import manifests
from bench.measure import Measured, module, once
from bench.report import Goal, Row, measurements
from bench.size import HUGE, LARGE, Size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.report import Section

_LIMIT = 180.0
_RUNS = 3
_SMALLER = Size(10_000, 500, 5_000)
_TEXT = (
    "These steps are measured inside a process. Memory is the peak of the whole process up to the end of the step. "
    "The rows for set-up and for all connections together are the time of the engine."
)
_EVENTS = [f"{what} {kind}" for what in ("policy", "pod") for kind in ("changed", "deleted", "added")]


class Step(NamedTuple):
    """One step as `bench.inside` measured it in one run."""

    wall: float
    cpu: float
    memory: float


class Steps:
    """The steps that `bench.inside` measured, in several runs; `failure` says what went wrong in one."""

    def __init__(self, arguments: Iterable[str | Path], *, runs: int, limit: float = _LIMIT) -> None:
        """Run `bench.inside` with `arguments` several times, fewer if a run fails."""
        self.samples: dict[str, list[Step]] = {}
        self.failure = ""
        for _ in range(runs):
            run = once(module("bench.inside", *arguments), limit=limit)
            for line in run.output.splitlines():
                name, *numbers = json.loads(line)
                self.samples.setdefault(name, []).append(Step(*numbers))
            if run.code:
                last = run.complaint.strip().splitlines()[-1:] or [f"exit code {run.code}"]
                self.failure = f"did not end within {limit:.0f} s" if run.late else last[0]
                break

    def measured(self, *names: str) -> Measured:
        """Return the medians of the sum of some steps, with the memory of the last of them."""
        if any(name not in self.samples for name in names):
            return Measured(failure=self.failure or "not measured")
        together = list(zip(*(self.samples[name] for name in names), strict=False))
        walls = [sum(step.wall for step in steps) for steps in together]
        return Measured(
            statistics.median(walls),
            statistics.median(sum(step.cpu for step in steps) for steps in together),
            statistics.median(steps[-1].memory for steps in together),
            max(walls) - min(walls),
            len(walls),
        )


def section(folder: Path, *, quick: bool) -> Section:
    """Return the measurements of reading, of the engine on files and alone, and of single changes."""
    runs = 1 if quick else _RUNS
    steps = Steps(["files", manifests(LARGE, folder)], runs=runs)
    rows = [
        Row(f"reading: YAML to values, {LARGE}", steps.measured("parse")),
        Row("reading: values to checked objects", steps.measured("decode")),
        Row("engine: set-up", steps.measured("set-up")),
        Row("engine: all connections", steps.measured("connectivity")),
        Row("engine: both", steps.measured("set-up", "connectivity"), Goal(2.0)),
        Row("engine: both, without Namespaces, in an open world", steps.measured("part"), Goal(4.0)),
    ]
    changes = Steps(["events", *LARGE.arguments()], runs=runs)
    for event in _EVENTS:
        rows.append(Row(f"change: {event}", changes.measured(event), Goal(0.01)))
        rows.append(Row(f"change: {event}, slowest of 30", changes.measured(f"{event}, slowest")))
    rows += [
        # No goal: this one is about every pod, and tells each class of them apart.
        Row("change: first policy by a label that tells all pods apart", changes.measured("new label")),
        Row("change: pod changed after that", changes.measured("later pod changed"), Goal(0.01)),
    ]
    size = _SMALLER if quick else HUGE
    alone = Steps(["memory", *size.arguments()], runs=1)
    rows += [
        Row(f"alone: objects in memory, {size}", alone.measured("objects")),
        Row("alone: set-up", alone.measured("set-up")),
        Row("alone: verdict of one pair, median of 2,000 pairs", alone.measured("pair"), Goal(0.001)),
        Row("alone: verdict of one pair, slowest of a hundred", alone.measured("slow pair")),
        Row("alone: set-up and all connections", alone.measured("set-up", "connectivity"), Goal(60.0, 4096)),
    ]
    return measurements("Reading, engine, changes", _TEXT, rows)
