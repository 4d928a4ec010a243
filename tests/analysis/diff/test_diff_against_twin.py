# SPDX-License-Identifier: Apache-2.0
"""What is reported between random clusters is what the slow twin says: applied to OLD's connections it gives NEW's."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

import podfence
from podfence.api import Cluster
from podfence.cluster.members import FINISHED_PHASES
from podfence.kube.objects import KubeObject, Node, Pod
from podfence.policy.options import Options
from tests.analysis.diff.undoing import undone
from tests.twin import boundaries, strategies
from tests.twin.effort import tried
from tests.twin.question import AddressEnd, Answer, PodEnd, Traffic
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from podfence.analysis.answers import Endpoints, Ports
    from podfence.analysis.diff.answer import ConnectionChange, Difference

MANY: Final = tried(200)

ANSWERS: Final = {"allowed": Answer.YES, "denied": Answer.NO, "does not exist": Answer.NO}
MIRRORED: Final = {"opened": "closed", "closed": "opened", "unknown": "known", "known": "unknown"}


class Case(NamedTuple):
    """Two clusters with the same options."""

    old: list[KubeObject]
    new: list[KubeObject]
    options: Options


@st.composite
def cases(draw: st.DrawFn) -> Case:
    old = draw(strategies.clusters())
    history = draw(strategies.events(old, max_size=4))
    return Case(old, strategies.replay(old, history), draw(strategies.options()))


def diff(case: Case) -> Difference:
    return podfence.diff(*(Cluster.from_objects(objects, case.options) for objects in (case.old, case.new)))


def pods_of(objects: Sequence[KubeObject], options: Options) -> dict[str, Pod]:
    return {
        f"{item.namespace}/{item.name}": item
        for item in objects
        if isinstance(item, Pod)
        and item.phase not in FINISHED_PHASES
        and not (item.template.host_network and options.host_network == "node")
    }


def has_port(ports: Ports, traffic: Traffic) -> bool:
    if ports.everything:
        return True
    return any(
        item.protocol == "other"
        if traffic.port is None
        else item.protocol == traffic.protocol and (item.first or 0) <= traffic.port <= (item.last or 0)
        for item in ports.ranges
    )


def has_pod(ends: Endpoints, name: str) -> bool:
    return (
        ends.everything
        or ends.all_pods
        or name.partition("/")[0] in ends.namespaces
        or name in [item.partition("[")[0] for item in ends.workloads]
    )


def has_address(ends: Endpoints, text: str) -> bool:
    if ends.everything or ends.all_addresses:
        return True
    address = ipaddress.ip_address(text)
    return any(
        address in ipaddress.ip_network(block.cidr)
        and not any(address in ipaddress.ip_network(n) for n in block.excepts)
        for block in ends.addresses
    )


class Reported:
    """What a difference says of single connections."""

    def __init__(self, case: Case) -> None:
        self.old = pods_of(case.old, case.options)
        self.new = pods_of(case.new, case.options)
        self.difference = diff(case)

    def kind(self, *names: str) -> str:
        """Return on which sides the ends are: kept, added or removed."""
        if all(name in self.old and name in self.new for name in names):
            return "kept"
        return "added" if all(name in self.new for name in names) else "removed"

    def of_pods(self, source: str, destination: str, traffic: Traffic) -> list[ConnectionChange]:
        return [
            item
            for item in self.difference.connections
            if item.ends == self.kind(source, destination)
            and has_pod(item.sources, source)
            and has_pod(item.destinations, destination)
            and has_port(item.ports, traffic)
        ]

    def of_address(self, pod: str, address: str, traffic: Traffic, *, incoming: bool) -> list[ConnectionChange]:
        return [
            item
            for item in self.difference.connections
            if item.ends == self.kind(pod)
            and has_pod(item.destinations if incoming else item.sources, pod)
            and has_address(item.sources if incoming else item.destinations, address)
            and has_port(item.ports, traffic)
        ]


def before_and_after(changes: list[ConnectionChange], old: Answer, new: Answer) -> None:
    """Compare what is reported of one connection with what it is on both sides."""
    assert len(changes) <= 2, "a pair, a port and a family are in one change at most"
    assert len({item.family for item in changes}) == len(changes)
    for item in changes:
        assert ANSWERS.get(item.before, Answer.MAYBE) is old, item
        assert ANSWERS.get(item.after, Answer.MAYBE) is new, item
    assert changes or old is new


def pairs(case: Case) -> Iterator[tuple[str, str]]:
    """Yield the names of pods that are on one side together, a pod with itself left out."""
    for side in (case.old, case.new):
        names = pods_of(side, case.options)
        yield from ((one, other) for one in names for other in names if one != other)


def end(name: str) -> PodEnd:
    return PodEnd(*name.split("/"))


@MANY
@given(case=cases())
def test_reported_changes_between_pods_make_new_of_old(case: Case) -> None:
    reported = Reported(case)
    old, new = Twin(case.old, case.options), Twin(case.new, case.options)
    for one, other in dict.fromkeys(pairs(case)):
        there = [one in side and other in side for side in (reported.old, reported.new)]
        shares = [
            is_there and twin.share_family(end(one), end(other))
            for is_there, twin in zip(there, (old, new), strict=True)
        ]
        if shares != there:
            continue
        for traffic in boundaries.traffic([*case.old, *case.new]):
            answers = [
                twin.allowed(end(one), end(other), traffic) if is_there else Answer.NO
                for is_there, twin in zip(there, (old, new), strict=True)
            ]
            before_and_after(reported.of_pods(one, other, traffic), *answers)


@MANY
@given(case=cases())
def test_reported_changes_with_addresses_make_new_of_old(case: Case) -> None:
    reported = Reported(case)
    both = [*case.old, *case.new]
    twins = Twin(case.old, case.options), Twin(case.new, case.options)
    owned = {address for item in both if isinstance(item, Pod | Node) for address in item.addresses}
    names = dict.fromkeys((*reported.old, *reported.new))
    for text in boundaries.addresses(both):
        if text in owned or ipaddress.ip_address(text).is_loopback:
            continue
        for name in names:
            sides = [
                twin if name in pods and twin.share_family(end(name), AddressEnd(text)) else None
                for twin, pods in zip(twins, (reported.old, reported.new), strict=True)
            ]
            if [side is not None for side in sides] != [name in pods for pods in (reported.old, reported.new)]:
                continue
            for traffic in boundaries.traffic(both):
                for incoming in (True, False):
                    one, other = (AddressEnd(text), end(name))[:: 1 if incoming else -1]
                    answers = [twin.allowed(one, other, traffic) if twin else Answer.NO for twin in sides]
                    changes = reported.of_address(name, text, traffic, incoming=incoming)
                    before_and_after(changes, *answers)


@MANY
@given(case=cases())
def test_the_way_back_is_the_mirror_of_the_way_there(case: Case) -> None:
    there, back = Reported(case), Reported(Case(case.new, case.old, case.options))
    for one, other in dict.fromkeys(pairs(case)):
        for traffic in boundaries.traffic([*case.old, *case.new]):
            found = [
                [(item.change, item.before, item.after, item.family) for item in side.of_pods(one, other, traffic)]
                for side in (there, back)
            ]
            assert sorted(found[0]) == sorted((MIRRORED[word], a, b, family) for word, b, a, family in found[1])
    swapped = {"added": "removed", "removed": "added"}
    objects = [
        sorted((item.kind, item.namespace, item.name, item.change) for item in side.difference.objects)
        for side in (there, back)
    ]
    assert objects[0] == [(*name, swapped.get(change, change)) for *name, change in objects[1]]


@tried(100)
@given(objects=strategies.clusters(), options=strategies.options())
def test_nothing_differs_from_itself(objects: list[KubeObject], options: Options) -> None:
    difference = diff(Case(objects, [msgspec.structs.replace(item) for item in objects], options))

    assert not difference
    assert (difference.changes, difference.objects) == ((), ())


@MANY
@given(case=cases())
def test_to_undo_a_cause_undoes_the_change(case: Case) -> None:
    reported = Reported(case)
    both = [*case.old, *case.new]
    old, new = Twin(case.old, case.options), Twin(case.new, case.options)
    ends: dict[str, PodEnd | AddressEnd] = {name: end(name) for name in reported.old if name in reported.new}
    owned = {address for item in both if isinstance(item, Pod | Node) for address in item.addresses}
    ends.update((text, AddressEnd(text)) for text in boundaries.addresses(both) if text not in owned)
    for item in reported.difference.connections:
        if item.ends != "kept":
            continue
        assert item.causes
        wanted = [traffic for traffic in boundaries.traffic(both) if has_port(item.ports, traffic)]
        for causes in [item.causes] if item.joint else [[cause] for cause in item.causes]:
            objects = undone(case.old, case.new, causes)
            assert objects is not None, "nothing differs but objects that can be undone"
            twin = Twin(objects, case.options)
            for one, other in meant(item, ends):
                if all(side.share_family(one, other) for side in (old, new, twin)):
                    for traffic in wanted:
                        now, before = (side.allowed(one, other, traffic) for side in (twin, old))
                        assert now is before, (item, causes, one, other, traffic)


def meant(
    item: ConnectionChange, ends: Mapping[str, PodEnd | AddressEnd]
) -> Iterator[tuple[PodEnd | AddressEnd, PodEnd | AddressEnd]]:
    """Yield the pairs of ends that a change is about, but for a pod with itself."""
    sides = [
        [name for name in ends if (has_pod if "/" in name else has_address)(side, name)]
        for side in (item.sources, item.destinations)
    ]
    for one in sides[0]:
        for other in sides[1]:
            if one != other and ("/" in one or "/" in other):
                yield ends[one], ends[other]
