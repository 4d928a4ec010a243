# SPDX-License-Identifier: Apache-2.0
"""The listing by sets and the listing by pods are the same connections of random clusters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given

from podfence.analysis.answers import Endpoints
from podfence.api import Cluster
from podfence.policy.verdict import Direction
from tests.twin import strategies
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.answers import Connectivity
    from podfence.kube.objects import KubeObject
    from podfence.policy.options import Options

Line = tuple[str, str, str, str]


class Expansion:
    """What the sets of an answer stand for; in clusters of bare pods a workload is a pod."""

    def __init__(self, answer: Connectivity, pods: set[str]) -> None:
        self.answer = answer
        self.pods = pods
        self.groups = {group.name: group.members for group in answer.groups}

    def names(self, side: Endpoints, opened: Endpoints) -> Iterator[str]:
        if side.everything or side.all_pods:
            yield from self.pods
        if side.everything or side.all_addresses:
            yield "outside"
        if side.open_pods:
            yield from self.names(opened, opened)
        for name in side.namespaces:
            yield from (pod for pod in self.pods if pod.startswith(f"{name}/"))
        for name in side.groups:
            yield from self.names(self.groups[name], opened)
        yield from side.workloads
        yield from (str(block) for block in side.addresses)

    def lines(self, *, with_itself: bool) -> Iterator[Line]:
        """Yield the single connections; a pod's access to itself only if it is judged (semantics 7.1)."""
        for item in self.answer:
            for source in set(self.names(item.sources, self.answer.open_sources)):
                for destination in set(self.names(item.destinations, self.answer.open_destinations)):
                    if with_itself or source != destination:
                        yield source, destination, str(item.ports), item.depends
        for peer in self.answer.absent:
            for name in set(self.names(peer.subjects, Endpoints())):
                ends = (name, str(peer.peers)) if peer.direction is Direction.EGRESS else (str(peer.peers), name)
                yield *ends, peer.ports_text, peer.depends


def outside(text: str) -> bool:
    return text[0].isdigit() or ":" in text


@tried(150)
@given(objects=strategies.clusters(), options=strategies.options())
def test_the_sets_listed_stand_for_the_pods_listed(objects: list[KubeObject], options: Options) -> None:
    cluster = Cluster.from_objects(objects, options.with_value("world", "open"))
    judged = options.self_traffic == "policy"
    by_pods: Counter[Line] = Counter()
    linked_outside: set[Line] = set()
    for item in cluster.pod_connections():
        line = (item.source, item.destination, item.ports_text, item.depends)
        if outside(item.source) or outside(item.destination):
            linked_outside.add(tuple("x" if outside(end) else end for end in line[:2]) + line[2:])  # type: ignore[arg-type]
        else:
            by_pods[line] += 1
    pods = {f"{item.namespace}/{item.name}" for item in (m.key for m in cluster.state.members.values())}
    hosts = {f"{m.key.namespace}/{m.key.name}" for m in cluster.state.members.values() if m.host}
    if options.host_network == "node":
        pods -= hosts
    by_sets: Counter[Line] = Counter()
    for source, destination, ports, depends in Expansion(cluster.connectivity(), pods).lines(with_itself=judged):
        ends = [end if end in pods or end.endswith("(none here)") else "x" for end in (source, destination)]
        if "x" in ends:
            linked_outside.discard((ends[0], ends[1], ports, depends))
        else:
            by_sets[source, destination, ports, depends] += 1

    assert by_sets == by_pods
    assert not linked_outside, "the listing by pods has connections with the outside that the sets have not"
