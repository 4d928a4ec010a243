# SPDX-License-Identifier: Apache-2.0
"""The listing of random clusters says of every pair and port what the slow twin says."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given

from podfence.api import Cluster
from podfence.cluster.members import FINISHED_PHASES
from podfence.kube.objects import KubeObject, Node, Pod
from tests.twin import boundaries, strategies
from tests.twin.effort import tried
from tests.twin.question import AddressEnd, Answer, PodEnd, Traffic
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from podfence.analysis.answers import PodConnection, Ports
    from podfence.policy.options import Options

MANY = tried(200)


def holds(ports: Ports, traffic: Traffic) -> bool:
    if ports.everything:
        return True
    for item in ports.ranges:
        if traffic.port is None and item.protocol == "other":
            return True
        if item.protocol == traffic.protocol and item.first is not None and item.last is not None:
            assert traffic.port is not None
            if item.first <= traffic.port <= item.last:
                return True
    return False


def is_block(name: str) -> bool:
    return name[0].isdigit() or ":" in name


def listed(connections: list[PodConnection], traffic: Traffic) -> Answer:
    """Return what lines between two ends say of one port; a line with a doubt says maybe."""
    found = [item.depends for item in connections if holds(item.ports, traffic)]
    assert len(found) <= 1, "a pair and a port are in one line at most"
    if not found:
        return Answer.NO
    return Answer.MAYBE if found[0] else Answer.YES


def judged_pods(objects: list[KubeObject], options: Options) -> list[Pod]:
    last = {item.key: item for item in objects}
    return [
        item
        for item in last.values()
        if isinstance(item, Pod)
        and item.phase not in FINISHED_PHASES
        and not (item.template.host_network and options.host_network == "node")
    ]


@MANY
@given(objects=strategies.clusters(), options=strategies.options())
def test_pods_listed_as_connected_are_those_the_twin_connects(objects: list[KubeObject], options: Options) -> None:
    twin = Twin(objects, options)
    pods = judged_pods(objects, options)
    found: dict[tuple[str, str], list[PodConnection]] = defaultdict(list)
    for item in Cluster.from_objects(objects, options).pod_connections():
        found[item.source, item.destination].append(item)
    for one in pods:
        for other in pods:
            source, destination = (PodEnd(pod.namespace, pod.name) for pod in (one, other))
            # A pod's access to itself is not listed; pods without a common family have nothing to list.
            if one is other or not twin.share_family(source, destination):
                continue
            lines = found[f"{one.namespace}/{one.name}", f"{other.namespace}/{other.name}"]
            for traffic in boundaries.traffic(objects):
                assert listed(lines, traffic) == twin.allowed(source, destination, traffic), (one, other, traffic)


@MANY
@given(objects=strategies.clusters(), options=strategies.options())
def test_addresses_listed_as_connected_are_those_the_twin_connects(objects: list[KubeObject], options: Options) -> None:
    twin = Twin(objects, options)
    inward: dict[str, list[PodConnection]] = defaultdict(list)
    outward: dict[str, list[PodConnection]] = defaultdict(list)
    for item in Cluster.from_objects(objects, options).pod_connections():
        if is_block(item.source):
            inward[item.destination].append(item)
        elif is_block(item.destination):
            outward[item.source].append(item)
    pods = judged_pods(objects, options)
    owned = {address for item in objects if isinstance(item, Pod | Node) for address in item.addresses}
    for text in boundaries.addresses(objects):
        address = ipaddress.ip_address(text)
        if text in owned or address.is_loopback:
            continue
        end = AddressEnd(text)
        for pod in pods:
            name, place = f"{pod.namespace}/{pod.name}", PodEnd(pod.namespace, pod.name)
            if not twin.share_family(place, end):
                continue
            into = [item for item in inward[name] if address in ipaddress.ip_network(item.source)]
            out = [item for item in outward[name] if address in ipaddress.ip_network(item.destination)]
            for traffic in boundaries.traffic(objects):
                assert listed(into, traffic) == twin.allowed(end, place, traffic), (text, name, traffic)
                assert listed(out, traffic) == twin.allowed(place, end, traffic), (name, text, traffic)
