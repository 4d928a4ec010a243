# SPDX-License-Identifier: Apache-2.0
"""Bind, then judge: what table `inet podfence` has so that a pod's link carries that pod's addresses and nothing else.

Policies are looked up by address, so a packet must prove its address first. It does so before connection tracking
sees it. A link is known by the name of the interface that packets come in by: that of a routed link, or the bridge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.dataplane.drops import TOLD, TUNNEL, UNKNOWN_DESTINATION, UNKNOWN_SOURCE, Drops, chain_of
from podfence.dataplane.objects import FAMILIES, Objects
from podfence.dataplane.ruleset import address_text
from podfence.nft.chain import Hook
from podfence.nft.element import goto, jump
from podfence.nft.sets import Map
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from podfence.dataplane.links import Links
    from podfence.dataplane.program import NodeProgram
    from podfence.dataplane.ruleset import ElementKey
    from podfence.dataplane.settings import Settings
    from podfence.nft.element import Verdict
    from podfence.sets.addresses import Family

CHAINS: Final = (
    *("bind", "from_bridge", "from_link", "link_local", "held", "to_link", "pod_tunnel", "tunnel_in", "to_tunnel"),
    *map(chain_of, (UNKNOWN_SOURCE, UNKNOWN_DESTINATION, TUNNEL)),
)
SETS: Final = (TOLD, "pairs4", "pairs6", "nodes4", "nodes6", "local4", "local6", "ends", "links")
"""In the order in which they are filled: what is bound before what says that it must be."""

LISTENER_REPORT: Final = "icmpv6 type { 131, 132, 143 } ip6 hoplimit 1 ip6 daddr ff02::/16"
"""What a kernel tells multicast routers; a bridge listens to it, to know behind which port a group is."""

_NEIGHBOURS: Final = "ip6 nexthdr 58 icmpv6 type { 135, 136 } ip6 hoplimit 255"
"""Neighbour discovery as kernels send it, with no header between: a node answers to some of these with an error."""

_PRIORITY: Final = -310
"""Before connection tracking, and before chains that exempt packets from it."""

_BEFORE_INPUT: Final = -6
_INTERFACE: Final = ("ifname",)


class Bound(NamedTuple):
    """What binds links: the objects, and the rules of chain `forward` that lead to them."""

    objects: Objects
    forward: tuple[str, ...]


def bound(links: Links, settings: Settings, program: NodeProgram) -> Bound:
    """Return what binds links in the table of both families."""
    result = Objects()
    drops = Drops(settings)
    drops.put(result, UNKNOWN_SOURCE)
    drops.put(result, UNKNOWN_DESTINATION, otherwise="return")
    _put_sets(result, links, program)
    # What most packets are comes first, so that they pay for one lookup.
    result.chain(
        "bind",
        *(f"iifname . {word} saddr @pairs{family} accept" for family, word, _ in FAMILIES),
        "iifname vmap @links",
        # A packet of a link within a VRF comes here a second time, as if by the VRF.
        'meta iifkind "vrf" accept',
        *(f"{word} saddr @local{family} goto {chain_of(UNKNOWN_SOURCE)}" for family, word, _ in FAMILIES),
        hook=Hook("filter", "prerouting", _PRIORITY),
    )
    held = "a link whose pod has no address yet"
    # Nobody has proved the source of these, so they may not go on to somebody behind the node, and what the node
    # answers must go back by the same link.
    here = f"{_NEIGHBOURS} fib daddr type {{ local, multicast }}"
    back = (f"{here} ip6 saddr :: accept", f"{here} fib saddr . iif oif exists accept")
    result.chain("held", *back, f"counter {drops.quiet}", comment=held)
    # Those of pods that are being made too: the table of frames has judged them, by port and hardware address.
    result.chain("from_bridge", *back, "goto from_link")
    result.chain(
        "from_link",
        "ip6 saddr { ::, fe80::/10 } goto link_local",
        f"ip protocol 2 {drops.quiet}",
        f"goto {chain_of(UNKNOWN_SOURCE)}",
    )
    result.chain(
        "link_local",
        f"{_NEIGHBOURS} accept",
        f"{LISTENER_REPORT} accept",
        f"icmpv6 type 133 {drops.quiet}",
        f"goto {chain_of(UNKNOWN_SOURCE)}",
    )
    result.chain(
        "to_link",
        *(f"oifname . {word} daddr @pairs{family} return" for family, word, _ in FAMILIES),
        f"goto {chain_of(UNKNOWN_DESTINATION)}",
    )
    return Bound(result, ("oifname vmap @ends", *_put_tunnels(result, links, drops, program)))


def _put_sets(result: Objects, links: Links, program: NodeProgram) -> None:
    bridges, pods, new = links.all_bridges, links.bound, links.new
    interfaces = {bridge: links.is_confined(bridge) for bridge in bridges}
    interfaces |= {pod.interface: not pod.exempt for pod in links.pods if not pod.bridge}
    pairs = {(pod.bridge or pod.interface, number) for pod in pods for number in pod.addresses}
    local = {number for pod in pods for number in pod.addresses}
    result.addresses("pairs", pairs, before=_INTERFACE)
    result.addresses("local", local)
    result.addresses("nodes", program.nodes)
    # A frame for the bridge itself, as LLDP is, comes past the bridge and most of its hooks: by the port.
    ports = {link.interface for link in links.pods if link.bridge} | links.held
    confined: dict[ElementKey, Verdict | None] = dict.fromkeys(ports, goto(chain_of(UNKNOWN_SOURCE)))
    ends: dict[ElementKey, Verdict | None] = {}
    for interface, is_confined in interfaces.items():
        if interface in new:
            confined[interface] = goto("held")
        elif is_confined:
            confined[interface] = goto("from_bridge" if interface in bridges else "from_link")
            ends[interface] = jump("to_link")
    result.put(Map("links", _INTERFACE), confined)
    result.put(Map("ends", _INTERFACE), ends)


def _put_tunnels(result: Objects, links: Links, drops: Drops, program: NodeProgram) -> tuple[str, ...]:
    """Take in what keeps pods out of the node's tunnels; return the rules that lead there from `forward`."""
    matches = []
    if links.tunnel_ports:
        matches.append(f"udp dport {{ {', '.join(map(str, sorted(links.tunnel_ports)))} }}")
    if links.tunnel_protocols:
        matches.append(f"meta l4proto {{ {', '.join(map(str, sorted(links.tunnel_protocols)))} }}")
    if not matches:
        return ()
    dropped = chain_of(TUNNEL)
    drops.put(result, TUNNEL, otherwise="return")
    result.chain(
        "pod_tunnel",
        *(f"{word} saddr @local{n} {word} daddr @nodes{n} goto {dropped}" for n, word, _ in FAMILIES),
    )
    # Where it ends, on this node: what pods of others sent is here too, if their nodes let it out.
    ranges = [
        f"{word} saddr {{ {', '.join(spans)} }} goto {dropped}"
        for family, word, _ in FAMILIES
        if (spans := _span_texts(program, family))
    ]
    result.chain(
        "to_tunnel",
        *(f"{word} saddr @local{n} goto {dropped}" for n, word, _ in FAMILIES),
        *(f"{word} saddr @nodes{n} return" for n, word, _ in FAMILIES),
        # No Node's range has the addresses that a plugin gives out by itself.
        *(f'meta iifkind "{kind}" goto {dropped}' for kind in sorted(links.tunnel_kinds)),
        *ranges,
    )
    result.chain(
        "tunnel_in", *(f"{match} jump to_tunnel" for match in matches), hook=Hook("filter", "input", _BEFORE_INPUT)
    )
    return tuple(f"{match} jump pod_tunnel" for match in matches)


def _span_texts(program: NodeProgram, family: Family) -> list[str]:
    return [
        address_text(first) if first == last else f"{address_text(first)}-{address_text(last)}"
        for first, last in program.pod_ranges.spans
        if family_of(first) == family
    ]
