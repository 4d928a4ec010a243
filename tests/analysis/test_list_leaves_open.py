# SPDX-License-Identifier: Apache-2.0
"""What options leave open is listed as such: surely allowed, depending, or not at all, as for single connections."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from itertools import permutations
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from podfence.analysis.pairs import pairs
from podfence.analysis.parsing import parse_endpoint
from podfence.api import Cluster
from podfence.cluster.state import ClusterState
from podfence.kube.load import Loaded
from podfence.kube.omissions import Gap
from podfence.policy.extent import extent
from podfence.sets.ports import OTHER_POINT, PortSet, point
from tests.twin import boundaries, strategies
from tests.twin.effort import part, tried
from tests.twin.partial import partial_cluster
from tests.twin.question import PodEnd
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from podfence.analysis.answers import PodConnection, Ports
    from podfence.kube.objects import KubeObject
    from podfence.policy.options import Options

LEFT_OPEN = (("icmp", "depends"), ("ip_block_pods", "depends"), ("world", "open"))


@st.composite
def open_options(draw: st.DrawFn) -> Options:
    """Return options of which some that concern the listing are left open."""
    options = draw(strategies.options())
    for name, value in draw(st.lists(st.sampled_from(LEFT_OPEN), min_size=1, unique=True)):
        options = options.with_value(name, value)
    return options


def gaps() -> st.SearchStrategy[tuple[Gap, ...]]:
    """Return places where policies may lie that nobody has read, mostly none."""
    everywhere, here = Gap("a.yaml"), Gap("b.yaml", "", frozenset({strategies.NAMESPACES[0]}))
    return st.sampled_from(
        ((), (), (everywhere,), (here,), (here, Gap("c.yaml", "", frozenset({strategies.NAMESPACES[1], "none"}))))
    )


def loaded(objects: list[KubeObject], options: Options, unread: tuple[Gap, ...]) -> Cluster:
    return Cluster(ClusterState(objects), options, read=Loaded((), (), {}, gaps=unread))


def points(ports: Ports) -> PortSet:
    if ports.everything:
        return PortSet.ALL
    result = PortSet.EMPTY
    for item in ports.ranges:
        if item.first is None or item.last is None:
            result |= PortSet.OTHER
        else:
            result |= PortSet.of(item.protocol, item.first, item.last)
    return result


def asked(objects: list[KubeObject]) -> list[int]:
    return [
        OTHER_POINT if traffic.port is None else point(traffic.protocol, traffic.port)
        for traffic in boundaries.traffic(objects)
    ]


def judged(cluster: Cluster, source: str, destination: str) -> tuple[list[PortSet], list[PortSet]]:
    """Return the ports surely and possibly allowed, for each pair of addresses of the two ends."""
    engine = cluster.model.engine
    ends = (parse_endpoint(cluster.state, text, "default") for text in (source, destination))
    found = pairs(engine, *ends)
    extents = [extent(engine, pair.source, pair.destination) for pair in found]
    return [item.low for item in extents], [item.high for item in extents]


def word(lines: list[PodConnection], at: int) -> str:
    found = [item.depends for item in lines if at in points(item.ports)]
    return "denied" if not found else "depends" if found[0] else "allowed"


def expected(low: list[PortSet], high: list[PortSet], at: int) -> str:
    if all(at in ports for ports in low):
        return "allowed"
    return "depends" if any(at in ports for ports in high) else "denied"


@tried(100)
@given(objects=strategies.clusters(), options=open_options(), unread=gaps())
def test_what_is_open_between_pods_is_listed_as_open(
    objects: list[KubeObject], options: Options, unread: tuple[Gap, ...]
) -> None:
    cluster = loaded(objects, options, unread)
    twin = Twin(objects, options.with_value("icmp", "portless"))
    found: dict[tuple[str, str], list[PodConnection]] = defaultdict(list)
    for item in cluster.pod_connections():
        found[item.source, item.destination].append(item)
    members = [m for m in cluster.state.members.values() if not (m.host and options.host_network == "node")]
    for one in members:
        for other in members:
            ends = [PodEnd(member.key.namespace, member.key.name) for member in (one, other)]
            if one is other or not twin.share_family(*ends):
                continue
            low, high = judged(cluster, *(f"{m.key.namespace}/po/{m.key.name}" for m in (one, other)))
            lines = found[one.name, other.name]
            for at in asked(objects):
                assert word(lines, at) == expected(low, high, at), (one.name, other.name, at)


@tried(100)
@given(objects=strategies.clusters(), options=open_options(), unread=gaps())
def test_what_is_open_towards_the_outside_is_listed_as_open(
    objects: list[KubeObject], options: Options, unread: tuple[Gap, ...]
) -> None:
    cluster = loaded(objects, options, unread)
    outward: dict[str, list[PodConnection]] = defaultdict(list)
    for item in cluster.pod_connections(destination="203.0.113.0/24"):
        outward[item.source].append(item)
    for member in cluster.state.members.values():
        if (member.host and options.host_network == "node") or not any(a < 1 << 32 for a in member.addresses):
            continue
        for text in ("203.0.113.1", "203.0.113.99"):
            low, high = judged(cluster, f"{member.key.namespace}/po/{member.key.name}", text)
            lines = [
                item
                for item in outward[member.name]
                if ipaddress.ip_address(text) in ipaddress.ip_network(item.destination)
            ]
            for at in asked(objects):
                assert word(lines, at) == expected(low, high, at), (member.name, text, at)


def test_a_part_of_a_cluster_is_listed_as_open_where_single_connections_are() -> None:
    """Most of its namespaces have labels that nobody knows, and rules ask for them with every operator."""
    seen: Counter[str] = Counter()
    for seed in range(part(300)):
        cluster = Cluster.from_objects(partial_cluster(seed))
        found: dict[tuple[str, str], list[PodConnection]] = defaultdict(list)
        for item in cluster.pod_connections():
            found[item.source, item.destination].append(item)
        members = [member for member in cluster.state.members.values() if not member.host]
        for one, other in permutations(members, 2):
            low, high = judged(cluster, one.name, other.name)
            for at in (point("TCP", 80), point("TCP", 81), OTHER_POINT):
                wanted = expected(low, high, at)
                assert word(found[one.name, other.name], at) == wanted, (seed, one.name, other.name, at)
                seen[wanted] += 1
    assert seen["depends"] > 20, seen
