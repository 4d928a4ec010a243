# SPDX-License-Identifier: Apache-2.0
"""Enforcement on a node: what rules cost the traffic, and how soon the kernel knows of a change.

Everything happens in network namespaces made for it, so it needs root (or a user namespace of one's own).
"""

from __future__ import annotations

import json
import shutil
import statistics
from typing import TYPE_CHECKING, Final

from bench.measure import module, once
from bench.report import Section, duration, table
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TITLE: Final = "Enforcement on one node"
NONE, ALONE, OURS, LINEAR = "no rules", "connection tracking alone", "podfence", "a chain per policy"
BOUND, BRIDGED = "podfence, links bound", "bridge: "
FLAT: Final = 0.9
LEAST: Final = 0.8
SLOWER: Final = 1.1
FIRST: Final = 0.1
"""A question for a neighbour that was dropped would cost a second, and so would a first packet."""

EVENT: Final = (0.010, 0.020)
CHANGE: Final = 0.010
START: Final = (5.0, 0.015)
MEMORY: Final = 120.0
_TEXT: Final = (
    "Traffic goes from one network namespace to another through a third one, the node. Rates and round trips are those "
    "of one client in Python, and include the client's own time. All kinds of rules take turns several times. Rates "
    "and times are medians. Ratios are medians of the ratios to the same turn without rules. The ratios of new "
    "connections compare how many connections one second of processor time makes, in both ends and the kernel. Other "
    "work disturbs this number least.\n"
    "Links are bound for both ends and 200 other pods. A bridge passes packets between its ports to the IP hooks, even "
    "without rules. A new pod has a new link and a new address, and connects as soon as the kernel has both. It knows "
    "none of its neighbours.\n"
    "In the cluster that changes, each local pod is a port of a bridge, and is bound to it when it is added.\n"
    "Policies are on the pod that is connected to, and the middle one admits the connection. The rival has a chain for "
    "each policy, with a set of its peers, which the chain of the pod calls in order."
)
_CHANGED: Final = {
    "another": "of another pod",
    "something else": "of the pod of the flows, which stay",
    "their own": "of the flows, which are cut and freed in turn",
}
"""The policies that `bench.node` changes."""

_TOOLS: Final = ("nft", "ip", "unshare", "nsenter")

_ALL: Final = 1 << 24

Samples = dict[str, list[list[float]]]


class NotMeasuredError(Exception):
    """Why there are no numbers."""


def section(_: Path, *, quick: bool) -> Section:
    """Return the measurements; a sentence instead where they are not possible."""
    absent = [tool for tool in _TOOLS if not shutil.which(tool)]
    if absent:
        return Section(TITLE, f"Not measured: {', '.join(absent)} not found.", ())
    trial = once(["unshare", "--net", "nft", "list", "tables"], limit=20)
    if trial.code:
        return Section(TITLE, "Not measured: it needs root, to make network namespaces and rules in them.", ())
    size = Size(1_000, 20, 1_000, per_node=100) if quick else Size(10_000, 100, 10_000, per_node=200)
    missed = 0
    lines: list[str] = []
    for part in (_connections, _latency, _first, _changes, _changing, _start, _growth):
        try:
            found, failures = part(size, quick=quick)
        except NotMeasuredError as error:
            found, failures = (f"Not measured: {error}.",), 1
        lines += ["", *found] if lines else found
        missed += failures
    return Section(TITLE, _TEXT, tuple(lines), missed)


def measure(what: str, *arguments: object, limit: float = 600.0) -> Samples:
    """Return the samples of `bench.node` by name; raises NotMeasuredError."""
    run = once(["unshare", "--net", *module("bench.node", what, *map(str, arguments))], limit=limit, kept=_ALL)
    if run.code:
        last = run.complaint.strip().splitlines()[-1:] or [f"exit code {run.code}"]
        raise NotMeasuredError(f"did not end within {limit:.0f} s" if run.late else last[0])
    samples: Samples = {}
    for line in run.output.splitlines():
        name, *numbers = json.loads(line)
        samples.setdefault(name, []).append(numbers)
    return samples


def _connections(_: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    counts = (0, 1, 100) if quick else (0, 1, 100, 1_000, 5_000)
    samples = measure("connections", *((3, 0.2) if quick else (9, 1.0)), *counts)
    rows: list[list[str]] = []
    missed = 0
    for place, kinds in (("", (OURS, BOUND, LINEAR)), (BRIDGED, (OURS, BOUND))):
        floor = _column(samples, f"{place}{NONE} 0", 1)
        rows += [_rate(samples, f"{place}{kind}", f"{place}{kind} 0", floor) for kind in (NONE, ALONE)]
        for kind in kinds:
            first = _column(samples, f"{place}{kind} 1", 1)
            for count in counts[kind == LINEAR :]:
                name = f"{place}{kind} {count}"
                spent = _column(samples, name, 1)
                what = f"{place}{kind}, {count:,} {'policy' if count == 1 else 'policies'}"
                row = [*_rate(samples, what, name, floor), f"{_ratio(first, spent):.2f}"]
                if kind != LINEAR:
                    good = _ratio(floor, spent) >= LEAST and _ratio(first, spent) >= FLAT
                    row += [f"≥ {LEAST}, ≥ {FLAT} of 1 policy", _met(good)]
                    missed += not good
                rows.append(row)
    heads = ("new TCP connections", "a second", "processor", "of no rules", "of 1 policy", "goal", "met")
    return _table(heads, rows), missed


def _rate(samples: Samples, what: str, name: str, floor: Sequence[float]) -> list[str]:
    spent = _column(samples, name, 1)
    rate = statistics.median(_column(samples, name))
    return [what, f"{rate:,.0f}", _micro(statistics.median(spent)), f"{_ratio(floor, spent):.2f}"]


def _latency(_: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    policies = 100 if quick else 1_000
    samples = measure("latency", *((3, 2_000) if quick else (15, 10_000)), policies)
    rows, missed = [], 0
    for kind, name in ((NONE, NONE), (ALONE, ALONE), (OURS, f"{OURS}, {policies:,} policies")):
        row = [name]
        ratios = []
        for place in (0, 1):
            found = _column(samples, kind, place)
            ratios.append(_ratio(found, _column(samples, NONE, place)))
            row += [_micro(statistics.median(found)), f"{ratios[-1]:.2f}"]
        if kind == OURS:
            good = max(ratios) <= SLOWER
            row += [f"≤ {SLOWER}", _met(good)]
            missed += not good
        rows.append(row)
    return _table(("round trip of an established flow", "p50", "ratio", "p99", "ratio", "goal", "met"), rows), missed


def _first(_: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    policies = 100 if quick else 1_000
    samples = measure("first", *((1, 10) if quick else (5, 40)), policies)
    rows, missed = [], 0
    for place in ("", BRIDGED):
        for kind in (NONE, OURS, BOUND):
            found = _column(samples, f"{place}{kind}")
            slow = _percentile(found, 99)
            row = [f"{place}{kind}", duration(statistics.median(found)), duration(slow), str(len(found))]
            if kind == BOUND:
                row += [f"p99 < {duration(FIRST)}", _met(slow < FIRST)]
                missed += slow >= FIRST
            rows.append(row)
    return _table(
        (f"first connection of a new pod, {policies:,} policies", "p50", "p99", "pods", "goal", "met"), rows
    ), missed


def _changes(size: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    samples = measure("events", 1 if quick else 5, *size.arguments())
    memory = samples.pop("memory")[0][0]
    looks = samples.pop("look")
    every = [numbers for values in samples.values() for numbers in values]
    rows = [[name, *_percentiles(values)] for name, values in samples.items()]
    percentiles = [_percentile([wall for wall, _ in every], percent) for percent in (50, 99)]
    soon = all(value <= goal for value, goal in zip(percentiles, EVENT, strict=True))
    goal = f"p50 < {duration(EVENT[0])}, p99 < {duration(EVENT[1])}"
    rows.append(["all of these", *_percentiles(every), goal, _met(soon)])
    rows.append(["then a look at the established flows concerned", *_percentiles(looks)])
    heads = (f"event to kernel: {size}, {size.per_node} local", "p50", "p99", "processor, p50", "processor, p99")
    lines = _table((*heads, "events", "goal", "met"), rows)
    small = memory <= MEMORY
    limit = f"goal: at most {MEMORY:.0f} MiB; met: {_met(small)}"
    text = f"The peak memory of that process, with all objects and the engine: {memory:,.0f} MiB ({limit})."
    return (*lines, "", text), (not soon) + (not small)


def _changing(_: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    counts = (0, 100) if quick else (0, 100, 400, 5_000)
    samples = measure("changing", *((1, 10) if quick else (3, 50)), *counts)
    rows = []
    missed = 0
    for name, what in _CHANGED.items():
        found = [statistics.median(_column(samples, f"{name} {many}")) for many in (*counts, "ended")]
        good = found[1] <= CHANGE and (name == "their own" or found[-1] <= CHANGE)
        missed += not good
        goal = f"< {duration(CHANGE)}{' with 100' if name == 'their own' else ''}"
        rows.append([f"a policy {what}", *map(duration, found), goal, _met(good)])
    flows = (*(f"{count:,} flows" for count in counts), f"{counts[-1]:,} ended ones of {4 * counts[-1]:,}")
    return _table(("processor time of each of ten changes a second", *flows, "goal", "met"), rows), missed


def _start(size: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    samples = measure("start", 2 if quick else 5, *size.arguments())
    seconds = statistics.median(_column(samples, "start"))
    delay = statistics.median(_column(samples, "delay"))
    quiet = statistics.median(_column(samples, "delay, no start"))
    good = seconds <= START[0], delay <= START[1]
    rows = [
        ["objects in memory to everything in the kernel", duration(seconds), f"< {duration(START[0])}", _met(good[0])],
        ["slowest packet of an existing flow meanwhile", duration(delay), f"< {duration(START[1])}", _met(good[1])],
        ["the same in as long a time without a start", duration(quiet)],
    ]
    return _table(("cold start of the same", "", "goal", "met"), rows), good.count(False)


def _growth(_: Size, *, quick: bool) -> tuple[tuple[str, ...], int]:
    numbers = (1_000, 2_000) if quick else (1_000, 3_000, 10_000)
    runs = 1 if quick else 5
    grid = [(n, numbers[0]) for n in numbers] + [(numbers[0], n) for n in numbers[1:]] + [(n, n) for n in numbers[1:]]
    rows: list[list[str]] = []
    for pods, policies in grid:
        cluster = Size(pods, numbers[-1] // 100, policies, per_node=200)
        found = [measure("growth", 1, *cluster.arguments())["kernel"][0] for _ in range(runs)]
        elements, chains, rules = found[0][:3]
        rows.append(
            [
                f"{pods:,} pods, {policies:,} policies",
                *(f"{number:,.0f}" for number in (elements, chains, rules)),
                f"{statistics.median(item[3] for item in found):,.0f} KiB",
                f"{elements / (pods + policies):.1f}",
                f"{elements / (pods * policies) * 1000:.2f}",
            ]
        )
    per = ("elements for each pod and policy", "elements for 1,000 pairs")
    return _table(("in the kernel of one node", "elements", "chains", "rules", "memory", *per), rows), 0


def _column(samples: Samples, name: str, place: int = 0) -> list[float]:
    if name not in samples:
        raise NotMeasuredError(f"no sample of {name}")
    return [numbers[place] for numbers in samples[name]]


def _ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios in each turn."""
    return statistics.median(one / other for one, other in zip(values, others, strict=True))


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _percentiles(samples: Sequence[Sequence[float]]) -> list[str]:
    """Return the cells of samples of wall clock and processor time: two percentiles of each, and how many there are."""
    columns = zip(*samples, strict=True)
    return [*(duration(_percentile(values, n)) for values in columns for n in (50, 99)), str(len(samples))]


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"


def _met(good: bool) -> str:  # noqa: FBT001  (a verdict is what it writes)
    return "yes" if good else "**no**"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return table(heads, [[*row, *[""] * (len(heads) - len(row))] for row in rows])
