# SPDX-License-Identifier: Apache-2.0
"""The firm verdicts of a random part of a cluster, tried with packets in a completion of it (semantics 13).

The part is asked while much of it is not known; then all of it is drawn, wired as nodes and pods, and enforced.
"""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.api import Cluster
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import EndpointSlice, Node, Pod, Service, Workload
from podfence.lab.addresses import Plan
from podfence.lab.network.service_table import changes
from podfence.lab.network.services import proxied, table
from podfence.policy.options import Options
from podfence.sets.addresses import Family, family_of
from tests.dataplane.fabric import Fabric, Layout
from tests.dataplane.prober import TRAFFIC, Probe, Prober
from tests.twin.drawn import BEHIND, Drawing, is_complete
from tests.twin.drawn import OUTSIDE as ELSEWHERE
from tests.twin.partial import as_pods, partial_cluster
from tests.twin.partial_services import HOST_PORT, partial_services, with_host_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from podfence.kube.objects import KubeObject
    from podfence.lab.network.services import ProxiedPort

OUTSIDE: Final = ("203.0.113.7", "10.3.3.3", "2001:db8::7")
SHARED_FROM: Final = (256, 1, 2, 3)


class Outcome(NamedTuple):
    """How many questions were asked, how many firm verdicts were tried by how many probes, and what differed."""

    asked: int
    firm: int
    probes: int
    passed: int
    differences: tuple[str, ...]


class _End(NamedTuple):
    """An end as the part is asked about it, and the addresses that it has in the completion."""

    text: str
    addresses: tuple[str, ...]
    is_pod: bool
    in_cluster: bool = True
    is_workload: bool = False
    is_node: bool = False


class _Question(NamedTuple):
    """What the part is asked: a source, a destination as people write it, a port, and where packets are sent.

    `answering` are the families in which somebody may answer.
    """

    source: _End
    to: str
    kind: str
    port: int
    addresses: tuple[str, ...]
    answering: frozenset[Family] = frozenset((4, 6))


def compare(seed: int) -> Outcome:
    """Return what packets say of the firm verdicts about the cluster of a seed."""
    options = Options.parse([f"pod-families={('ipv4', 'ipv4', 'dual')[seed % 3]}"])
    part = with_host_ports(seed, partial_cluster(seed))
    objects = [*part, *partial_services(seed, part)]
    there = _running(Drawing(as_pods(objects), options, (*OUTSIDE, ELSEWHERE)).draw(Random(seed)))
    layout = _layout(there)
    place_of = {address: name for name, several in layout.places().items() for address in several}
    asked, firm = 0, 0
    said: dict[Probe, tuple[bool, str]] = {}
    differences: list[str] = []
    cluster = Cluster.from_objects(objects, options)
    complete = Cluster.from_objects(there, options.with_value("world", "closed"))
    for question in _questions(objects, there, proxied(complete.state)):
        at = f"{question.port}/{question.kind}" if question.port else question.kind
        verdict = cluster.check(question.source.text, question.to, at)
        asked += 1
        firm += verdict.decision != "depends"
        for probe in _probes(question, place_of) if verdict.decision != "depends" else ():
            if verdict.decision == "allowed" and (6 if ":" in probe.source else 4) not in question.answering:
                # That says nothing of a family that the two do not share (7.13).
                continue
            now = verdict.decision == "allowed", str(verdict)
            before = said.setdefault(probe, now)
            if before[0] is not now[0]:
                differences.append(f"{probe}: {before[1]}\n  and {now[1]}")
    wanted = {probe: allowed for probe, (allowed, _) in said.items()}
    passed = _tried(layout, complete, wanted, seed)
    for probe, (allowed, text) in said.items():
        if allowed is not (probe in passed):
            differences.append(f"{probe}: packets {'did not pass' if allowed else 'passed'}\n  {text}")
    if differences:
        differences += map(str, there)
    return Outcome(asked, firm, len(wanted), len(passed), tuple(differences))


def _running(objects: Sequence[KubeObject]) -> list[KubeObject]:
    return [msgspec.structs.replace(item, phase="Running") if isinstance(item, Pod) else item for item in objects]


def _layout(objects: Sequence[KubeObject]) -> Layout:
    """Return who has which addresses; those of backends that are nobody's are outside."""
    pods = [item for item in objects if isinstance(item, Pod) and not item.template.host_network]
    nodes = {item.name: item.addresses for item in objects if isinstance(item, Node)}
    placed = {name: tuple(pod.addresses for pod in pods if pod.template.node == name) for name in nodes}
    owned = {text for several in (*nodes.values(), *(pod.addresses for pod in pods)) for text in several}
    slices = [item for item in objects if isinstance(item, EndpointSlice)]
    backends = {text for item in slices for backend in item.backends for text in backend.addresses}
    return Layout(placed, nodes, tuple(dict.fromkeys((*OUTSIDE, *sorted(backends - owned)))))


def _questions(
    objects: Sequence[KubeObject], there: Sequence[KubeObject], ports: Sequence[ProxiedPort]
) -> Iterator[_Question]:
    """Yield the questions about ends and then those about Services, which lead where the proxied ports say."""
    ends = list(_ends(objects, there))
    for source, destination in permutations(ends, 2):
        if source.is_pod or destination.is_pod:
            # No scheduler puts a hostPort beside a hostNetwork pod that listens there.
            at_host = destination.in_cluster and not (destination.is_pod or destination.is_node)
            for kind, number in TRAFFIC:
                if at_host and number == HOST_PORT:
                    continue
                yield _Question(source, destination.text, kind, number, destination.addresses)
    for service in (item for item in objects if isinstance(item, Service)):
        families = {
            (item.protocol, item.port): frozenset(family_of(end.address) for end in item.endpoints)
            for item in ports
            if (item.namespace, item.service) == (service.namespace, service.name)
        }
        if not is_complete(service, there):
            continue
        unread = _unread(service, there)
        beside = _is_beside_a_node(service, there)
        for source in ends:
            # Whether it reaches itself is another question (7.2, 13.7).
            if not source.is_workload and unread.isdisjoint(source.addresses):
                yield from _to_service(service, source, ends, beside=beside, families=families)


def _unread(service: Service, there: Sequence[KubeObject]) -> frozenset[str]:
    """Return the addresses of the backends of a Service that the part does not have."""
    slices = [item for item in there if isinstance(item, EndpointSlice) and item.name.endswith(BEHIND)]
    own = [item for item in slices if (item.namespace, item.service) == (service.namespace, service.name)]
    return frozenset(text for item in own for one in item.backends for text in one.addresses)


def _is_beside_a_node(service: Service, there: Sequence[KubeObject]) -> bool:
    """Return whether an endpoint of a Service names a node, and has the address of no pod and no node."""
    owned = {text for item in there if isinstance(item, Pod | Node) for text in item.addresses}
    return any(
        backend.node and owned.isdisjoint(backend.addresses)
        for item in there
        if isinstance(item, EndpointSlice) and (item.namespace, item.service) == (service.namespace, service.name)
        for backend in item.backends
    )


def _to_service(
    service: Service,
    source: _End,
    ends: Sequence[_End],
    *,
    beside: bool,
    families: Mapping[tuple[str, int], frozenset[Family]],
) -> Iterator[_Question]:
    nodes = [end for end in ends if end.is_node]
    at_nodes = service.external_traffic_policy == "Cluster" or not beside
    for port in service.ports:
        kind, answering = port.protocol.lower(), families.get((port.protocol, port.port), frozenset())
        if service.addresses and source.in_cluster:
            name = f"{service.namespace}/svc/{service.name}"
            yield _Question(source, name, kind, port.port, service.addresses, answering)
        if not at_nodes:
            # What is outside here answers by another way than by the node that it is said to be beside.
            continue
        for text in service.external_addresses if source.in_cluster and not source.is_node else ():
            yield _Question(source, text, kind, port.port, (text,), answering)
        for node in nodes if port.node_port else ():
            yield _Question(source, node.text, kind, port.node_port, node.addresses, answering)


def _ends(objects: Sequence[KubeObject], there: Sequence[KubeObject]) -> Iterator[_End]:
    """Yield what the part can be asked about: its pods, workloads and nodes, and addresses outside."""
    nodes = {item.name: item.addresses for item in there if isinstance(item, Node)}
    pods = {(item.namespace, item.name): item for item in there if isinstance(item, Pod)}
    for item in objects:
        if isinstance(item, Pod | Workload):
            found = pods[item.namespace, item.name]
            is_workload = isinstance(item, Workload)
            name = f"{item.namespace}/{'deploy/' if is_workload else ''}{item.name}"
            yield _End(name, found.addresses, not found.template.host_network, is_workload=is_workload)
        elif isinstance(item, Node):
            yield _End(f"node:{item.name}", nodes[item.name], is_pod=False, is_node=True)
    for address in OUTSIDE:
        yield _End(address, (address,), is_pod=False, in_cluster=False)


def _probes(question: _Question, place_of: Mapping[str, str]) -> Iterator[Probe]:
    for one in question.source.addresses:
        for other in question.addresses:
            if (":" in one) == (":" in other) and place_of[one] != place_of.get(other):
                yield Probe(question.kind, one, other, question.port)


def _own_pods(layout: Layout, node: str) -> dict[Family, str]:
    """Return the addresses of a node's pods as sets: they are not in a range here."""
    nobody: dict[Family, str] = {4: "198.18.0.1", 6: "2001:db8:1::1"}
    own = [text for several in layout.pods[node] for text in several]
    return {
        family: f"{{ {', '.join((text, *(item for item in own if (':' in item) == (family == 6))))} }}"
        for family, text in nobody.items()
    }


def _tried(layout: Layout, cluster: Cluster, wanted: dict[Probe, bool], seed: int) -> set[Probe]:
    """Return the probes that pass where the completion is enforced on all of its nodes."""
    ports = proxied(cluster.state)
    with Fabric(layout) as fabric, Prober(fabric) as prober:
        for node in layout.nodes:
            runner = fabric.runner(node)
            for transaction in changes(None, table(ports, node, Plan((4, 6)), _own_pods(layout, node))):
                runner.run(transaction)
            enforcer = Enforcer(runner, node, cluster.model, shared_from=SHARED_FROM[seed % 4])
            if seed % 2:
                enforcer.attach(fabric.links(node))
            enforcer.start()
        return prober.passed(wanted, [probe for probe, allowed in wanted.items() if allowed])
