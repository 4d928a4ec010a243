# SPDX-License-Identifier: Apache-2.0
"""Packets on a real cluster pass exactly where the engine says so."""

from __future__ import annotations

import os
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.cluster.state import Event, EventType
from podfence.kube.objects import NetworkPolicy
from podfence.lab.processes.probing import Probe
from tests.kubernetes.packets import doors
from tests.kubernetes.packets.changes import Changes
from tests.kubernetes.packets.comparing import address_of, compare, load, spots, told
from tests.kubernetes.packets.places import Spot

if TYPE_CHECKING:
    from tests.kubernetes.packets.barrier import Barrier
    from tests.kubernetes.packets.fixture import Town
    from tests.kubernetes.packets.places import Servers

CHANGES = int(os.environ.get("PODFENCE_CHANGES", "50"))
SEED = int(os.environ.get("PODFENCE_SEED", "0")) or Random().randrange(1, 1 << 30)
OUTSIDE = ("203.0.113.9", "203.0.113.200", "198.51.100.7", "198.51.100.200", "192.0.2.1")


@pytest.fixture(autouse=True)
def all_delivered(barrier: Barrier) -> None:
    barrier.pass_through()


def test_every_pair_of_pods_nodes_and_addresses_outside_is_as_the_engine_says(
    town: Town, servers: Servers, barrier: Barrier
) -> None:
    found = compare(town, servers, barrier)
    assert found.holds, told(found)
    expected = {trial.expected for trial in found.trials}
    assert expected == {"allowed", "denied"}
    assert found.tried > 5000


def test_a_policy_that_is_not_in_the_cluster_is_noticed(town: Town, servers: Servers, barrier: Barrier) -> None:
    cluster = load(town.bed, town.namespaces)
    cluster.apply(Event(EventType.ADDED, NetworkPolicy(namespace="verify-e", name="closed")))
    found = compare(town, servers, barrier, cluster)
    assert {trial.destination.partition("/")[0] for trial in found.differences} - {
        f"node:{node.name}"
        for node in town.nodes  # at the NodePort that leads there
    } == {"verify-e"}
    assert {trial.expected for trial in found.differences} == {"denied"}


def test_pods_are_reached_from_their_own_node_at_every_address_it_has(town: Town, servers: Servers) -> None:
    cluster = load(town.bed, town.namespaces)
    for node in town.nodes:
        own = [member for member in cluster.state.members.values() if member.node == node.name and not member.host]
        probes = [Probe("tcp", "", address_of(member), 80) for member in own]
        outcomes = servers.probe(Spot(node.name, ""), probes)
        assert dict(zip([member.name for member in own], outcomes, strict=True)) == {
            member.name: "open" for member in own
        }


def test_services_let_each_client_to_those_backends_that_the_engine_allows(town: Town, servers: Servers) -> None:
    cluster = load(town.bed, town.namespaces)
    found = list(doors.services(cluster, spots(cluster, servers)))
    assert {bool(door.open) for door in found} == {True, False}
    assert {bool(door.open) for door in found if "nobody" in door.name} == {False}
    for door in found:
        source, _, rest = door.name.partition(" -> ")
        service, protocol, port = rest.split()
        space, name = source.split("/")
        verdict = cluster.check(f"{space}/po/{name}", service, f"{port}/{protocol.lower()}")
        assert verdict.decision == doors.verdict_of(cluster, door), str(verdict)
    assert doors.differences(servers, found) == []


def test_node_ports_let_each_client_to_those_backends_that_the_engine_allows(town: Town, servers: Servers) -> None:
    cluster = load(town.bed, town.namespaces)
    found = list(doors.node_ports(cluster, spots(cluster, servers), town.nodes, OUTSIDE))
    assert {bool(door.open) for door in found} == {True, False}
    assert doors.differences(servers, found) == []


def test_after_each_of_many_random_changes_packets_are_as_the_engine_says(
    town: Town, servers: Servers, barrier: Barrier
) -> None:
    sys.stdout.write(f"PODFENCE_SEED={SEED} repeats these changes\n")
    changes = Changes(Random(SEED), town)
    for number in range(1, CHANGES + 1):
        what = changes.one()
        seconds = barrier.pass_through()
        found = compare(town, servers, barrier)
        sys.stdout.write(f"{number}: {what}: enforced within {seconds:.2f} s, {found.tried} connections\n")
        assert found.holds, f"seed {SEED}, change {number} ({what})\n{told(found)}"


def test_services_and_node_ports_are_as_the_engine_says_after_all_changes(town: Town, servers: Servers) -> None:
    cluster = load(town.bed, town.namespaces)
    where = spots(cluster, servers)
    assert (
        doors.differences(
            servers, [*doors.services(cluster, where), *doors.node_ports(cluster, where, town.nodes, OUTSIDE)]
        )
        == []
    )
