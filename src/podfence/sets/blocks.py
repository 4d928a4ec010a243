# SPDX-License-Identifier: Apache-2.0
"""The shortest way to write a set of addresses: blocks, and blocks taken out of them.

A prefix in a list of prefixes holds for what is inside it unless a longer one says otherwise, as in a
routing table; the fewest prefixes that say "in" and "out" of a set are found bottom-up over the
binary tree of prefixes (optimal routing table construction, with two answers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from podfence.sets.spans import Spans


class Prefix(NamedTuple):
    """A prefix as its first and last number."""

    first: int
    last: int


class _Cost(NamedTuple):
    """How many prefixes a subtree takes when what surrounds it is out of the set, and when it is in."""

    out: int
    inside: int


def shortest(spans: Spans, whole: Prefix) -> list[tuple[Prefix, tuple[Prefix, ...]]]:
    """Return (prefix, prefixes taken out of it) that together are the spans; all lie in `whole`, a prefix."""
    costs: dict[Prefix, _Cost] = {}
    _count(spans, whole, costs)
    result: list[tuple[Prefix, list[Prefix]]] = []
    _write(whole, None, costs, result, spans)
    return [(prefix, tuple(taken)) for prefix, taken in sorted(result)]


def _state(spans: Spans, prefix: Prefix) -> bool | None:
    """Return whether a prefix is in the set (True), out of it (False), or mixed (None); spans touch it or are none."""
    if not spans:
        return False
    first, last = spans[0]
    return True if first <= prefix.first and prefix.last <= last else None


def _halves(spans: Spans, prefix: Prefix) -> tuple[tuple[Spans, Prefix], tuple[Spans, Prefix]]:
    middle = (prefix.first + prefix.last) // 2
    left = tuple(span for span in spans if span[0] <= middle)
    right = tuple(span for span in spans if span[1] > middle)
    return (left, Prefix(prefix.first, middle)), (right, Prefix(middle + 1, prefix.last))


def _count(spans: Spans, prefix: Prefix, costs: dict[Prefix, _Cost]) -> _Cost:
    state = _state(spans, prefix)
    if state is None:
        left, right = (_count(part, half, costs) for part, half in _halves(spans, prefix))
        out, inside = left.out + right.out, left.inside + right.inside
        cost = _Cost(min(out, 1 + inside), min(inside, 1 + out))
    else:
        cost = _Cost(1, 0) if state else _Cost(0, 1)
    costs[prefix] = cost
    return cost


def _write(
    prefix: Prefix,
    around: list[Prefix] | None,
    costs: dict[Prefix, _Cost],
    result: list[tuple[Prefix, list[Prefix]]],
    spans: Spans,
) -> None:
    """Add the prefixes of a subtree to the result; `around` collects what is taken out of the block it lies in."""
    state = _state(spans, prefix)
    if state is (around is not None):
        return
    halves = _halves(spans, prefix) if state is None else ()
    # A cost has two numbers, and the second is for when the surroundings are in the set.
    stay = None if state is not None else sum(costs[half][around is not None] for _, half in halves)
    if stay is None or costs[prefix][around is not None] < stay:
        if around is None:
            around = []
            result.append((prefix, around))
        else:
            around.append(prefix)
            around = None
    for part, half in halves:
        _write(half, around, costs, result, part)
