# SPDX-License-Identifier: Apache-2.0
"""Tunnels that end at a node and prove nothing about who sent what comes out of them.

Whoever may send to such a tunnel may have its node send any packet on, from any source; so pods may not.
What proves its senders, as WireGuard and IPsec do, is none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.netlink.messages import contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.agent.node.interfaces import Link

IP_IN_IP, IPV6, GRE = 4, 41, 47
"""Protocols of IP that carry packets: IPv4, IPv6, and whatever GRE says it is."""

_PROTOCOLS: Final = {
    "ipip": (IP_IN_IP,),
    "sit": (IP_IN_IP, IPV6),
    "ip6tnl": (IP_IN_IP, IPV6),
    **dict.fromkeys(("gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan"), (GRE,)),
}
_PORTS: Final = {"vxlan": (15, 8472), "geneve": (5, 6081), "bareudp": (1, 6635)}
"""For each kind of link with UDP: its attribute for the port, in network byte order, and the port without one."""

# A tunnel within UDP ("fou", "gue") says so in options that have other numbers in GRE than elsewhere. The node takes
# at one port what it sends from or to it at the other end.
_WITHIN_UDP: Final = {
    **dict.fromkeys(("ipip", "sit", "ip6tnl"), (15, 17, 18)),
    **dict.fromkeys(("gre", "gretap", "ip6gre", "ip6gretap"), (14, 16, 17)),
}


class Tunnels(NamedTuple):
    """Where a node takes packets of others out of tunnels: at which ports of UDP, and from which protocols of IP.

    `kinds` are those of the interfaces that the packets come out of.
    """

    ports: frozenset[int]
    protocols: frozenset[int]
    kinds: frozenset[str]


def tunnels(links: Iterable[Link]) -> Tunnels:
    """Return the tunnels that end at these links, whether they are up or not: they may be at any moment."""
    ports: set[int] = set()
    protocols: set[int] = set()
    kinds: set[str] = set()
    for link in links:
        if link.kind in _PORTS or link.kind in _PROTOCOLS:
            kinds.add(link.kind)
            ports.update(_ports(link))
            protocols.update(_PROTOCOLS.get(link.kind, ()))
    return Tunnels(frozenset(ports), frozenset(protocols), frozenset(kinds))


def _ports(link: Link) -> Iterator[int]:
    options = contents(link.options, 0, len(link.options))
    if link.kind in _PORTS:
        number, default = _PORTS[link.kind]
        yield int.from_bytes(options.get(number, b""), "big") or default
    elif link.kind in _WITHIN_UDP:
        kind, source, destination = _WITHIN_UDP[link.kind]
        if any(options.get(kind, b"")):
            yield from filter(None, (int.from_bytes(options.get(what, b""), "big") for what in (source, destination)))
