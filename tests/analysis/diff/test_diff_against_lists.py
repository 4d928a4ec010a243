# SPDX-License-Identifier: Apache-2.0
"""What is reported between parts of clusters is the difference of their two lists, also where these leave it open."""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

import podfence
from podfence.analysis.diff.answer import AbsentChange
from podfence.api import Cluster
from podfence.cluster.state import ClusterState
from podfence.kube.objects import NetworkPolicy, Node, Pod
from podfence.policy.options import Options
from podfence.sets.ports import OTHER_POINT, PortSet, point
from tests.analysis.diff.undoing import undone
from tests.twin import boundaries
from tests.twin.effort import part
from tests.twin.partial import partial_cluster

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.analysis.answers import Endpoints, Ports
    from podfence.kube.objects import KubeObject

DENIED: Final = "denied"
network = functools.cache(ipaddress.ip_network)
SEEDS: Final = 12
EACH: Final = part(100)


def changed(objects: list[KubeObject], random: Random, seed: int) -> list[KubeObject]:
    """Return objects of which some are gone, and some are as they are in another cluster."""
    found = {item.key: item for item in objects if random.random() < 0.85}
    others = [item for item in partial_cluster(seed) if random.random() < 0.3]
    found.update((item.key, item) for item in others)
    return list(found.values())


def loaded(objects: list[KubeObject]) -> Cluster:
    return Cluster(ClusterState(objects), Options())


def points(ports: Ports) -> PortSet:
    if ports.everything:
        return PortSet.ALL
    return PortSet.union(
        PortSet.OTHER if item.first is None or item.last is None else PortSet.of(item.protocol, item.first, item.last)
        for item in ports.ranges
    )


def names(cluster: Cluster) -> dict[str, bool]:
    """Return what lists name, and whether each is one pod."""
    return {
        member.name: member.pod is not None
        for member in cluster.state.members.values()
        if cluster.model.index.class_of(member.key) is not None
    }


def listed(cluster: Cluster) -> dict[tuple[str, str], list[tuple[PortSet, str]]]:
    """Return the connections between pods; those with addresses are asked by `with_address`."""
    found = defaultdict(list)
    for item in cluster.pod_connections():
        found[item.source, item.destination].append((points(item.ports), item.depends))
    return found


def said(lines: Iterable[tuple[PortSet, str]], asked: int) -> str:
    return next((text for ports, text in lines if asked in ports), DENIED)


def told(text: str) -> str:
    """Return what a difference calls a state."""
    if text == DENIED:
        return text
    return f"allowed on {text}" if text.endswith(" only") else text or "allowed"


def is_unlike(one: str, other: str) -> bool:
    """Return whether it is a change to go from one state to another; what they depend on is none."""
    return one != other and not (one.startswith("depends") and other.startswith("depends"))


def means(ends: Endpoints, name: str) -> bool:
    whole = ends.everything or ends.all_pods or name.partition("/")[0] in ends.namespaces
    return whole or name in [item.partition("[")[0] for item in ends.workloads]


def holds(ends: Endpoints, text: str) -> bool:
    address = network(text)[0]
    return ends.everything or ends.all_addresses or any(
        address in network(block.cidr) and not any(address in network(n) for n in block.excepts) for block in ends.addresses
    )  # fmt: skip


@pytest.mark.parametrize("start", range(0, SEEDS * EACH, EACH))
def test_a_difference_is_that_of_the_two_lists(start: int) -> None:
    for seed in range(start, start + EACH):
        random = Random(seed)
        before = partial_cluster(seed)
        after = changed(before, random, seed + 10_000)
        compare(before, after, seed)


def compare(before: list[KubeObject], after: list[KubeObject], seed: int) -> None:
    both = [*before, *after]
    old, new = loaded(before), loaded(after)
    difference = podfence.diff(old, new)
    there = names(old), names(new)
    lists = listed(old), listed(new)
    asked = [
        OTHER_POINT if traffic.port is None else point(traffic.protocol, traffic.port)
        for traffic in boundaries.traffic(both)
    ]
    owned = {text for item in both if isinstance(item, Pod | Node) for text in item.addresses}
    outside = [text for text in boundaries.addresses(both) if text not in owned]
    every = dict.fromkeys((*there[0], *there[1]))
    for one in every:
        for other in (*every, *outside):
            for ends in ((one, other), (other, one)) if other in outside else ((one, other),):
                pods = [end for end in ends if end in every]
                sides = [all(end in known for end in pods) for known in there]
                if not any(sides) or (one == other and all(side.get(one, True) for side in there)):
                    continue
                kind = "kept" if all(sides) else "added" if sides[1] else "removed"
                found = [
                    item
                    for item in difference.connections
                    if item.ends == kind
                    and all(
                        means(side, end) if end in every else holds(side, end)
                        for side, end in zip((item.sources, item.destinations), ends, strict=True)
                    )
                ]
                tables = [lines_of(lists[side], ends, every) if sides[side] else [] for side in (0, 1)]
                for place in asked:
                    states = [said(table, place) for table in tables]
                    reported = [item for item in found if place in points(item.ports)]
                    assert bool(reported) == is_unlike(*states), (seed, ends, place, states, reported)
                    for item in reported:
                        shown = [
                            told(state) if side else "does not exist" for side, state in zip(sides, states, strict=True)
                        ]
                        assert [item.before.split(" ")[0], item.after.split(" ")[0]] == [
                            text.split(" ")[0] for text in shown
                        ]


def lines_of(
    table: dict[tuple[str, str], list[tuple[PortSet, str]]], ends: tuple[str, str], pods: Iterable[str]
) -> list[tuple[PortSet, str]]:
    """Return what a list says of two ends, of which one may be an address in one of its blocks."""
    if all(end in pods for end in ends):
        return table.get(ends, [])
    return [
        line
        for names, lines in table.items()
        if all(name == end or is_in(end, name) for name, end in zip(names, ends, strict=True))
        for line in lines
    ]


def is_in(text: str, block: str) -> bool:
    if "/" not in block or not (block[0].isdigit() or ":" in block) or not (text[0].isdigit() or ":" in text):
        return False
    return network(text)[0] in network(block)


@pytest.mark.parametrize("start", range(0, SEEDS * EACH, 4 * EACH))
def test_to_undo_a_cause_undoes_what_is_known_of_it(start: int) -> None:
    for seed in range(start, start + EACH):
        before = partial_cluster(seed)
        undo(before, changed(before, Random(seed), seed + 10_000), seed)


@pytest.mark.parametrize("start", range(0, SEEDS * EACH, 4 * EACH))
def test_where_policies_say_the_same_it_takes_all_of_their_changes(start: int) -> None:
    for seed in range(start, start + EACH):
        random = Random(seed)
        objects = partial_cluster(seed)
        policies = [item for item in objects if isinstance(item, NetworkPolicy)]
        policies += [msgspec.structs.replace(item, name=f"{item.name}-again") for item in policies]
        others = [item for item in objects if not isinstance(item, NetworkPolicy)]
        before, after = ([*others, *(item for item in policies if random.random() < 0.5)] for _ in range(2))
        undo(before, after, seed)


def undo(before: list[KubeObject], after: list[KubeObject], seed: int) -> None:
    """Undo each cause of each change, or all that are causes together, and ask whether it is as in OLD again."""
    old, new = loaded(before), loaded(after)
    kept = names(old).keys() & names(new).keys()
    earlier = listed(old)
    for item in podfence.diff(old, new).changes:
        if item.ends != "kept":
            continue
        assert item.causes
        for causes in [item.causes] if item.joint else [[cause] for cause in item.causes]:
            objects = undone(before, after, causes)
            if objects is None:
                continue
            now = loaded(objects)
            if isinstance(item, AbsentChange):
                left = [other for other in podfence.diff(old, now).absent if is_about(other, item, kept)]
                assert left == [], (seed, item, causes)
                continue
            lists = earlier, listed(now)
            first = points(item.ports).spans[0][0]
            sources, destinations = (
                list(filter(functools.partial(means, side), kept)) for side in (item.sources, item.destinations)
            )
            for ends in itertools.product(sources, destinations):
                if ends[0] != ends[1]:
                    states = [said(table.get(ends, []), first) for table in lists]
                    assert not is_unlike(*states), (seed, ends, item, causes, states)


def is_about(one: AbsentChange, other: AbsentChange, kept: Iterable[str]) -> bool:
    """Return whether two changes have a pod, its peers and a port in common."""
    a, b = one.connection, other.connection
    alike = (one.change, one.ends, a.direction, a.peers) == (other.change, other.ends, b.direction, b.peers)
    ports = points(a.ports) & points(b.ports) or {*a.port_names} & {*b.port_names}
    return alike and bool(ports) and any(means(a.subjects, name) and means(b.subjects, name) for name in kept)
