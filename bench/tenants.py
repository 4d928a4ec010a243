# SPDX-License-Identifier: Apache-2.0
"""What one tenant can cost a node, with the dearest policies there are, and what an agent costs when it is old."""

from __future__ import annotations

import json
import shutil
import statistics
from typing import TYPE_CHECKING, Final

from bench.growth import exponent
from bench.measure import module, once
from bench.memory import limited
from bench.report import Section, duration, table

if TYPE_CHECKING:
    from pathlib import Path

TITLE: Final = "Policies that are meant to stop the rest"
SECONDS: Final = 2.0
MEMORY: Final = 300.0
STEEPEST: Final = 1.15
OLDER: Final = 1.1
WAITING: Final = 0.25
_CHANGES: Final = 200
AGENT_MEMORY: Final = 512

_SHAPES: Final[dict[str, tuple[tuple[int, int], tuple[int, int]]]] = {
    "nested": ((75, 150), (300, 160)),
    "excepts": ((8, 50), (40, 50)),
    "same-port": ((8, 50), (40, 50)),
    "subsets": ((20, 30), (40, 60)),
    "overlapping-ports": ((8, 50), (40, 50)),
    "cut-up": ((60, 400), (240, 1600)),
    "many-ports": ((5, 100), (20, 100)),
    "selectors": ((5, 10), (20, 10)),
    "different-selectors": ((10, 5), (40, 5)),
    "excluded-pods": ((50, 1), (200, 1)),
    "random-pods": ((25, 2), (100, 2)),
    "values": ((25, 49), (100, 49)),
    "port-names": ((1000, 12), (1000, 50)),
    "groups": ((8, 50), (30, 55)),
    "groups-of-blocks": ((8, 50), (30, 55)),
    "many-policies": ((25, 50), (100, 50)),
}
"""Shapes of `bench.hostile` with a small size, and one near the budget."""

_TOO_LARGE: Final = {
    "nested": (7000, 7000),
    "excepts": (200, 200),
    "many-ports": (20, 2000),
    "selectors": (100, 100),
    "port-names": (400, 2000),
    "groups": (60, 60),
}

_PHASES: Final = {
    "quiet": "nothing",
    "applied": "20 policies of all shapes are applied at once",
    "flapping": "each of the 20 changes twenty times a second",
}
"""The phases of `bench.fair`."""

_TEXT: Final = (
    "One NetworkPolicy of a tenant arrives. The table has several shapes of overlapping rules, each with a size near "
    "the budget. It shows the processor time from the event to the kernel, and the peak of the agent's memory. "
    f"The goals are {SECONDS:.0f} s and {MEMORY:.0f} MiB. The exponent is that of the time over the used share of the "
    f"budget, from about a quarter to nearly all of it. It is marked if it is above {STEEPEST} and the time is longer "
    "than 50 ms. A policy that is too large is refused."
)


def section(_: Path, *, quick: bool) -> Section:
    """Return the measurements; a sentence instead where they are not possible."""
    if not shutil.which("unshare") or once(["unshare", "--net", "true"], limit=20).code:
        return Section(TITLE, "Not measured: it needs root, to make network namespaces and rules in them.", ())
    missed = 0
    rows: list[tuple[str, ...]] = []
    for shape, (small, large) in _SHAPES.items():
        first, last = (min(_measured(shape, *size) for _ in range(1 if quick else 3)) for size in (small, large))
        slope = exponent([first[3], last[3]], [first[0], last[0]])
        steep = slope > STEEPEST and last[0] > 0.05
        failed = steep or last[0] > SECONDS or last[1] > MEMORY or bool(last[2])
        missed += failed
        marked = f"**{slope:.2f}**" if steep else f"{slope:.2f}"
        rows.append(
            (_named(shape, large), duration(last[0]), f"{last[1]:.0f} MiB", marked, "**no**" if failed else "yes")
        )
    for shape, size in _TOO_LARGE.items():
        seconds, memory, refused = _measured(shape, *size)[:3]
        failed = seconds > SECONDS or memory > MEMORY or not refused
        missed += failed
        rows.append(
            (_named(shape, size), duration(seconds), f"{memory:.0f} MiB", "refused", "**no**" if failed else "yes")
        )
    lines = [*table(("policy", "time", "memory", "exponent", "met"), rows), ""]
    waits, too_long = _waits(_CHANGES)
    ages, failed = _ages(20_000 if quick else 200_000)
    return Section(TITLE, _TEXT, (*lines, *waits, "", *ages), missed + too_long + failed)


def _named(shape: str, size: tuple[int, int]) -> str:
    return f"{shape}, {size[0]:,} by {size[1]:,}"


def _measured(shape: str, rules: int, count: int) -> tuple[float, float, str, float]:
    run = once(["unshare", "--net", *module("bench.hostile", shape, str(rules), str(count))], limit=120)
    if run.code:
        return float("inf"), float("inf"), run.complaint, 1.0
    seconds, memory, refused, used = json.loads(run.output)
    return seconds, memory, refused, used


def _waits(count: int) -> tuple[tuple[str, ...], bool]:
    """Return how long a tenant waits while another one applies and changes 20 policies, and if that is too long."""
    command = ["unshare", "--net", *module("bench.fair", "2000", str(count))]
    with limited(AGENT_MEMORY) as limit:
        run = once(limit.command(command) if limit else command, limit=600)
        peak = limit.peak if limit else None
    if run.code:
        return (f"Not measured: {run.complaint}",), True
    found = json.loads(run.output)
    quiet = found["quiet"]["median"]
    rows = []
    failed = found["mib"] > AGENT_MEMORY
    for phase, title in _PHASES.items():
        part = found[phase]
        met = part["p99"] <= WAITING
        failed |= not met
        rows.append(
            (
                title,
                *(duration(part[name]) for name in ("median", "p99", "worst")),
                f"{part['median'] / quiet:.0f}, {part['p99'] / quiet:.0f}",
                duration(part["steps"][0]),
                "yes" if met else "**no**",
            )
        )
    where = (
        "" if peak is None else f" in a control group with a limit of {AGENT_MEMORY} MiB, in which {peak} MiB were used"
    )
    text = (
        "One tenant makes twenty changes a second, while another one applies harmful policies to 30 pods that also "
        "have a small policy each. The cluster has 2,000 pods that all differ. Times are processor time, and the times "
        "that the agent waits on purpose, so they are those of a machine with nothing else to do. "
        f"The agent's memory was {found['mib']} MiB at most{where}. The goal is "
        f"that 99 of 100 wait for {duration(WAITING)} at most, with a limit of {AGENT_MEMORY} MiB. The comparison of "
        "the whole table does not count. All changes wait for it, and it takes some seconds with such policies."
    )
    head = ("meanwhile", "p50", "p99", "slowest", "of the quiet p50", "longest step", "met")
    return (text, "", *table(head, rows)), failed


def _ages(count: int) -> tuple[tuple[str, ...], bool]:
    """Return what an agent costs that has seen many changes, and whether that is more than at first."""
    run = once(module("bench.ages", str(count), "1000", "--json"), limit=1200)
    if run.code:
        return (f"Not measured: {run.complaint}",), True
    found = [json.loads(line) for line in run.output.splitlines()]
    first, *others = found
    later = statistics.median(age["seconds"] for age in others)
    largest = max(age["pieces"] for age in others)
    failed = later > OLDER * first["seconds"] or largest > OLDER * first["pieces"]
    text = (
        f"An agent with 1,000 live pods, through {found[-1]['events']:,} changes of addresses, namespaces and pods "
        f"that come and go: {duration(first['seconds'])} for each of the first {first['events']:,}, "
        f"{duration(later)} later; {largest / first['pieces']:.3f} times the memory"
        f"{' (**not met**: more than a tenth)' if failed else ''}."
    )
    return (text,), failed
