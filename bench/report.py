# SPDX-License-Identifier: Apache-2.0
"""The report of the measurements as a Markdown page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.machine import description
from bench.measure import smallest_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.machine import OtherWork
    from bench.measure import Measured

_PAGE = (
    "# Benchmarks",
    "",
    "`make bench` measures everything on this page, and writes it.",
    "[Another page](benchmarks-kubernetes.md) has measurements of agents on a real cluster.",
    "Measured on {machine}. {disturbed}",
    (
        "Clusters are generated from a seed and look like live ones. Of every five namespaces, two have a default deny "
        "for both directions with a rule for DNS, two have a default deny for ingress, and one has none. The other "
        "policies select by labels, namespaces and expressions, and use blocks of addresses, named ports, port ranges, "
        "UDP and SCTP."
    ),
    "",
    (
        "Commands are measured as whole processes, from the start of the interpreter to its end. Their output goes to "
        "a file."
    ),
    (
        "Times are medians, after one run that does not count. Processor time is user and system time together. Memory "
        "is the peak of the process. A peak below {least:.0f} MiB cannot be measured."
    ),
    "",
)


class Goal(NamedTuple):
    """What a measurement is held against: the most seconds of wall clock and MiB, 0 for no goal."""

    seconds: float = 0.0
    memory: float = 0.0

    def __str__(self) -> str:
        """Return ``< 6 s, < 500 MiB``."""
        parts = [f"< {duration(self.seconds)}"] if self.seconds else []
        return ", ".join([*parts, *([f"< {self.memory:,.0f} MiB"] if self.memory else [])])


NO_GOAL = Goal()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what was measured, what came out, and the goal."""

    name: str
    measured: Measured
    goal: Goal = NO_GOAL

    @property
    def verdict(self) -> str:
        """``yes`` if the goal is met, ``**no**`` if it is missed or nothing came out, empty without a goal."""
        if self.measured.failure:
            return "**no**"
        if not any(self.goal):
            return ""
        slow = self.goal.seconds and self.measured.wall > self.goal.seconds
        large = self.goal.memory and self.measured.memory > self.goal.memory
        return "**no**" if slow or large else "yes"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: its title, what is to be known of it, and lines of Markdown."""

    title: str
    text: str
    lines: tuple[str, ...]
    missed: int = 0


def duration(seconds: float) -> str:
    """Return seconds in a unit that leaves two or three digits."""
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.2f} s".replace(".00 s", " s")
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2g} ms"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the lines of a table; all columns but the first are numbers and stand right."""
    aligned = ["---", *("--:" for _ in heads[1:])]
    return tuple(f"| {' | '.join(cells)} |" for cells in (heads, aligned, *rows))


def measurements(title: str, text: str, rows: Sequence[Row]) -> Section:
    """Return a section of rows with their goals."""
    heads = ("", "wall clock", "spread", "processor", "memory", "runs", "goal", "met")
    return Section(
        title,
        text,
        table(heads, [(row.name, *_cells(row.measured), str(row.goal), row.verdict) for row in rows]),
        sum(row.verdict == "**no**" for row in rows),
    )


def _cells(measured: Measured) -> tuple[str, ...]:
    if measured.failure:
        return (measured.failure.replace("|", "\\|"), "", "", "", "")
    return (
        duration(measured.wall),
        f"± {duration(measured.spread / 2)}" if measured.runs > 1 else "",
        duration(measured.cpu) if measured.cpu else "",
        f"{measured.memory:,.0f} MiB" if measured.memory else "",
        str(measured.runs),
    )


def page(sections: Iterable[Section], other_work: OtherWork) -> str:
    """Return the whole page; `other_work` was made before the first measurement."""
    parts = ["\n".join(_PAGE).format(machine=description(), disturbed=other_work, least=smallest_memory())]
    for section in sections:
        text = f"{section.text}\n\n" if section.text else ""
        parts.append(f"## {section.title}\n\n{text}" + "\n".join(section.lines) + "\n")
    return "\n".join(parts).replace(" \n", "\n")
