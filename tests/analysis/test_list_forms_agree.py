# SPDX-License-Identifier: Apache-2.0
"""The listing by sets and the listing by pods are the same connections of random clusters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import example, given

from podfence.analysis.answers import Endpoints
from podfence.api import Cluster
from podfence.policy.options import Options
from podfence.policy.verdict import Direction
from tests.twin import strategies, supposed
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.answers import Connectivity
    from podfence.kube.objects import KubeObject

Line = tuple[str, str, str, str]


class Expansion:
    """What the sets of an answer stand for; in clusters of bare pods a workload is a pod."""

    def __init__(self, answer: Connectivity, pods: set[str], several: set[str]) -> None:
        """`several` are those of the `pods` that stand for more than one."""
        self.answer = answer
        self.pods = pods
        self.several = several
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
                    if with_itself or source != destination or source in self.several:
                        yield source, destination, str(item.ports), item.depends
        for peer in self.answer.absent:
            for name in set(self.names(peer.subjects, Endpoints())):
                ends = (name, str(peer.peers)) if peer.direction is Direction.EGRESS else (str(peer.peers), name)
                yield *ends, peer.ports_text, peer.depends


@tried(150)
@given(objects=supposed.clusters(), options=strategies.options())
@example(objects=supposed.FINISHED_ONLY, options=Options())
@example(objects=supposed.FINISHED_ONLY, options=Options.parse(["icmp=portless"]))
def test_the_sets_listed_stand_for_the_pods_listed(objects: list[KubeObject], options: Options) -> None:
    cluster = Cluster.from_objects(objects, options.with_value("world", "open"))
    judged = options.self_traffic == "policy"
    several = supposed.supposed_pods(objects, options)
    pods = several | {f"{item.namespace}/{item.name}" for item in (m.key for m in cluster.state.members.values())}
    if options.host_network == "node":
        pods -= {f"{m.key.namespace}/{m.key.name}" for m in cluster.state.members.values() if m.host}
    by_pods = ((item.source, item.destination, item.ports_text, item.depends) for item in cluster.pod_connections())
    by_sets = Expansion(cluster.connectivity(), pods, several).lines(with_itself=judged)

    assert told(by_sets, pods) == told(by_pods, pods)


def told(lines: Iterable[Line], pods: set[str]) -> Counter[Line]:
    """Return how often each connection is told; with the outside, whose blocks differ, only whether it is."""
    found: Counter[Line] = Counter()
    for source, destination, ports, depends in lines:
        here, there = (
            end if end in pods or end.endswith("(none here)") else "outside" for end in (source, destination)
        )
        line = (here, there, ports, depends)
        found[line] = 1 if "outside" in line else found[line] + 1
    return found
