# SPDX-License-Identifier: Apache-2.0
"""What a listing leaves open, and because of what: single pairs of classes, asked as `check` asks them.

A listing is computed in two bounds of sets. Where they differ, one pair of pods stands for all that policies cannot
tell apart, and is asked what it depends on, so that a listing says *depends* exactly where `check` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.cluster.controllers import is_unknown
from podfence.cluster.selection import Selection
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import Key
from podfence.policy import unknown
from podfence.policy.ends import AddressEnd, End, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.extent import Extent, extent
from podfence.policy.grants import cuts_of
from podfence.policy.likeness import Likeness
from podfence.policy.peers import Scenario
from podfence.policy.verdict import Direction, Matter
from podfence.sets import AddressSet, PortSet, members, union
from podfence.sets.addresses import FAMILIES
from podfence.sets.spans import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podfence.analysis.view import View
    from podfence.cluster.members import Member
    from podfence.kube.objects import Selector
    from podfence.policy.reach import AddressPartition, Reach
    from podfence.policy.verdict import Dependency
    from podfence.sets.addresses import Family

BOUND_OPTIONS = ("icmp", "ip_block_pods")
"""The options that may leave a line of a listing open."""

_SOURCES, _DESTINATIONS = "the labels of the sources' namespaces", "the labels of the destinations' namespaces"


class Settled(Struct, frozen=True):
    """What a pair of classes depends on, "" for nothing, and its ports as `outcomes` tells them."""

    why: str
    rests_on: tuple[Dependency, ...]
    outcomes: tuple[tuple[PortSet, str], ...]

    @property
    def meaning(self) -> object:
        """What a listing says of the pair."""
        return self.why, self.outcomes


def outcomes(extents: Mapping[Family, Extent], why: str) -> Iterator[tuple[PortSet, str]]:
    """Yield the ports that are surely allowed, allowed in one family only, and open."""
    if not extents:
        return
    surely, anywhere, maybe = PortSet.ALL, PortSet.EMPTY, PortSet.EMPTY
    for found in extents.values():
        surely &= found.low
        anywhere |= found.low
        maybe |= found.high
    if surely:
        yield surely, ""
    for family, found in extents.items():
        if found.low - surely:
            yield found.low - surely, f"IPv{family} only"
    if maybe - anywhere:
        yield maybe - anywhere, f"depends on {why}"


class Doubts:
    """The pairs of a listing of which the two bounds do not say all."""

    def __init__(self, view: View, reach: Reach) -> None:
        """Ask about the classes of a view."""
        self._view = view
        self._reach = reach
        # A listing is about the policies that were read, and says beside itself that there are others.
        self._engine = view.engine.as_read()
        self._spaces = frozenset(reach.peers.unknown_spaces)
        self.scenarios = _scenarios(view, reach)
        self.widest = tuple(
            Scenario(family, Bound.OPTIMISTIC) for family in dict.fromkeys(s.family for s in self.scenarios)
        )
        self._likeness = Likeness(reach, view.index, self.scenarios)
        self._known: dict[object, Settled] = {}
        self._settled: dict[tuple[object, str, int], tuple[tuple[int, Settled], ...]] = {}
        self._options = tuple(
            name.replace("_", "-") for name in BOUND_OPTIONS if getattr(view.engine.options, name) == "depends"
        )
        self.unsure = self._unsure()
        self._met: dict[tuple[Matter, str], Dependency] = {}
        self._of_unknown_spaces = 0

    @property
    def unknown(self) -> tuple[Dependency, ...]:
        """What is not known that an answer depended on so far, in a stable order."""
        for name in self._view.index.namespaces_of(self._of_unknown_spaces) & self._spaces:
            self._meet(unknown.namespace_labels(name))
        return tuple(self._met[key] for key in sorted(self._met))

    def _unsure(self) -> int:
        """Return the classes of which it is not known which policies select them (semantics 13.3, 13.4)."""
        engine, index = self._view.engine, self._view.index
        found = 0
        for number, item in index.classes.items() if engine.world.is_open("Pod") else ():
            if any(map(is_unknown, item.labels.values())):
                found |= 1 << number
        if any(policy.subject.namespaces is not None for policy in engine.clusterwide):
            found |= union(map(index.in_namespace, self._spaces))
        return found

    def settled(self, destination: int, sources: int, bounds: Mapping[Family, Extent]) -> Iterable[tuple[int, Settled]]:
        """Return sources of a destination with how far they are allowed, those of which it is the same together.

        They have these `bounds`.
        """
        name = self._view.index.classes[destination].namespace
        here = self._view.index.in_namespace(name) if name in self._spaces else 0
        seen = destination if self.unsure >> destination & 1 else self._likeness.of_destination(destination)
        found: dict[object, tuple[int, Settled]] = {}
        # A namespace of unknown labels is one more thing that both ends may have in common.
        for part, space in ((sources & ~here, ""), (sources & here, name)):
            known = self._settled.get((seen, space, part)) if part else ()
            if known is None:
                known = self._settled[seen, space, part] = tuple(self._settle(destination, part, bounds))
            for bits, answer in known:
                if _DESTINATIONS in answer.why and here:
                    self._meet(unknown.namespace_labels(name))
                others, _ = found.get(answer.meaning, (0, answer))
                found[answer.meaning] = others | bits, answer
        return found.values()

    def _settle(self, destination: int, sources: int, bounds: Mapping[Family, Extent]) -> Iterable[tuple[int, Settled]]:
        found: dict[object, tuple[int, Settled]] = {}
        for alike in self._apart(destination, sources):
            answer = self._pair((alike & -alike).bit_length() - 1, destination, bounds)
            self._note(answer, alike)
            bits, _ = found.get(answer.meaning, (0, answer))
            found[answer.meaning] = (bits | alike, answer)
        return found.values()

    def _apart(self, destination: int, sources: int) -> Iterator[int]:
        """Yield sources in sets that one pair stands for."""
        alone = sources if self.unsure >> destination & 1 else sources & self.unsure
        yield from (1 << number for number in members(alone))
        if sources ^ alone:
            yield from self._likeness.apart(sources ^ alone, destination)

    def _pair(self, source: int, destination: int, bounds: Mapping[Family, Extent]) -> Settled:
        known: object = (source, destination)
        if not (self.unsure >> source | self.unsure >> destination) & 1:
            known = self._likeness.of_pair(source, destination)
        found = self._known.get(known)
        if found is None:
            found = self._known[known] = self._asked(source, destination, bounds)
        return found

    def _asked(self, source: int, destination: int, bounds: Mapping[Family, Extent]) -> Settled:
        pods = self._two(source, destination)
        # Of a pod that need not exist more is not known than labels.
        way = None if any(pod.is_supposed for pod in pods) else self._open_way(source, destination)
        rests: tuple[Dependency, ...]
        if way is None:
            one, other = ({end.family: end for end in self._engine.pod_ends(pod)} for pod in pods)
            families = sorted(one.keys() & other.keys())
            extents = {family: extent(self._engine, one[family], other[family]) for family in families}
            rests = tuple(item for found in extents.values() for item in found.rests_on)
        else:
            extents = dict(bounds)
            rests = (unknown.namespace_labels(pods[way is Direction.EGRESS].namespace),)
        sending = pods[0].namespace
        why = self._why(_word(item, sending) for item in rests)
        return Settled(why, rests, tuple(outcomes(extents, why)))

    def _open_way(self, source: int, destination: int) -> Direction | None:
        """Return the direction in which alone a pair of classes is open, if its bounds are reached; None if not.

        There the rules that may admit it ask for labels of the other end's namespace. Each of them can hold by itself,
        if it asks once for each label, and without labels none holds, if each asks for one that is there. Rules of
        cluster-wide policies may deny, and so are asked about one by one.
        """
        found: set[Direction] = set()
        if self._view.engine.clusterwide or self._options or (self.unsure >> source | self.unsure >> destination) & 1:
            return None
        for way, subject, peer in (
            (Direction.EGRESS, source, destination),
            (Direction.INGRESS, destination, source),
        ):
            for means in {grant.peer for grant in self._reach.grants(way, subject)}:
                states = {self._reach.peers.of(means, scenario) >> peer & 1 for scenario in self.scenarios}
                if len(states) == 1:
                    continue
                if not isinstance(means, Selection) or not _is_simple(means.namespaces):
                    return None
                found.add(way)
        return found.pop() if len(found) == 1 else None

    def _note(self, answer: Settled, sources: int) -> None:
        """Note what a pair depends on, by the names that it has for these sources."""
        for item in answer.rests_on:
            if item.what is Matter.NAMESPACE_LABELS:
                self._of_unknown_spaces |= sources if _SOURCES in answer.why else 0
            elif item.what is not Matter.ADDRESS:
                self._meet(replace(item, values=()))

    def _meet(self, item: Dependency) -> None:
        name = item.object if item.what is Matter.NAMESPACE_LABELS else item.text
        self._met.setdefault((item.what, name), item)

    def _why(self, words: Iterable[str]) -> str:
        told = sorted(set(words))
        return ", ".join((*told, *self._options))

    def _two(self, source: int, destination: int) -> tuple[Member, Member]:
        """Return a pod of each class, two different ones also if they are one class: a pod itself is not meant."""
        one = next(iter(self._view.index.classes[source].members.values()))
        others = self._view.index.classes[destination].members.values()
        twin = replace(one, key=Key(one.key.kind, one.namespace, ""))
        return one, next((other for other in others if other is not one), twin)

    # Addresses outside

    def outside(self, direction: Direction, number: int) -> tuple[AddressPartition, AddressPartition, str]:
        """Return the addresses that a class surely and perhaps exchanges connections with, by ports, and why."""
        member = next(iter(self._view.index.classes[number].members.values()))
        cuts = sorted(cuts_of(self._view.engine.policies_over(member.namespace)))
        low: AddressPartition = {}
        high: AddressPartition = {}
        words: list[str] = []
        for family in FAMILIES:
            end: End = PodEnd(member, None, family)
            for span in cut(AddressSet.of_family(family).spans, cuts):
                piece, other = AddressSet((span,)), AddressEnd(span[0])
                found = extent(self._engine, *direction.ordered(end, other), PortSet.ALL, (direction,))
                words += [item.text for item in found.rests_on]
                for ports, partition in ((found.low, low), (found.high, high)):
                    if ports:
                        partition[ports] = partition.get(ports, AddressSet.EMPTY) | piece
        return low, high, self._why(words)


def _is_simple(selector: Selector | None) -> bool:
    """Return whether a selector asks for a label that is there, and for none of its labels twice."""
    terms = selector.requirements if selector else ()
    asked = [term.key for term in terms if term.key != NAME_LABEL]
    return len(set(asked)) == len(asked) and any(
        term.operator in ("In", "Exists") for term in terms if term.key != NAME_LABEL
    )


def _word(item: Dependency, sending: str) -> str:
    """Return what a line depends on; both of its ends are on the line, and so it does not name them again."""
    if item.what is Matter.NAMESPACE_LABELS:
        return _SOURCES if item.object == sending else _DESTINATIONS
    return "the addresses of the pods" if item.what is Matter.ADDRESS else item.text


def _scenarios(view: View, reach: Reach) -> tuple[Scenario, ...]:
    families: set[Family] = set(view.index.families())
    if view.index.unaddressed or not families:
        families.update(view.engine.assumed_families())
    uncertain = any(getattr(view.engine.options, name) == "depends" for name in BOUND_OPTIONS)
    uncertain |= bool(reach.peers.unknown_spaces or (view.index.unaddressed and view.engine.world.is_open("Pod")))
    bounds = (Bound.PESSIMISTIC, Bound.OPTIMISTIC) if uncertain else (Bound.PESSIMISTIC,)
    return tuple(Scenario(family, bound) for family in sorted(families) for bound in bounds)
