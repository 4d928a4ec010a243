# SPDX-License-Identifier: Apache-2.0
"""Which pairs of classes policies say the same of, so that one of them is asked and stands for the others.

What an answer depends on is found for single pairs. Of most destinations policies see the same: what is asked of one
then holds for all of them. Where rules have an order, each pair is asked by itself.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from podfence.cluster.selection import Selection
from podfence.policy.verdict import Direction
from podfence.sets import members
from podfence.sets.addresses import family_of
from podfence.sets.partition import split

if TYPE_CHECKING:
    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.pod_class import PodClass
    from podfence.policy.peers import Scenario
    from podfence.policy.reach import Reach


class Likeness:
    """What policies see of the classes of a connectivity, in each of some scenarios."""

    def __init__(self, reach: Reach, index: ClassIndex, scenarios: tuple[Scenario, ...]) -> None:
        """Look at nothing before it is asked for."""
        self._reach = reach
        self._index = index
        self._scenarios = scenarios
        self._everywhere: list[int] | None = None
        self._peers: list[set[int]] = []
        self._meant_by: dict[int, list[int]] = defaultdict(list)

    def of_destination(self, number: int) -> object:
        """Return a value that is equal for destinations of which policies see the same.

        Each source of another namespace then has equal answers for them, and depends on the same, but for the
        destination's own name.
        """
        if self._reach.is_ordered:
            return number
        self._look()
        pod_class = self._index.classes[number]
        grants = self._reach.grants(Direction.INGRESS, number)
        return (
            _families(pod_class),
            pod_class.ports,
            pod_class.namespace if self._reach.looks_up_own_names else "",
            self._reach.is_isolated(Direction.INGRESS, number),
            frozenset((grant.peer, grant.ports, grant.names, grant.names_in) for grant in grants),
            tuple(self._meant_by.get(number, ())),
        )

    def apart(self, sources: int, destination: int) -> list[int]:
        """Return sources of a destination in sets of which policies say the same of it."""
        if self._reach.is_ordered:
            return [1 << number for number in members(sources)]
        splitters: set[int] = set()
        found = [part for piece in self._look() if (part := piece & sources)]
        for place in self._meant_by.get(destination, ()):
            splitters |= self._peers[place // len(self._scenarios)]
        splitters |= {self._reach.peers.of(grant.peer, one)
                      for grant in self._reach.grants(Direction.INGRESS, destination)
                      for one in self._scenarios}  # fmt: skip
        if self._reach.peers.unknown_spaces:
            splitters.add(self._index.in_namespace(self._index.classes[destination].namespace))
        return split(found, {inside for bits in splitters if (inside := bits & sources) not in (0, sources)})

    def of_pair(self, source: int, destination: int) -> object:
        """Return a value that is equal for pairs of which policies say the same, but for names of what is unknown."""
        if self._reach.is_ordered:
            return source, destination
        one, other = self._index.classes[source], self._index.classes[destination]
        return (
            _families(one),
            _families(other),
            one.namespace == other.namespace,
            self._said(Direction.EGRESS, source, destination, other),
            self._said(Direction.INGRESS, destination, source, other),
        )

    def _said(self, direction: Direction, subject: int, peer: int, to: PodClass) -> object:
        found = set()
        for grant in self._reach.grants(direction, subject):
            states = tuple(self._reach.peers.of(grant.peer, scenario) >> peer & 1 for scenario in self._scenarios)
            if any(states):
                # What is open is open because of what is asked for.
                asked = None if all(states) else grant.peer
                ports = self._reach.ports_at(grant, to)
                found.add((ports, states, asked.namespaces if isinstance(asked, Selection) else asked))
        return self._reach.is_isolated(direction, subject), frozenset(found)

    def _look(self) -> list[int]:
        """Return all classes as sources, in sets that no destination tells apart by rules about all or none of them.

        Of the other egress rules, `_peers` has the sources for each set of classes that they mean, and `_meant_by`
        says by which each class is meant, and in which scenario.
        """
        if self._everywhere is not None:
            return self._everywhere
        by_meaning: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for peer, subjects in self._reach.rectangles(Direction.EGRESS):
            by_meaning[tuple(self._reach.peers.of(peer, scenario) for scenario in self._scenarios)].add(subjects)
        everyone = self._index.all
        everywhere = {everyone & ~self._reach.open_pods(Direction.EGRESS)}
        for means, sources in by_meaning.items():
            if all(bits in (0, everyone) for bits in means):
                everywhere |= sources if any(means) else set()
                continue
            for place, bits in enumerate(means, len(self._peers) * len(self._scenarios)):
                for number in members(bits):
                    self._meant_by[number].append(place)
            self._peers.append(sources)
        self._everywhere = split([everyone], everywhere)
        return self._everywhere


def _families(pod_class: PodClass) -> tuple[int, ...]:
    return tuple(sorted({family_of(cell) for cell in pod_class.cells}))
