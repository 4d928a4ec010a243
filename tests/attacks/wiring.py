# SPDX-License-Identifier: Apache-2.0
"""Two nodes with their pods as network plugins wire them, and a host outside, in network namespaces.

There are two networks. On ``bridge`` the pods of a node are behind one bridge, as the CNI plugin `bridge` and
flannel make it; on ``routed`` each has a link of its own, as the plugin `ptp`, kindnet and Calico make it. In both,
the nodes reach each other's pods through VXLAN. Neighbours are found by real ARP and ND, and IPv6 link-local
addresses are on, because both are on unless somebody switches them off.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

Network = Literal["bridge", "routed"]

NETWORKS: Final[tuple[Network, ...]] = ("bridge", "routed")
OUTSIDE: Final = ("203.0.113.80", "2001:db8::80")
UPLINK: Final = ("172.30.0.1", "fd01::1")
EVERYBODY: Final = "ff:ff:ff:ff:ff:ff"


@dataclass(frozen=True)
class Tunnel:
    """The VXLAN devices of a network plugin: their names for IPv4 and IPv6, network number and UDP port."""

    names: tuple[str, str]
    number: int
    port: int


TUNNELS: Final[dict[Network, Tunnel]] = {
    "bridge": Tunnel(("flannel.1", "flannel-v6.1"), 1, 8472),
    "routed": Tunnel(("vxlan.calico", "vxlan-v6.calico"), 4096, 4789),
}

# The last is kube-proxy's.
_ROUTER: Final = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1, "ipv4/conf/all/route_localnet": 1}
# A kernel that filters by source itself would do a part of what is tested here; Kubernetes does not ask for it.
_PLAIN: Final = {"ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0, "ipv4/icmp_ratelimit": 0}


@dataclass(frozen=True)
class End:
    """Something that sends and receives: a pod, a node, the host outside. ``via`` is where its frames go by default."""

    name: str
    space: Space
    interface: str
    four: str
    six: str
    mac: str = ""
    link: str = ""
    """The name of the other end of a pod's link, on its node."""
    via: str = ""

    @property
    def index(self) -> int:
        """The number of its interface, which is the scope of link-local addresses."""
        with self.space.entered():
            return socket.if_nametoindex(self.interface)

    def address(self, family: int) -> str:
        return self.six if family == 6 else self.four

    @property
    def link_local(self) -> str:
        """The IPv6 link-local address that its hardware address leads to, as everybody can guess it."""
        one, *more = (int(part, 16) for part in self.mac.split(":"))
        a, b, c, d, e, f = one ^ 2, *more
        return f"fe80::{a << 8 | b:x}:{c << 8 | 0xFF:x}:{0xFE << 8 | d:x}:{e << 8 | f:x}"


@dataclass
class Node:
    """A node: its namespace, its tunnel, and its pods by name."""

    number: int
    network: Network
    space: Space = field(default_factory=Space)
    pods: dict[str, End] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.space.ip("link set lo up")
        self.space.sysctl(_ROUTER | _PLAIN)

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def addresses(self) -> tuple[str, str]:
        return f"172.30.0.1{self.number}", f"fd01::1{self.number}"

    @property
    def ranges(self) -> tuple[str, str]:
        return f"10.244.{self.number}.0/24", f"fd00:{self.number}::/64"

    @property
    def gateways(self) -> tuple[str, str]:
        return f"10.244.{self.number}.1", f"fd00:{self.number}::1"

    @property
    def end(self) -> End:
        """The node itself, at its own addresses."""
        return End(self.name, self.space, "eth0", *self.addresses, mac=hardware_address(self.space, "eth0"))

    def begin(self) -> None:
        """Make what the plugin makes once."""
        if self.network == "bridge":
            four, six = self.gateways
            self.space.ip(
                # The plugin pins the bridge's address, which would otherwise follow that of its ports.
                f"link add cni0 address 46:2d:1c:00:00:0{self.number} type bridge",
                f"addr add {four}/24 dev cni0",
                f"addr add {six}/64 dev cni0 nodad",
                "link set cni0 up",
            )

    def add(self, name: str, number: int) -> End:
        """Wire a pod as the plugin does; its addresses end with the number."""
        space = Space()
        space.sysctl(_PLAIN)
        four, six = f"10.244.{self.number}.{number}", f"fd00:{self.number}::{number:x}"
        mac, link = f"0a:58:0a:f4:{self.number:02x}:{number:02x}", f"veth{self.number}{name}"
        self.space.ip(f"link add {link} mtu 1450 type veth peer name eth0 mtu 1450 address {mac} netns {space.path}")
        if self.network == "bridge":
            self.space.ip(
                f"link set {link} master cni0", f"link set {link} type bridge_slave hairpin on", f"link set {link} up"
            )
            via = hardware_address(self.space, "cni0")
        else:
            # The node's own link-local address is nobody else's, and would be tentative for a second.
            self.space.sysctl({f"ipv6/conf/{link}/accept_dad": 0})
            self.space.ip(
                f"link set {link} up",
                f"addr add {self.gateways[0]}/32 dev {link}",
                f"addr add {self.gateways[1]}/128 dev {link} nodad",
                f"route add {four}/32 dev {link}",
                f"route add {six}/128 dev {link}",
            )
            via = hardware_address(self.space, link)
        space.ip("link set lo up", "link set eth0 up", *self.inside(four, six))
        self.pods[name] = End(name, space, "eth0", four, six, mac, link, via)
        return self.pods[name]

    def inside(self, four: str, six: str) -> Iterator[str]:
        if self.network == "bridge":
            yield f"addr add {four}/24 dev eth0"
            yield f"addr add {six}/64 dev eth0 nodad"
        else:
            yield f"addr add {four}/24 dev eth0 noprefixroute"
            yield f"addr add {six}/64 dev eth0 nodad noprefixroute"
            for gateway, whole in zip(self.gateways, self.ranges, strict=True):
                yield f"route add {gateway} dev eth0"
                yield f"route add {whole} via {gateway} dev eth0"
        yield from (f"route add default via {gateway} dev eth0" for gateway in self.gateways)

    def tunnel_mac(self, family: int) -> str:
        """The hardware address of the end of the tunnel here."""
        return f"02:aa:00:00:{family:02x}:{self.number:02x}"

    def reach(self, other: Node) -> None:
        """Make the tunnel, and the way to the pods of the other node through it."""
        tunnel = TUNNELS[self.network]
        for place, family in enumerate((4, 6)):
            name, local = tunnel.names[place], self.addresses[place]
            # A plugin gives the device the first address of the node's range, which is no pod's.
            mine, there = (node.ranges[place].partition("/")[0] for node in (self, other))
            peer = other.tunnel_mac(family)
            self.space.ip(
                f"link add {name} address {self.tunnel_mac(family)} mtu 1450 type vxlan id {tunnel.number} "
                f"local {local} dev eth0 dstport {tunnel.port} nolearning {'udp6zerocsumrx' if family == 6 else ''}",
                f"addr add {mine}/{32 if family == 4 else 128} dev {name} {'nodad' if family == 6 else ''}",
                f"link set {name} up",
                f"neigh add {there} lladdr {peer} dev {name} nud permanent",
                f"route add {other.ranges[place]} via {there} dev {name} onlink",
            )
            with self.space.entered():
                command = ["bridge", "fdb", "append", peer, "dev", name, "dst", other.addresses[place]]
                subprocess.run(command, check=True)


class Wiring:
    """The nodes n1 and n2, which share an uplink with the host outside; it knows the way to the pods too."""

    def __init__(self, network: Network) -> None:
        """Make the nodes; pods are added to them."""
        self.network = network
        self.outside = Space()
        self.outside.sysctl(_ROUTER | _PLAIN)
        self.outside.ip(
            "link set lo up",
            "link add uplink type bridge",
            "link set uplink up",
            f"addr add {UPLINK[0]}/24 dev uplink",
            f"addr add {UPLINK[1]}/64 dev uplink nodad",
            f"addr add {OUTSIDE[0]}/32 dev lo",
            f"addr add {OUTSIDE[1]}/128 dev lo nodad",
        )
        self.nodes = {1: Node(1, network), 2: Node(2, network)}
        for node in self.nodes.values():
            self.outside.ip(
                f"link add {node.name} type veth peer name eth0 netns {node.space.path}",
                f"link set {node.name} master uplink",
                f"link set {node.name} up",
                *(
                    f"route add {whole} via {address}"
                    for whole, address in zip(node.ranges, node.addresses, strict=True)
                ),
            )
            four, six = node.addresses
            node.space.ip(
                f"addr add {four}/24 dev eth0",
                f"addr add {six}/64 dev eth0 nodad",
                "link set eth0 up",
                *(f"route add default via {address}" for address in UPLINK),
            )
            node.begin()
        self.nodes[1].reach(self.nodes[2])
        self.nodes[2].reach(self.nodes[1])

    @property
    def ends(self) -> dict[str, End]:
        """Everything that sends or receives, by name."""
        mac = hardware_address(self.outside, "uplink")
        ends = {"outside": End("outside", self.outside, "uplink", *OUTSIDE, mac=mac)}
        for node in self.nodes.values():
            ends |= {node.name: node.end, **node.pods}
        return ends

    def close(self) -> None:
        for end in self.ends.values():
            end.space.close()


def hardware_address(space: Space, interface: str) -> str:
    """Return the hardware address of an interface."""
    with space.entered():
        found = subprocess.run(["ip", "-br", "link", "show", interface], capture_output=True, text=True, check=True)
    return found.stdout.split()[2]


def has(line: str) -> bool:
    """Return whether the kernel can do what a line of `ip` asks of an empty namespace."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    with closing(Space()) as space, space.entered():
        return subprocess.run(["ip", *line.split()], capture_output=True, check=False).returncode == 0
