# SPDX-License-Identifier: Apache-2.0
"""How large policies may be, by their text alone: beyond it they isolate, and admit nothing (semantics 2.8).

Who may write NetworkPolicies in one namespace shares nodes with everybody else. The text is what all nodes and
all commands have in common, so the limit is the same for all of them, whatever runs where.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from podfence.sets import AddressSet
from podfence.sets.spans import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podfence.kube.objects import NetworkPolicy, Rule, Selector
    from podfence.sets.spans import Spans


class Size(NamedTuple):
    """How much there is in a policy, or in all of a namespace; `MEASURES` says what each counts."""

    rules: int = 0
    blocks: int = 0
    ports: int = 0
    selectors: int = 0
    values: int = 0
    selected: int = 0
    names: int = 0
    overlaps: int = 0

    def plus(self, other: Size) -> Size:
        """Return how much there is in both."""
        return Size(*(one + two for one, two in zip(self, other, strict=True)))

    def times(self, factor: int) -> Size:
        """Return so many times as much."""
        return Size(*(item * factor for item in self))

    def beyond(self, most: Size) -> tuple[str, int, int] | None:
        """Return the first measure that is too large, in words, with its figure and the limit; None if none is."""
        for name, figure, limit in zip(self._fields, self, most, strict=True):
            if figure > limit:
                return MEASURES[name], figure, limit
        return None


NOTHING: Final = Size()

MEASURES: Final = {
    "rules": "rules",
    "blocks": "address blocks with their exceptions",
    "ports": "ports in its rules",
    "selectors": "selectors of peers",
    "values": "keys and values in its selectors",
    "selected": "ports in rules that select pods",
    "names": "ports given by name",
    "overlaps": "address ranges times the ports of each",
}
"""What each measure counts. A rule without ports counts as one port.

Ports given by name are few, because each can be another number on every pod, and tenants write pods too. For `overlaps`
the blocks of a direction cut all addresses into ranges; each range counts the ports of all the rules that have a block
there.
"""


class Budget(Struct, frozen=True):
    """How large one policy may be, and how large all policies of a namespace together."""

    policy: Size
    namespace: Size


_POLICY: Final = Size(
    rules=500, blocks=10_000, ports=2_000, selectors=200, values=5_000, selected=200, names=50, overlaps=100_000
)
_OF_NAMESPACE: Final = 4

BUDGETS: Final[Mapping[str, Budget | None]] = {
    "standard": Budget(_POLICY, _POLICY.times(_OF_NAMESPACE)),
    "tenfold": Budget(_POLICY.times(10), _POLICY.times(10 * _OF_NAMESPACE)),
    "none": None,
}
"""The budgets by the values of the option `budget`."""


def refusals(policies: Iterable[tuple[NetworkPolicy, Size]], name: str) -> dict[str, str]:
    """Return which policies of one namespace are too large for the budget of that name, and why, by policy name.

    The policies of a namespace add up in order of name, those left out that are too large themselves. Names are
    what every way to read a cluster agrees on: a policy from a file has no creationTimestamp, one that was restored
    has another, and two may have the same.
    """
    budget = BUDGETS[name]
    if budget is None:
        return {}
    result: dict[str, str] = {}
    found_all = list(policies)
    if _fits([size for _, size in found_all], budget):
        return result
    total = NOTHING
    for policy, size in sorted(found_all, key=lambda item: item[0].name):
        alone, together = size.beyond(budget.policy), total.plus(size)
        found = alone or together.beyond(budget.namespace)
        if found is None:
            total = together
            continue
        with_others = f"is too much for namespace {policy.namespace}: with the policies before it, by name,"
        what, figure, limit = found
        what = f"{'is too large:' if alone else with_others} {figure:,} {what}"
        result[policy.name] = f"{what}, at most {limit:,}; it admits nothing"
    return result


def _fits(sizes: Sequence[Size], budget: Budget) -> bool:
    """Return whether nothing can be too large, which is so nearly everywhere and quickly seen."""
    by_measure = list(zip(*sizes, strict=True))
    return not (
        Size(*map(max, by_measure)).beyond(budget.policy) or Size(*map(sum, by_measure)).beyond(budget.namespace)
    )


def size_of(policy: NetworkPolicy) -> Size:
    """Return how much there is in a policy, in rules of both directions, those without effect too."""
    found = counts_of(policy)
    if not found.blocks or policy.left_out:
        return found
    return found._replace(overlaps=_overlaps(policy.ingress) + _overlaps(policy.egress))


def counts_of(policy: NetworkPolicy) -> Size:
    """Return the same without how blocks overlap, which takes as long as to read the policy."""
    if policy.left_out:
        return Size(*policy.left_out)
    rules = (*policy.ingress, *policy.egress)
    blocks = ports = selectors = selected = names = 0
    values = _values(policy.pod_selector)
    for rule in rules:
        ports += _ports(rule)
        names += sum(isinstance(item.port, str) for item in rule.ports)
        before = selectors
        for peer in rule.peers:
            if peer.ip_block is not None:
                blocks += 1 + len(peer.ip_block.excepts)
                continue
            selectors += 1
            values += _values(peer.pod_selector) + _values(peer.namespace_selector)
        if selectors > before:
            selected += _ports(rule)
    return Size(len(rules), blocks, ports, selectors, values, selected, names)


def _ports(rule: Rule) -> int:
    return len(rule.ports) or 1


def _values(selector: Selector | None) -> int:
    terms = selector.requirements if selector is not None else ()
    return sum([len(item.values) for item in terms], len(terms))


def _overlaps(rules: Iterable[Rule]) -> int:
    """Return the sum, over the ranges that the blocks of rules cut all addresses into, of the ports admitted there."""
    spans = [(_ports(rule), _spans(rule)) for rule in rules if any(peer.ip_block is not None for peer in rule.peers)]
    if len(spans) == 1:
        # As in most policies: nothing overlaps.
        [(ports, ranges)] = spans
        return ports * len(ranges)
    changes: dict[int, int] = {}
    for ports, ranges in spans:
        for first, last in ranges:
            changes[first] = changes.get(first, 0) + ports
            changes[last + 1] = changes.get(last + 1, 0) - ports
    found = there = 0
    for first, _ in pairwise(sorted(changes)):
        there += changes[first]
        found += there
    return found


def _spans(rule: Rule) -> Spans:
    blocks = [peer.ip_block for peer in rule.peers if peer.ip_block is not None]
    found = [AddressSet.block(block.cidr, block.excepts).spans for block in blocks]
    return found[0] if len(found) == 1 else normalize(pair for spans in found for pair in spans)
