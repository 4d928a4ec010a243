# SPDX-License-Identifier: Apache-2.0
"""What the engine says of the cluster as it is, beside what packets do."""

from __future__ import annotations

import io
import ipaddress
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

import podfence
from podfence.lab.verification.compare import verify
from podfence.lab.verification.result import verification
from podfence.sets import AddressSet
from podfence.sets.addresses import format_address
from tests.kubernetes.packets.barrier import spots_of
from tests.kubernetes.packets.fixture import apply, policy
from tests.kubernetes.packets.places import KubernetesProber

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podfence.cluster.members import Member
    from podfence.kube.objects import Key
    from podfence.lab.verification.result import Verification
    from tests.kubernetes.harness import Bed
    from tests.kubernetes.packets.barrier import Barrier
    from tests.kubernetes.packets.fixture import Town
    from tests.kubernetes.packets.places import Servers, Spot

_KINDS = "namespaces,nodes,pods,services,endpointslices,networkpolicies"
_LIFT = "verify-lift"


def load(bed: Bed, namespaces: Collection[str]) -> podfence.Cluster:
    """Return the engine's view of some namespaces and all nodes of the cluster as it is now.

    What a connection between two ends is does not depend on pods that are neither of them, nor on their policies.
    """
    dump = json.loads(bed.kubectl("get", _KINDS, "--all-namespaces", "-o", "json").stdout)
    dump["items"] = [
        item
        for item in dump["items"]
        if item["kind"] == "Node"
        or (item["metadata"]["name"] if item["kind"] == "Namespace" else item["metadata"]["namespace"]) in namespaces
    ]
    return podfence.load("-", stdin=io.BytesIO(json.dumps(dump).encode()))


def address_of(member: Member) -> str:
    """Return the IPv4 address of a pod."""
    return format_address(member.addresses[0]) if member.addresses else ""


def spots(cluster: podfence.Cluster, servers: Servers) -> dict[Key, Spot]:
    """Return where packets of each pod and node of a cluster are sent from."""
    members = cluster.state.members
    return spots_of({key: (m.node, address_of(m), m.host) for key, m in members.items()}, servers)


def reserved(town: Town) -> AddressSet:
    """Return the addresses that the world outside cannot have: of pods, nodes and Services."""
    found = AddressSet.EMPTY
    for node in town.nodes:
        found |= _around(node.pods.partition("/")[0], 16) | _around(node.address, 24)
    service = town.bed.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}").stdout
    return found | _around(service, 16)


def _around(address: str, bits: int) -> AddressSet:
    return AddressSet.cidr(str(ipaddress.ip_interface(f"{address}/{bits}").network))


def compare(town: Town, servers: Servers, barrier: Barrier, cluster: podfence.Cluster | None = None) -> Verification:
    """Compare packets with the engine, for every pair of groups of the town, its nodes and the world outside.

    The engine is asked about the cluster as it is now, unless another one is given.
    """
    cluster = cluster or load(town.bed, town.namespaces)
    prober = KubernetesProber(servers, spots(cluster, servers))
    engine = cluster.model.engine

    @contextmanager
    def lifted() -> Iterator[None]:
        everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
        apply(town.bed, [policy(space, _LIFT, everything) for space in town.namespaces])
        barrier.pass_through()
        try:
            yield
        finally:
            for space in town.namespaces:
                town.bed.kubectl("-n", space, "delete", "networkpolicy", _LIFT)
            barrier.pass_through()

    return without_detours(verify(engine, prober.probe, lifted, reserved=reserved(town)), cluster)


def without_detours(found: Verification, cluster: podfence.Cluster) -> Verification:
    """Return what was found without pods that ask another node at a NodePort, if externalTrafficPolicy is Local.

    kube-proxy sends pods on to backends on any node, and answers from those on the pod's own node do not come back the
    same way: nothing that a policy could be seen by.
    """
    ports = {
        f"{port.protocol} {port.node_port}"
        for service in cluster.state.services.values()
        if service.external_traffic_policy == "Local"
        for port in service.ports
    }
    home = {member.name: f"node:{member.node}" for member in cluster.state.members.values() if not member.host}

    def is_detour(source: str, destination: str, port: str) -> bool:
        return port in ports and destination.startswith("node:") and home.get(source, destination) != destination

    trials = (each for each in found.trials if not is_detour(each.source, each.destination, each.port))
    sources = (
        (item, [each for each in item.sources if not is_detour(each, item.destination, item.port)])
        for item in found.dead
    )
    dead = tuple(msgspec.structs.replace(item, sources=tuple(left)) for item, left in sources if left)
    return verification(tuple(trials), dead, found.left_out)


def told(found: Verification) -> str:
    """Return every difference with podfence's explanation, and every target that was dead, one line each."""
    lines = [
        f"{trial.source} -> {trial.destination} {trial.port}: expected {trial.expected}, "
        f"packets {', '.join(trial.outcomes)}; {trial.reason}"
        for trial in found.differences
    ]
    lines += [
        f"dead: {item.destination} {item.port} from {', '.join(item.sources)}: {item.outcome}" for item in found.dead
    ]
    return "\n".join(lines)
