# SPDX-License-Identifier: Apache-2.0
"""Services and node ports: which backends a client may reach, by the engine, on the way that packets really take.

Policies are enforced where a packet is forwarded: after its destination was rewritten, before its source is. So for
the ClusterIP of a Service each connection is judged as one to the backend. A node port is more (`Cluster` is
kube-proxy's default; it then rewrites the source to the address of the node that was asked, *after* forwarding):

    client              node asked         backend there                backend on the other node
    outside             any                client -> backend            node asked -> backend
    a node              itself             not judged (semantics 7.3)   the client -> backend
    a node              the other          client -> backend            node asked -> backend
    a pod               its own            pod -> backend               egress: pod -> backend; ingress: own node -> backend
    a pod               the other          egress: pod -> node's port; ingress: pod -> backend
                                                                        the same egress; ingress: node asked -> backend

With externalTrafficPolicy Local, backends elsewhere are asked by pods and processes of the node itself only, and
the source of pods and of clients outside stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.cluster.services import backends
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.reasons import reason
from podfence.policy.verdict import Decision, Direction
from podfence.sets.addresses import parse_address
from podfence.sets.ports import point
from tests.kubernetes.packets.comparing import address_of
from tests.kubernetes.packets.places import Spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    import podfence
    from podfence.cluster.members import Member
    from podfence.cluster.services import ServiceBackend
    from podfence.kube.objects import Key, Service, ServicePort
    from podfence.policy.ends import End
    from podfence.policy.engine import Engine
    from tests.kubernetes.packets.fixture import Node
    from tests.kubernetes.packets.places import Servers

TRIES: Final = 4
"""How often each door is knocked at: each time kube-proxy chooses one of the backends at random."""


_AT_ONCE: Final = 16


class Door(NamedTuple):
    """Something to connect to from somewhere, and which servers behind it may answer, and which may not, and why."""

    name: str
    spot: Spot
    source: str
    kind: str
    address: str
    port: int
    open: frozenset[str]
    shut: Mapping[str, str]


class Judge:
    """Judges connections of one moment, end by end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refusal(self, direction: Direction, source: End, destination: End, protocol: str, port: int) -> str:
        """Return why one side does not let a connection through, "" if it does."""
        where = point(protocol, port)
        if where in self._engine.admitted(direction, source, destination, Bound.PESSIMISTIC):
            return ""
        return str(reason(self._engine, direction, source, destination, where))


def pod_end(member: Member) -> PodEnd:
    return PodEnd(member, member.addresses[0], 4, through_service=True)


def services(cluster: podfence.Cluster, spots: Mapping[Key, Spot]) -> Iterator[Door]:
    """Yield every port of every Service with a ClusterIP, from every pod."""
    judge = Judge(cluster.model.engine)
    for service, port, found in _ports(cluster):
        if service.headless:
            continue
        for key, member in cluster.state.members.items():
            if member.host or key not in spots:
                continue
            source = pod_end(member)
            sides = {
                backend.member: next(
                    filter(
                        None,
                        (
                            judge.refusal(side, source, pod_end(backend.member), port.protocol, backend.number)
                            for side in Direction
                        ),
                    ),
                    "",
                )
                for backend in found
                if backend.member is not None
            }
            name = f"{member.name} -> {service.namespace}/svc/{service.name} {port.protocol} {port.port}"
            yield _door(name, spots[key], "", port.protocol, service.addresses[0], port.port, sides)


def verdict_of(cluster: podfence.Cluster, door: Door) -> Decision:
    """Return what podfence's own answer to the question about a Service must be."""
    if not door.shut:
        return Decision.ALLOWED if door.open else Decision.DENIED
    return Decision.DEPENDS if door.open else Decision.DENIED


def node_ports(
    cluster: podfence.Cluster, spots: Mapping[Key, Spot], nodes: tuple[Node, ...], outside: tuple[str, ...]
) -> Iterator[Door]:
    """Yield every node port, at every node, from the addresses `outside`, every node, and every pod."""
    judge = Judge(cluster.model.engine)
    by_name = {node.name: NodeEnd(node.name, parse_address(node.address), 4) for node in nodes}
    clients: list[tuple[str, Spot, str, End, str]] = [
        (address, Spot("", ""), address, AddressEnd(parse_address(address)), "") for address in outside
    ]
    clients += [
        (f"node:{node.name}", Spot(node.name, ""), node.address, by_name[node.name], node.name) for node in nodes
    ]
    clients += [
        (member.name, spots[key], address_of(member), pod_end(member), member.node)
        for key, member in cluster.state.members.items()
        if not member.host and key in spots
    ]
    for service, port, found in _ports(cluster):
        if not port.node_port:
            continue
        local = service.external_traffic_policy == "Local"
        for name, spot, address, client, home in clients:
            for node in nodes:
                asked = by_name[node.name]
                ways = {
                    backend.member: _refused(judge, client, home, asked, backend, port, local=local)
                    for backend in found
                    if backend.member is not None and (not local or node.name in (backend.member.node, home))
                }
                if local and isinstance(client, PodEnd) and home != node.name:
                    # kube-proxy sends pods on to backends on any node, and answers from those on the pod's own node
                    # do not come back the same way: nothing that a policy could be seen by.
                    continue
                text = f"{name} -> node:{node.name}:{port.node_port} ({service.namespace}/svc/{service.name}, {service.external_traffic_policy})"
                yield _door(text, spot, address, port.protocol, node.address, port.node_port, ways)


def _refused(
    judge: Judge, client: End, home: str, asked: NodeEnd, backend: ServiceBackend, port: ServicePort, *, local: bool
) -> str:
    """Return why a connection through a node port to one backend is refused; see the table above."""
    member = backend.member
    assert member is not None
    target = pod_end(member)
    there = member.node == asked.name
    if isinstance(client, PodEnd):
        if home == asked.name:
            egress = judge.refusal(Direction.EGRESS, client, target, port.protocol, backend.number)
        else:
            egress = judge.refusal(Direction.EGRESS, client, asked, port.protocol, port.node_port or 0)
        if egress:
            return egress
        seen: End = client if there or local else asked
    elif isinstance(client, NodeEnd):
        seen = client if there or home == asked.name else asked
    else:
        seen = client if there else asked
    return judge.refusal(Direction.INGRESS, seen, target, port.protocol, backend.number)


def _ports(cluster: podfence.Cluster) -> Iterator[tuple[Service, ServicePort, list[ServiceBackend]]]:
    for service in cluster.state.services.values():
        for port in service.ports:
            yield service, port, list(backends(cluster.state, service, port))


def _door(
    name: str, spot: Spot, source: str, protocol: str, address: str, port: int, sides: Mapping[Member, str]
) -> Door:
    answers = {f"{member.namespace}/{member.key.name}": why for member, why in sides.items()}
    allowed = frozenset(text for text, why in answers.items() if not why)
    return Door(
        name,
        spot,
        source,
        protocol.lower(),
        address,
        port,
        allowed,
        {text: why for text, why in answers.items() if why},
    )


def differences(servers: Servers, doors: list[Door]) -> list[str]:
    """Knock at all doors, several times, and return what was not as it should be, one line each.

    Whoever answers must be allowed to. Nobody may answer if nobody is allowed to, somebody must if all are.
    """
    by_spot: dict[Spot, list[Door]] = {}
    for door in doors:
        by_spot.setdefault(door.spot, []).append(door)
    with ThreadPoolExecutor(_AT_ONCE, "doors") as pool:
        parts = pool.map(lambda item: _knock(servers, *item), by_spot.items())
    return sorted({text for part in parts for text in part})


def _knock(servers: Servers, spot: Spot, doors: list[Door]) -> list[str]:
    found: list[str] = []
    tries = [door for door in doors for _ in range(TRIES)]
    answers = servers.ask(spot, [(door.kind, door.source, door.address, door.port) for door in tries])
    for door, answer in zip(tries, answers, strict=True):
        if answer is None and door.open and not door.shut:
            found.append(f"{door.name}: no answer, where {', '.join(sorted(door.open))} may")
        elif answer is not None and answer not in door.open:
            found.append(
                f"{door.name}: {answer} answered, where it may not: {door.shut.get(answer, 'it is no backend')}"
            )
    return found
