# SPDX-License-Identifier: Apache-2.0
"""Two nodes with their pods, and the world around them, as network namespaces that one process holds open.

Every address of a pod has its place for good: which pods have it, and whether any does, is what a test
changes. The namespaces are nowhere in the file system and end with the process.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.settings import Settings
from podfence.nft.direct import DirectRunner
from podfence.nft.process import NftRunner
from podfence.sets.addresses import parse_address
from tests.spaces import Space

if TYPE_CHECKING:
    from podfence.nft.transaction import Transaction

PODS: Final = {
    "n1": (("10.0.0.1", "fd00::1"), ("10.0.0.2",), ("fd00::3", "10.0.0.3")),
    "n2": (("10.0.0.4",), ("10.0.0.5", "fd00::5"), ("fd00::6",), ("10.0.0.7", "fd00::7")),
}
"""The addresses of pods by node, those of one network namespace together."""

POD_RANGES: Final = {"n1": ("10.0.0.0/30", "fd00::/126"), "n2": ("10.0.0.4/30", "fd00::4/126")}
NODES: Final = {"n1": ("172.18.0.1", "fd01::1"), "n2": ("172.18.0.2", "fd01::2")}
OUTSIDE: Final = ("203.0.113.9", "192.0.2.5", "2001:db8::9")
OUTSIDE_PLACE: Final = "outside"

NODE_OF: Final = {address: node for node, ends in PODS.items() for addresses in ends for address in addresses}

_NEXT_HOP: Final = "fe80::7"
"""Where packets of IPv6 to the pods of a node without such an address are sent."""

_SETTINGS: Final = {
    "ipv4/ip_forward": 1,
    "ipv6/conf/all/forwarding": 1,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv4/icmp_ratelimit": 0,
}
# Flows of earlier probes are forgotten soon: there are millions of them in an hour.
_FORGET: Final = {
    "netfilter/nf_conntrack_udp_timeout": 20,
    "netfilter/nf_conntrack_udp_timeout_stream": 20,
    "netfilter/nf_conntrack_icmp_timeout": 5,
    "netfilter/nf_conntrack_icmpv6_timeout": 5,
    "netfilter/nf_conntrack_tcp_timeout_close": 2,
    "netfilter/nf_conntrack_tcp_timeout_time_wait": 5,
}


class Layout(NamedTuple):
    """Who has which addresses: the pods of each node, those of one namespace together, the nodes, and the outside."""

    pods: Mapping[str, tuple[tuple[str, ...], ...]]
    nodes: Mapping[str, tuple[str, ...]]
    outside: tuple[str, ...]

    def places(self) -> dict[str, tuple[str, ...]]:
        """Return the addresses of every namespace by its name; that of a pod is named by its first address."""
        pods = {addresses[0]: addresses for ends in self.pods.values() for addresses in ends}
        return {OUTSIDE_PLACE: self.outside, **self.nodes, **pods}


LAYOUT: Final = Layout(PODS, NODES, OUTSIDE)


def places() -> dict[str, tuple[str, ...]]:
    """Return the addresses of every namespace of the usual layout."""
    return LAYOUT.places()


class Direct(DirectRunner):
    """The runner that speaks to the kernel itself, for a namespace that the thread is not in."""

    def __init__(self, space: Space) -> None:
        """Ask nobody yet."""
        super().__init__()
        self._space = space
        self.prefix = ("nsenter", f"--net={space.path}")

    def run(self, transaction: Transaction) -> None:
        """Carry out all of the transaction or nothing of it."""
        with self._space.entered():
            super().run(transaction)


class Fabric:
    """The namespaces, wired: pods to their node, nodes to the outside, which routes between them."""

    def __init__(self, layout: Layout = LAYOUT) -> None:
        """Make everything; about 0.2 s."""
        self.layout = layout
        self.spaces = {name: Space() for name in layout.places()}
        hub = self.spaces[OUTSIDE_PLACE]
        for space in self.spaces.values():
            space.sysctl(_SETTINGS)
            space.ip("link set lo up")
        hub.ip(*(_add(item, "lo") for item in layout.outside))
        for node, addresses in layout.nodes.items():
            ends = layout.pods.get(node, ())
            self._join(hub, node, addresses, self.spaces[node])
            self.spaces[node].ip(_add(_NEXT_HOP, "uplink"))
            gateways = {True: _NEXT_HOP} | {":" in address: address for address in addresses}
            inside = [address for several in ends for address in several]
            hub.ip(*(f"route add {item} via {gateways[':' in item]} dev {node} onlink" for item in inside))
            for number, several in enumerate(ends):
                self._join(self.spaces[node], f"pod{number}", several, self.spaces[several[0]])
        for space in self.spaces.values():
            space.wait_for_links()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for space in self.spaces.values():
            space.close()

    @staticmethod
    def _join(router: Space, link: str, addresses: tuple[str, ...], leaf: Space) -> None:
        """Connect a namespace to a router, which knows its addresses; it sends everything else there."""
        # A node must not be asked for an address that it has itself: those above and below it differ.
        four, six = ("169.254.1.1", "fe80::1") if link.startswith("pod") else ("169.254.2.1", "fe80::2")
        router.ip(f"link add {link} type veth peer name uplink netns {leaf.path}")
        leaf.ip("link set uplink up", *(_add(item, "uplink") for item in addresses))
        router.ip(
            f"link set {link} up",
            f"addr add {four}/32 dev {link}",
            f"addr add {six}/64 dev {link} nodad",
            *(f"route add {item} dev {link}" for item in addresses),
        )
        leaf.ip(
            f"route add default via {four} dev uplink onlink",
            f"route add default via {six} dev uplink onlink",
        )

    def runner(self, node: str) -> NftRunner:
        """Return what programs a node."""
        return NftRunner(prefix=("nsenter", f"--net={self.spaces[node].path}"))

    def direct(self, node: str) -> Direct:
        """Return what programs a node as its agent does; to be closed."""
        return Direct(self.spaces[node])

    def links(self, node: str) -> Links:
        """Return the links of a node's pods, each with all the addresses that its place has."""
        return Links(
            tuple(
                PodLink(f"pod{number}", "", "", tuple(map(parse_address, addresses)), f"place/{number}")
                for number, addresses in enumerate(self.layout.pods.get(node, ()))
            )
        )

    def conntrack(self, node: str) -> KernelConntrack:
        """Return what sees a node's flows; to be closed."""
        with self.spaces[node].entered():
            return KernelConntrack(Settings().label)

    def forget_soon(self) -> None:
        """Let the nodes forget flows within seconds; this can be set once they track connections."""
        for node in self.layout.nodes:
            self.spaces[node].sysctl(_FORGET)

    def clear(self) -> None:
        """Take the tables away."""
        for node in self.layout.nodes:
            with self.spaces[node].entered():
                subprocess.run(["nft", "add table inet podfence; delete table inet podfence"], check=True)


def _add(address: str, link: str) -> str:
    return f"addr add {address}/128 dev {link} nodad" if ":" in address else f"addr add {address}/32 dev {link}"
