# SPDX-License-Identifier: Apache-2.0
"""What a node does with packets to Services and hostPorts: kube-proxy's part in a lab, and that of the plugin portmap.

It is one nft table that is not podfence's.

Destinations are rewritten before podfence's table sees a packet, sources afterwards, as on real nodes. So a
connection through a node port whose backend is on the node that was called is judged by the client's own
address, and by the node's if the backend is on another node (semantics 7.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.cluster.nodes import numbers_of
from podfence.cluster.services import backends
from podfence.lab.network.service_table import ServiceTable
from podfence.nft.chain import Hook
from podfence.nft.element import Element, goto
from podfence.nft.names import identifier
from podfence.nft.sets import Map, Set
from podfence.sets.addresses import family_of, format_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podfence.cluster.members import Member
    from podfence.cluster.services import ServiceBackend
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Service, ServicePort
    from podfence.lab.addresses import Plan
    from podfence.nft.element import Key
    from podfence.sets.addresses import Family

_WORDS: Final[dict[Family, str]] = {4: "ip", 6: "ip6"}
_LOOPBACK: Final[dict[Family, str]] = {4: "127.0.0.0/8", 6: "::1"}
_NUMBERS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}
# The bit that kube-proxy uses for the same.
_MASQUERADE: Final = "meta mark set meta mark or 0x4000"
# A client that still holds its socket ignores the ICMP message, and tries again a second later; a reset is heard.
_REFUSALS: Final = (
    ("meta l4proto 6", "reject with tcp reset"),
    ("meta l4proto != 6", "reject with icmpx type port-unreachable"),
)
# Before podfence's own table, so that a Service without backends refuses at once, whatever the policies.
_BEFORE_POLICIES: Final = -10


class Endpoint(NamedTuple):
    """Where a connection to a Service ends up: address (a number), port, and the node it is on ("" if none)."""

    address: int
    port: int
    node: str


@dataclass(frozen=True, slots=True)
class ProxiedPort:
    """A port of a Service, or a hostPort of the pod in its place, with everything about it that nodes need to know.

    `addresses` are the cluster's, `external` those given in the Service, `local` is externalTrafficPolicy Local.
    A hostPort is a `node_port` of the node that it is `on`; those of Services are on all nodes.
    """

    namespace: str
    service: str
    protocol: str
    port: int
    node_port: int
    endpoints: tuple[Endpoint, ...]
    addresses: tuple[int, ...] = ()
    external: tuple[int, ...] = ()
    local: bool = False
    on: str = ""

    def chain(self, prefix: str) -> str:
        """Return the name of a chain of this port."""
        kind = f"host{prefix}" if self.on else prefix
        return identifier(kind, self.namespace, self.service, self.protocol, str(self.port))

    def of(self, family: Family, node: str | None = None) -> tuple[Endpoint, ...]:
        """Return the endpoints of a family, on all nodes or on one."""
        return tuple(item for item in self.endpoints if family_of(item.address) == family and node in {None, item.node})


def proxied(state: ClusterState) -> tuple[ProxiedPort, ...]:
    """Return the ports of all Services that have addresses or node ports, and then hostPorts, in order of name.

    Endpoints are the running pods that are not being deleted (semantics 5.4 for named ports), and addresses of
    EndpointSlices that are no pod's. The lab knows no readiness but running.
    """
    services = (
        ProxiedPort(
            namespace=service.namespace,
            service=service.name,
            protocol=port.protocol,
            port=port.port,
            node_port=port.node_port,
            addresses=() if service.headless else tuple(numbers_of(service.addresses)),
            external=tuple(numbers_of(service.external_addresses)),
            local=service.external_traffic_policy == "Local",
            endpoints=endpoints(state, service, port),
        )
        for _, service in sorted(state.services.items())
        for port in service.ports
        if service.addresses or service.external_addresses or port.node_port
    )
    return (*services, *_host_ports(state))


def _host_ports(state: ClusterState) -> Iterator[ProxiedPort]:
    """Yield the hostPorts of pods, which their node alone leads to them, whatever its address."""
    for _, member in sorted(state.members.items()):
        for port in member.ports if _runs(member) and member.node and not member.host else ():
            if port.host_port:
                yield ProxiedPort(
                    namespace=member.namespace,
                    service=member.key.name,
                    protocol=port.protocol,
                    port=port.host_port,
                    node_port=port.host_port,
                    endpoints=tuple(Endpoint(address, port.number, member.node) for address in member.addresses),
                    on=member.node,
                )


def _runs(member: Member) -> bool:
    return member.pod is not None and member.pod.phase == "Running" and not member.pod.terminating


def endpoints(state: ClusterState, service: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    """Return where connections to one port of a Service may go now, in order."""
    return tuple(sorted({item for backend in backends(state, service, port) for item in _reached(backend)}))


def _reached(backend: ServiceBackend) -> Iterator[Endpoint]:
    member = backend.member
    if member is None:
        if backend.address is not None:
            yield Endpoint(backend.address, backend.number, backend.node)
    elif _runs(member):
        for address in member.addresses:
            yield Endpoint(address, backend.number, member.node)


def table(ports: Iterable[ProxiedPort], node: str, plan: Plan, own_pods: Mapping[Family, str]) -> ServiceTable:
    """Return the whole table of a node; `own_pods` are the addresses of its pods, a block or a set in nft's words."""
    result = _NodeTable(node, plan, own_pods)
    for port in ports:
        result.put(port)
    return result.finish()


class _NodeTable:
    """Makes one node's table."""

    def __init__(self, node: str, plan: Plan, own_pods: Mapping[Family, str]) -> None:
        self._node = node
        self._plan = plan
        self._own_pods = own_pods
        self._result = ServiceTable()
        self._services: dict[Family, dict[Key, Element]] = {family: {} for family in plan.families}
        self._nowhere: dict[Family, dict[Key, Element]] = {family: {} for family in plan.families}
        self._hairpin: dict[Family, dict[Key, Element]] = {family: {} for family in plan.families}
        self._node_ports: dict[Key, Element] = {}

    def put(self, port: ProxiedPort) -> None:
        if port.on not in {"", self._node}:
            return
        number = str(_NUMBERS[port.protocol])
        balanced = [text for family in self._plan.families for text in _balanced(port, port.of(family), family)]
        inside = self._chain(port.chain("svc"), balanced) if balanced else None
        beyond = None
        if inside is not None and (port.node_port or port.external):
            beyond = self._chain(port.chain("ext"), self._from_beyond(port, inside))
        for family in self._plan.families:
            found = port.of(family)
            for addresses, chain in ((port.external, beyond), (port.addresses, inside)):
                for address in addresses:
                    if family_of(address) == family:
                        key = (format_address(address), number, str(port.port))
                        if found and chain is not None:
                            self._services[family][key] = Element(key, value=goto(chain))
                        else:
                            self._nowhere[family][key] = Element(key)
            for item in port.of(family, self._node):
                pair = (format_address(item.address),) * 2
                self._hairpin[family][pair] = Element(pair)
        if port.node_port and beyond is not None:
            where = (number, str(port.node_port))
            # Of several pods that want a hostPort, and beside a NodePort, the first has it.
            self._node_ports.setdefault(where, Element(where, value=goto(beyond)))

    def _from_beyond(self, port: ProxiedPort, inside: str) -> list[str]:
        """Return what happens to connections through a node port or an external address.

        Policy Local keeps the client's address, and so may use only what is on this node; connections of its own pods
        and of the node itself go anywhere nevertheless, as with kube-proxy (semantics 7.16).
        """
        if port.on:
            # Its pod is on this node, so what it answers comes by here.
            return [f"goto {inside}"]
        if not port.local:
            return [_MASQUERADE, f"goto {inside}"]
        texts = [f"{_WORDS[family]} saddr {self._own_pods[family]} goto {inside}" for family in self._plan.families]
        texts.append(f"fib saddr type local {_MASQUERADE} goto {inside}")
        for family in self._plan.families:
            texts += _balanced(port, port.of(family, self._node), family)
        return [*texts, "drop"]

    def finish(self) -> ServiceTable:
        node_ports = Map("node_ports", ("inet_proto", "inet_service"))
        elements: dict[Set | Map, dict[Key, Element]] = {node_ports: self._node_ports}
        translate: list[str] = []
        masquerade = ["meta mark and 0x4000 != 0 masquerade"]
        refuse: list[str] = []
        for family in self._plan.families:
            word = _WORDS[family]
            types: Key = (f"ipv{family}_addr",)
            there = (*types, "inet_proto", "inet_service")
            elements[Map(f"services{family}", there)] = self._services[family]
            elements[Set(f"nowhere{family}", there)] = self._nowhere[family]
            elements[Set(f"hairpin{family}", types * 2)] = self._hairpin[family]
            translate.append(f"{word} daddr . meta l4proto . th dport vmap @services{family}")
            masquerade.append(f"ct status dnat {word} saddr . {word} daddr @hairpin{family} masquerade")
            for which, refusal in _REFUSALS:
                refuse.append(f"{which} {word} daddr . meta l4proto . th dport @nowhere{family} {refusal}")
                refuse.append(f"{which} {word} daddr {self._plan.service_range(family)} {refusal}")
        own = [f"fib daddr type local {_WORDS[family]} daddr != {_LOOPBACK[family]}" for family in self._plan.families]
        translate += [f"{match} meta l4proto . th dport vmap @{node_ports.name}" for match in own]
        self._result.elements = elements
        self._result.hooks = {
            "services_in": (Hook("nat", "prerouting", -100), tuple(translate)),
            "services_own": (Hook("nat", "output", -100), tuple(translate)),
            "sources": (Hook("nat", "postrouting", 100), tuple(masquerade)),
            "refuse_passing": (Hook("filter", "forward", _BEFORE_POLICIES), tuple(refuse)),
            "refuse_own": (Hook("filter", "output", _BEFORE_POLICIES), tuple(refuse)),
        }
        return self._result

    def _chain(self, name: str, texts: Iterable[str]) -> str:
        self._result.chains[name] = tuple(texts)
        return name


def _balanced(port: ProxiedPort, targets: tuple[Endpoint, ...], family: Family) -> list[str]:
    """Return the rule that sends each connection to one of the targets, all alike; none if there are none.

    For UDP the choice depends on the sender's address and port: a resolver asks for two families from one port at
    once, and if the two questions went to different backends, the kernel would lose one of them.
    """
    if not targets:
        return []
    word = _WORDS[family]
    choice = f"jhash {word} saddr . udp sport" if port.protocol == "UDP" else "numgen random"
    places = ", ".join(
        f"{number} : {format_address(item.address)} . {item.port}" for number, item in enumerate(targets)
    )
    protocol = f"meta nfproto ipv{family} meta l4proto {_NUMBERS[port.protocol]}"
    return [f"{protocol} dnat {word} to {choice} mod {len(targets)} map {{ {places} }}"]
