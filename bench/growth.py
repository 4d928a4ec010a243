# SPDX-License-Identifier: Apache-2.0
"""How time grows with the cluster: the exponent of the size that fits the times best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.commands import PODFENCE, manifests
from bench.engine import Steps
from bench.measure import Measured, several
from bench.report import Section, duration, table
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT = 1.3
_TEXT = (
    "Clusters with 25 pods and about 6 policies in a namespace; times are processor time.\n"
    "The exponent is the slope of the logarithm of time over the logarithm of pods: "
    "1 means twice the time for twice the pods, 2 means four times.\n"
    "In small clusters, the cost of the start hides the growth. So the last step shows the exponent between the two "
    "largest clusters alone.\n"
    f"Values above {LIMIT} are marked."
)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the slope of log(time) over log(size) by least squares."""
    xs, ys = [math.log(size) for size in sizes], [math.log(time) for time in times]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def section(folder: Path, *, quick: bool) -> Section:
    """Return the processor times at five sizes and more, and their exponents."""
    sizes = [
        Size(25 * count, count, 25 * count // 4)
        for count in ((10, 20, 40, 80, 160) if quick else (20, 40, 80, 160, 320, 640))
    ]
    runs = 1 if quick else 3
    columns: dict[str, list[Measured]] = {"reading": [], "engine": [], "whole `list`": []}
    for size in sizes:
        files = manifests(size, folder)
        steps = Steps(["files", files], runs=runs)
        columns["reading"].append(steps.measured("parse", "decode"))
        columns["engine"].append(steps.measured("set-up", "connectivity"))
        columns["whole `list`"].append(several([PODFENCE, "list", "-f", files], runs=runs))
    rows = [
        (str(size), *(item.failure or duration(item.cpu) for item in items))
        for size, items in zip(sizes, zip(*columns.values(), strict=True), strict=True)
    ]
    fits = [_fits(sizes, column) for column in columns.values()]
    rows += [("exponent", *(_flagged(fit[0]) for fit in fits)), ("last step", *(_flagged(fit[1]) for fit in fits))]
    missed = sum(max(fit) > LIMIT for fit in fits)
    return Section("Growth", _TEXT, table(("", *columns), rows), missed)


def _fits(sizes: Sequence[Size], column: Sequence[Measured]) -> tuple[float, float]:
    pods = [float(size.pods) for size, item in zip(sizes, column, strict=True) if not item.failure]
    times = [item.cpu for item in column if not item.failure]
    if len(pods) < len(sizes):
        return (math.inf, math.inf)
    return exponent(pods, times), exponent(pods[-2:], times[-2:])


def _flagged(value: float) -> str:
    return f"**{value:.2f}, above {LIMIT}**" if value > LIMIT else f"{value:.2f}"
