# SPDX-License-Identifier: Apache-2.0
"""A node with pods behind a bridge, as the CNI plugin `bridge` makes it, or each behind a link of its own.

Pods send frames as they like, and what arrives is read off the receiver's own end of the cable.
"""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from podfence.api import Cluster
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.drops import REASONS, chain_of
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE
from podfence.dataplane.settings import Settings
from podfence.kube.objects import Node, Peer, PolicyPort
from podfence.nft.errors import NftError
from podfence.policy.options import Options
from podfence.sets.addresses import parse_address
from tests.dataplane.fabric import Direct
from tests.dataplane.frames import ARP, BROADCAST, IPV4, IPV6, arp, ether, udp
from tests.policy.parts import app, pod, policy, rule, space
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject

PATIENCE: Final = 30.0
"""Seconds until a marker that does not come is said to be lost, which no frame of these tests is."""

MARKER_PORT: Final = 7
OPEN_PORT: Final = 5353
LOG_GROUP: Final = 77
OUTGOING: Final = 4
EVERYTHING: Final = 3
FLOODING: Final = "mcast_snooping 0"
"""What makes a bridge hand groups to all ports, so that what does not arrive was dropped."""

GATEWAYS: Final = ("10.244.1.1", "fd00:1::1")
GATEWAY_MAC: Final = "0a:58:0a:f4:01:01"
NODE_LOCAL: Final = "fe80::858:aff:fef4:101"
NODE_ADDRESSES: Final = ("172.18.0.1", "fd01::1")
RANGES: Final = ("10.244.1.0/24", "fd00:1::/64")
UNDER: Final = ("172.18.0.2", "fd01::2")
OTHER_NODES: Final = (*UNDER, "10.244.2.2")

_TOKENS: Final = count(1)


class Person(NamedTuple):
    """A pod: its addresses, also the one of its link, its hardware address, and the node's end of its cable."""

    name: str
    four: str
    six: str
    local: str
    mac: str
    interface: str

    def link(self, bridge: str) -> PodLink:
        addresses = (parse_address(self.four), parse_address(self.six))
        return PodLink(self.interface, bridge, self.mac, addresses, f"shop/{self.name}")


def _person(name: str, number: int) -> Person:
    mac = f"0a:58:0a:f4:01:{number:02x}"
    local = f"fe80::858:aff:fef4:1{number:02x}"
    return Person(name, f"10.244.1.{number}", f"fd00:1::{number}", local, mac, f"veth-{name}")


A, T, C, X = (_person(name, number) for number, name in enumerate("atcx", 2))
PEOPLE: Final = (A, T, C, X)
"""`T` takes nothing but from `C`, on one port; `X` may send nothing; `A` is not isolated. All may send markers."""

_MARKERS: Final = rule(ports=[PolicyPort("UDP", MARKER_PORT)])


class Bed:
    """The node and its pods; `kind` is how they are attached."""

    def __init__(
        self,
        kind: Literal["bridge", "routed"],
        settings: Settings | None = None,
        *,
        options: str = "",
        port: str = "",
        state: str = "up",
    ) -> None:
        """Make everything and enforce; `options` and `state` are the bridge's, `port` the options of its ports."""
        self._stack = ExitStack()
        self._packets: dict[tuple[str, int], socket.socket] = {}
        self.kind = kind
        self.node = self._space()
        self.pods = {person.name: self._space() for person in PEOPLE}
        self._bridge_options, self._bridge_state, self.port = options, state, port
        self.bridge = "cni0" if kind == "bridge" else ""
        self._wire()
        objects: list[KubeObject] = [
            space("shop"),
            Node(name="n1", labels={}, addresses=NODE_ADDRESSES, pod_cidrs=RANGES),
            Node(name="n2", labels={}, addresses=UNDER, pod_cidrs=("10.244.2.0/24",)),
            *(pod(item.name, item.four, item.six, node="n1") for item in PEOPLE),
            policy(
                "t",
                app("t"),
                ingress=[_MARKERS, rule(Peer(pod_selector=app("c")), ports=[PolicyPort("UDP", OPEN_PORT)])],
            ),
            policy("x", app("x"), egress=[_MARKERS]),
        ]
        self.cluster = Cluster.from_objects(objects, Options(world="closed"))
        self.runner = Direct(self.node)
        self._stack.callback(self.runner.close)
        with self.node.entered():
            self.conntrack = KernelConntrack(Settings().label)
        self._stack.callback(self.conntrack.close)
        self.enforcer = Enforcer(self.runner, "n1", self.cluster.model, settings, self.conntrack)
        self.enforcer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _space(self) -> Space:
        found = Space()
        self._stack.callback(found.close)
        return found

    def set(self, where: Space, **values: str) -> None:
        """Write settings of the kernel, with two underscores for a slash."""
        with where.entered():
            for name, value in values.items():
                Path("/proc/sys/net", name.replace("__", "/")).write_text(value, encoding="ascii")

    def _wire(self) -> None:
        node = self.node
        node.ip(
            "link set lo up",
            f"addr add {NODE_ADDRESSES[0]}/32 dev lo",
            f"addr add {NODE_ADDRESSES[1]}/128 dev lo nodad",
        )
        self.set(node, ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")
        self.set(node, ipv4__conf__all__rp_filter="0", ipv4__conf__default__rp_filter="0")
        if self.bridge:
            node.ip(
                f"link add cni0 address {GATEWAY_MAC} type bridge {self._bridge_options}",
                f"addr add {GATEWAYS[0]}/24 dev cni0",
                f"addr add {GATEWAYS[1]}/64 dev cni0 nodad",
                f"addr add {NODE_LOCAL}/64 dev cni0 nodad",
                f"link set cni0 up {self._bridge_state}",
            )
            self.set(node, **{f"bridge__bridge-nf-call-{name}": "1" for name in ("iptables", "ip6tables")})
        for person in PEOPLE:
            self._join(person)
        node.wait_for_links()

    def _join(self, person: Person) -> None:
        node, end = self.node, self.pods[person.name]
        node.ip(f"link add {person.interface} type veth peer name eth0 address {person.mac} netns {end.path}")
        self.set(end, ipv6__conf__all__accept_dad="0", ipv6__conf__default__accept_dad="0")
        self.set(end, ipv6__conf__eth0__accept_dad="0")
        if self.bridge:
            # Else the node's end speaks for itself, with an address that it makes up.
            self.set(node, **{f"ipv6__conf__{person.interface}__disable_ipv6": "1"})
            node.ip(f"link set {person.interface} master cni0", f"link set {person.interface} up")
            if self.port:
                node.ip(f"link set {person.interface} type bridge_slave {self.port}")
        else:
            node.ip(
                f"link set {person.interface} address {GATEWAY_MAC}",
                f"link set {person.interface} up",
                f"addr add {GATEWAYS[0]}/32 dev {person.interface}",
                f"addr add {GATEWAYS[1]}/128 dev {person.interface} nodad",
                f"route add {person.four} dev {person.interface}",
                f"route add {person.six} dev {person.interface}",
            )
        bits = (24, 64) if self.bridge else (32, 128)
        end.ip(
            "link set lo up",
            f"addr add {person.four}/{bits[0]} dev eth0",
            f"addr add {person.six}/{bits[1]} dev eth0 nodad",
            "link set eth0 up",
            *(f"route add default via {gateway} dev eth0 onlink" for gateway in GATEWAYS),
            *(f"neigh replace {gateway} lladdr {GATEWAY_MAC} dev eth0 nud permanent" for gateway in GATEWAYS),
        )
        dev = self.bridge or person.interface
        node.ip(*(f"neigh replace {item} lladdr {person.mac} dev {dev} nud permanent" for item in person[1:3]))

    def links(self, *people: Person, **more: object) -> Links:
        """Return the links of some pods, or of all."""
        reserved = frozenset(map(parse_address, (*GATEWAYS, *NODE_ADDRESSES, NODE_LOCAL)))
        found = Links(tuple(item.link(self.bridge) for item in people or PEOPLE), reserved=reserved)
        if self.bridge:
            found = found._replace(bridges=frozenset({self.bridge}))
        return found._replace(**more)  # type: ignore[arg-type]

    def bind(self, *people: Person, **more: object) -> None:
        """Attach the links of some pods, or of all."""
        self.enforcer.attach(self.links(*people, **more))

    # Frames

    def next_hop(self, destination: Person) -> str:
        """Return the hardware address that a pod sends to, for another pod."""
        return destination.mac if self.bridge else GATEWAY_MAC

    def datagram(
        self, source: Person, destination: Person, content: bytes, port: int = OPEN_PORT, *, six: bool = False
    ) -> bytes:
        """Return an honest frame."""
        ends = (source.six, destination.six) if six else (source.four, destination.four)
        return ether(source.mac, self.next_hop(destination), IPV6 if six else IPV4, udp(*ends, port, content))

    def arrives(
        self, source: Person, destination: Person, frame: bytes, token: bytes, *, marks: Person | None = None
    ) -> bool:
        """Return whether a frame that a pod sends shows at another pod's end; `token` tells it from others."""
        with self.listening(destination) as receiver:
            self.send(source, frame)
            marker = b"marker %d." % next(_TOKENS)
            marks = marks or source
            self.send(marks, self.datagram(marks, destination, marker, MARKER_PORT))
            return token in until(receiver, marker)

    def strays(self) -> dict[str, int]:
        """Return how many packets were not those of the pod whose link they came by, by each reason."""
        counters = self.runner.counters(TABLE)
        # There is no table of frames but where pods are ports of bridges.
        with suppress(NftError):
            counters += self.runner.counters(BRIDGE_TABLE)
        return {name: sum(one.packets for one in counters if one.chain == chain_of(name)) for name in REASONS}

    def send(self, source: Person, frame: bytes) -> None:
        """Send a frame as a pod."""
        self._taking(source, 0).send(frame)

    def announce(self) -> None:
        """Let every pod say where it is, whatever others have made the bridge believe."""
        for person in PEOPLE:
            content = arp(1, (person.mac, person.four), (person.mac, person.four))
            self.send(person, ether(person.mac, BROADCAST, ARP, content))

    @contextmanager
    def listening(self, destination: Person) -> Iterator[socket.socket]:
        """Yield what gets all frames that come to a pod from now on."""
        receiver = self._taking(destination, EVERYTHING)
        receiver.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                receiver.recv(1)
        receiver.settimeout(PATIENCE)
        yield receiver

    def _taking(self, person: Person, protocol: int) -> socket.socket:
        """Return a pod's packet socket; it stays open, because the kernel takes 20 ms to close one."""
        key = person.name, protocol
        if key not in self._packets:
            with self.pods[person.name].entered():
                found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
            self._packets[key] = self._stack.enter_context(found)
            found.bind(("eth0", protocol))
        return self._packets[key]

    def nft(self, *arguments: str) -> str:
        """Return what nft says on the node."""
        with self.node.entered():
            return subprocess.run(["nft", *arguments], check=True, capture_output=True, text=True).stdout


def token() -> bytes:
    """Return eight bytes that no other frame has."""
    return b"t%06d." % next(_TOKENS)


def until(receiver: socket.socket, marker: bytes) -> bytes:
    """Return what a receiver gets before a marker."""
    return b"".join(frames_of(receiver, marker))


def frames_of(receiver: socket.socket, marker: bytes) -> Iterator[bytes]:
    """Yield the frames that come to a receiver before one with a marker."""
    while True:
        data, about = receiver.recvfrom(1 << 16)
        if marker in data:
            return
        if about[2] != OUTGOING:
            yield data
