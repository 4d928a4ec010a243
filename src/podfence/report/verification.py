# SPDX-License-Identifier: Apache-2.0
"""A verification for people: what was expected and what was seen by groups, then what differs and why."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from podfence.errors import counted
from podfence.policy.wording import shortened
from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from podfence.lab.verification.result import DeadTarget, Trial, Verification
    from podfence.report.style import Page, Style

_HEADER = ("SOURCE", "", "DESTINATION", "EXPECTED", "OBSERVED", "")
_GAPS = (" ", " ", "  ", "  ", "  ")

MOST_DIFFERENCES: Final = 100
"""How many differences are written out; a node that enforces nothing has thousands that say the same."""

_FEW: Final = 4
_some: Final = partial(shortened, most=_FEW, shown=_FEW)


def lines(answer: Verification, page: Page = PAGE) -> Iterator[str]:
    """Yield the table of groups, the differences with their reasons, what has no result, and the counts."""
    width, style = page[:2]
    paint = columns.painter(style, arrow=1, column=5, decision=lambda _: "denied")
    rows = list(_rows(answer.trials, {item.what for item in answer.left_out}))
    yield from columns.lines(rows, header=_HEADER, gaps=_GAPS, width=width, style=style, paint=paint)
    families = len({trial.family for trial in answer.trials} | {item.family for item in answer.dead}) > 1
    sections = (
        ("Differences", _differences(answer.differences, style, families=families)),
        ("No result: cannot be reached without policies either", _dead(answer.dead, families=families)),
        ("Not tried", [f"{item.what}: {item.why}" for item in answer.left_out]),
    )
    for title, found in sections:
        body = list(found)
        if body:
            yield ""
            yield style.strong(title)
            yield from (columns.paragraph(f"  {line}", width) for line in body)
    yield ""
    yield style.decision("allowed" if answer.holds else "denied", summary(answer))


def summary(answer: Verification) -> str:
    """Return ``412 connections tried: 409 as expected (1 at the second try), 2 different, 1 without a result``."""
    differences = len(answer.differences)
    again = sum(len(trial.outcomes) > 1 and not trial.differs for trial in answer.trials)
    dead = sum(item.connections for item in answer.dead)
    parts = [f"{answer.as_expected} as expected" + (f" ({again} at the second try)" if again else "")]
    parts += [f"{differences} different"] if differences else []
    parts += [f"{dead} without a result"] if dead else []
    return f"{counted(answer.tried, 'connection')} tried: {', '.join(parts)}"


def _rows(trials: Iterable[Trial], left_out: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield a row for all sources of which the same is expected and seen at a destination.

    `left_out` are connections that were not tried, as `SOURCE -> DESTINATION PORT`.
    """
    pairs: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        pairs[trial.destination_group, trial.source_group].append(trial)
    alike: dict[str, dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
    for (destination, source), found in sorted(pairs.items()):
        whole = not any(text.startswith(f"{source} -> {destination} ") for text in left_out)
        expected = _ports([(trial, trial.expected == "allowed") for trial in found], whole=whole)
        observed = _ports([(trial, trial.observed == "allowed") for trial in found], whole=whole)
        alike[destination][expected, observed].append(source)
    for destination, ways in alike.items():
        *rows, (most, sources) = sorted(ways.items(), key=lambda item: len(item[1]))
        for way, names in rows:
            yield _row(", ".join(names), destination, *way)
        # What most sources have in common is said without their names.
        everyone = "every other source" if rows else "every source"
        yield _row(everyone if len(sources) >= _FEW else ", ".join(sources), destination, *most)


def _row(sources: str, destination: str, expected: str, observed: str) -> tuple[str, ...]:
    return sources, "->", destination, expected, observed, "" if expected == observed else "differs"


def _ports(found: Sequence[tuple[Trial, bool]], *, whole: bool) -> str:
    """Return the ports on which connections get there: ``TCP 80, ICMP over IPv4``, ``all ports`` or ``no port``.

    The last two are said only of a `whole`, of which no port was left out.
    """
    if whole and all(passed for _, passed in found):
        return "all ports"
    kinds: dict[str, list[tuple[Trial, bool]]] = defaultdict(list)
    for trial, passed in found:
        kinds[trial.port_kind].append((trial, passed))
    none = "no port" if whole else f"none of {', '.join(kinds)}"
    return ", ".join(text for kind, tries in kinds.items() if (text := _port(kind, tries))) or none


def _port(kind: str, tries: Sequence[tuple[Trial, bool]]) -> str:
    passed = sum(there for _, there in tries)
    if passed in (0, len(tries)):
        return kind if passed else ""
    of_family: dict[int, set[bool]] = defaultdict(set)
    for trial, there in tries:
        of_family[trial.family].add(there)
    if all(len(seen) == 1 for seen in of_family.values()):
        return next(f"{kind} over IPv{family}" for family, seen in of_family.items() if seen == {True})
    return f"{kind} ({passed} of {len(tries)})"


def _differences(found: Iterable[Trial], style: Style, *, families: bool) -> Iterator[str]:
    """Yield a line for the ports of a pair that differ alike, and the clauses of the reason below."""
    alike: dict[tuple[object, ...], list[Trial]] = defaultdict(list)
    for trial in found:
        key = (trial.source, trial.destination, trial.family, trial.expected, trial.outcomes, trial.reason)
        alike[key].append(trial)
    groups = list(alike.values())
    for first, *others in groups[:MOST_DIFFERENCES]:
        over = f" over IPv{first.family}" if families else ""
        ports = ", ".join(trial.port for trial in (first, *others))
        observed = style.decision(first.observed, first.observed)
        yield (
            f"{first.source} -> {first.destination} {ports}{over}: "
            f"expected {first.expected}, observed {observed} ({', then '.join(first.outcomes)})"
        )
        yield from (f"  {clause}" for clause in first.reason.split(" | "))
    rest = sum(map(len, groups[MOST_DIFFERENCES:]))
    if rest:
        yield f"and {counted(rest, 'connection')} more"


def _dead(found: Iterable[DeadTarget], *, families: bool) -> Iterator[str]:
    """Yield a line for each set of sources that does not get somewhere, with all that is out of their reach."""
    alike: dict[tuple[tuple[str, ...], str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for item in found:
        over = f" over IPv{item.family}" if families else ""
        alike[item.sources, item.outcome][item.destination].append(f"{item.port}{over}")
    for (sources, outcome), targets in alike.items():
        if len(targets) > 1:
            ends = _some(list(targets))
        else:
            ends = next(f"{target} {', '.join(ports)}" for target, ports in targets.items())
        yield f"{ends}: {outcome}, from {_some(sources)}"
