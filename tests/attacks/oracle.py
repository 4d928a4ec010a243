# SPDX-License-Identifier: Apache-2.0
"""What may arrive where, for frames of a sender that is known by the token in them: the engine's answer, and neighbours.

A frame is read where it arrives, whatever it was when it was sent. It may be there if its source is one of the sender's
own addresses, its destination is one of the place's, and the engine allows that connection or one that it answers;
or if it is the search for neighbours, as small and as honest as that has to be.
"""

from __future__ import annotations

import io
import ipaddress
import json
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

import podfence
from podfence.policy.options import Options
from tests.attacks.bed import HELD, PODS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scapy.packet import Packet

    from tests.agent.node.cluster import Fields
    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

_EXTENSIONS: Final = (
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    IPv6ExtHdrFragment,
)
_ERRORS: Final = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4)}
_LISTENERS: Final = (131, 132, 143)
_ARP_ROOM: Final = 46 - 28
"""How much may follow ARP: what fills the shortest frame of Ethernet."""


NOBODY: Final = "2001:db8:9::9"


class Flow(NamedTuple):
    """What connection tracking tells flows apart by; the ports are 0 where a protocol has none."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int

    @property
    def answer(self) -> Flow:
        return Flow(self.protocol, self.destination, self.destination_port, self.source, self.source_port)


def engine(objects: Iterable[Fields]) -> Callable[[str, str, str], bool]:
    """Return the engine's answer for objects: whether a pod may connect to an address, at a port as it is written."""
    items = []
    for item in objects:
        whole = {"apiVersion": "networking.k8s.io/v1" if item["kind"] == "NetworkPolicy" else "v1", **item}
        if item["kind"] == "Pod":
            whole["spec"] = {**item["spec"], "containers": [{"name": "c", "image": "c"}]}
        items.append(whole)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    # The agent knows all objects of its cluster, so nothing that is not among them exists.
    cluster = podfence.load("-", stdin=io.BytesIO(text.encode()), options=Options(world="closed"))

    @cache
    def allows(sender: str, destination: str, port: str) -> bool:
        return cluster.check(f"shop/{sender}", destination, port).allowed is True

    return allows


class Oracle:
    """Judges what arrives; it remembers what was sent, because answers to what is allowed are allowed."""

    def __init__(self, bed: Bed) -> None:
        """Read the objects of the bed's cluster."""
        self._bed = bed
        self._engine = engine(bed.cluster.objects)
        self._begun: set[Flow] = set()

    def sent(self, sender: str, frame: bytes) -> None:
        """Note the flow that a frame begins, if it may."""
        head = ip_of(without_priority(Ether(frame)))
        if head is not None and head.src in self._own(sender) and self._may_begin(sender, head):
            self._begun.add(flow_of(head))

    def why_not(self, sender: str, place: str, frame: bytes) -> str:
        """Return why a frame of a sender must not be at a place, nothing if it may."""
        found = Ether(frame)
        if found.type == 0x0806 and ARP in found:
            return self._arp(self._bed[sender], found)
        head = ip_of(found)
        if head is None:
            return f"what is there is neither IP nor ARP: {found.summary()}"
        if isinstance(head, IPv6) and self._is_discovery(head):
            return self._discovery(self._bed[sender], head)
        if self._is_complaint_of_options(head):
            return ""
        if head.src not in self._own(sender):
            return f"the source {head.src} is not the sender's"
        if not self._belongs(place, head.dst):
            return f"the destination {head.dst} is not there"
        if HELD in (sender, place):
            return "one of them is not known yet"
        if self._may_begin(sender, head) or self._answers(sender, head):
            return ""
        return f"not allowed: {head.summary()}"

    def at_the_node(self, sender: str, source: str) -> str:
        """Return why a datagram for port 5353 of the node must not be there, nothing if it may."""
        if source not in self._own(sender):
            return f"the source {source} is not the sender's"
        allowed = sender != HELD and self._engine(sender, self._bed["n1"].four, "5353/udp")
        return "" if allowed else "the sender may not send to its node"

    def must_arrive(self, sender: str, place: str, frame: bytes) -> bool:
        """Return whether a frame that nobody has changed begins an allowed flow."""
        head = ip_of(Ether(frame))
        return head is not None and not self.why_not(sender, place, frame) and self._may_begin(sender, head)

    def _own(self, sender: str) -> tuple[str, str]:
        return self._bed[sender].four, self._bed[sender].six

    def _taken(self) -> set[str]:
        here = self._bed.wiring.nodes[1]
        others = [end for end in here.pods.values() if end.name != HELD]
        # The bridge's own hardware address cannot be taken from it: it learns nothing about itself.
        return {*here.gateways, *(one for end in others for one in (end.four, end.mac))}

    def _belongs(self, place: str, address: str) -> bool:
        if place != "outside":
            return address in self._own(place)
        # What n2 has no pod for goes on to its default gateway.
        wanted = ipaddress.ip_address(address)
        mine = (ipaddress.ip_network(whole) for whole in self._bed.wiring.nodes[1].ranges)
        pods = {one for end in self._bed.wiring.nodes[2].pods.values() for one in (end.four, end.six)}
        return address not in pods and not any(wanted in whole for whole in mine)

    def _is_complaint_of_options(self, head: Packet) -> bool:
        """Return whether a node complains of hop-by-hop options, which it reads before any rule can be asked."""
        others = {end.six for end in self._bed.ends.values() if end.name != "n1"}
        if not isinstance(head, IPv6) or head.src in others:
            return False
        last = upper(head)
        about = ip_of_inner(last, 6) if protocol_of(head) == 58 and kind_of(last) == 4 else None
        return about is not None and about.nh == 0

    def _may_begin(self, sender: str, head: Packet) -> bool:
        if sender == HELD:
            return False
        port = port_of(head)
        # In text this is an address of IPv4; on the wire it is one that nobody has.
        destination = NOBODY if head.dst.startswith("::ffff:") else head.dst
        try:
            if self._engine(sender, destination, port):
                return True
            # The port of a later fragment is in the first one, which the kernel has seen and nobody here has.
            return is_later_fragment(head) and any(
                self._engine(sender, destination, known) for known in ("80/tcp", "5353/udp")
            )
        except podfence.PodfenceError:
            return False

    def _answers(self, sender: str, head: Packet) -> bool:
        flow = flow_of(head)
        if flow.answer in self._begun:
            return True
        family = 6 if isinstance(head, IPv6) else 4
        last = upper(head)
        if flow.protocol in (1, 58) and kind_of(last) in _ERRORS[family]:
            about = ip_of_inner(last, family)
            ends = {head.src, head.dst}
            return about is not None and {about.src, about.dst} == ends
        return False

    def _arp(self, sender: End, frame: Ether) -> str:
        said = frame[ARP]
        if self._bed.network != "bridge":
            return "ARP passes a router"
        if sender.name == HELD:
            # Nobody knows its addresses: it may have any but those that others have.
            taken = self._taken()
            # What it says of its own address costs nobody but itself.
            fine = not {said.psrc, frame.src} & taken
            return "" if fine else f"ARP with what another has: {frame.summary()}"
        own = said.hwsrc == sender.mac and frame.src == sender.mac
        probe = said.op == 1 and said.psrc == "0.0.0.0" and said.pdst == sender.four
        if not own or said.op not in (1, 2) or not (said.psrc == sender.four or probe):
            return f"ARP that is not the sender's: {frame.summary()}"
        return "" if len(bytes(said.payload)) <= _ARP_ROOM else "ARP with more than that behind it"

    @staticmethod
    def _is_discovery(head: IPv6) -> bool:
        last = upper(head)
        # With another hop limit a message of discovery means nothing, and is a packet like others.
        if kind_of(last) in (133, 134, 135, 136, 137):
            return bool(head.nh == 58 and head.hlim == 255)
        return kind_of(last) in _LISTENERS and str(head.dst).startswith("ff")

    def _discovery(self, sender: End, head: IPv6) -> str:
        last = upper(head)
        kind = kind_of(last)
        if self._bed.network != "bridge":
            return f"discovery passes a router: {head.summary()}"
        if kind in _LISTENERS:
            fine = head.hlim == 1 and head.dst.startswith("ff02:") and head.plen <= 400
            return "" if fine else f"a listener's report that is none: {head.summary()}"
        own = (sender.six, sender.link_local)
        fine = kind in (135, 136) and head.hlim == 255 and head.plen <= 40 and head.src in (*own, "::")
        if ICMPv6ND_NS in head:
            fine = fine and (head.src != "::" or head[ICMPv6ND_NS].tgt in own)
        elif ICMPv6ND_NA in head:
            fine = fine and head[ICMPv6ND_NA].tgt in own
        for option in (ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr):
            fine = fine and (option not in head or head[option].lladdr == sender.mac)
        return "" if fine else f"discovery that is not the sender's: {head.summary()}"


def without_priority(frame: Packet) -> Packet:
    """Return a frame without tags of VLAN 0, which say a priority only: the kernel takes it as if they were not there."""
    found = frame
    while isinstance(found.payload, Dot1Q | Dot1AD) and found.payload.vlan == 0:
        found = found.payload
    return found


def ip_of(frame: Packet) -> Packet | None:
    """Return the packet of a frame that is simply IP."""
    for layer in (IP, IPv6):
        if isinstance(frame.payload, layer):
            return frame.payload
    return None


def upper(head: Packet) -> Packet:
    """Return what is behind all extension headers."""
    found = head.payload
    while isinstance(found, _EXTENSIONS):
        found = found.payload
    return found


def kind_of(message: Packet) -> int:
    """Return the type of an ICMP message, -1 if it is too short for one."""
    data = bytes(message)
    return data[0] if data else -1


def protocol_of(head: Packet) -> int:
    """Return the number of the protocol behind all extension headers."""
    if isinstance(head, IP):
        return int(head.proto)
    number, found = head.nh, head.payload
    while isinstance(found, _EXTENSIONS):
        number, found = found.nh, found.payload
    return int(number)


def is_later_fragment(head: Packet) -> bool:
    if isinstance(head, IP):
        return bool(head.frag)
    return IPv6ExtHdrFragment in head and bool(head[IPv6ExtHdrFragment].offset)


def port_of(head: Packet) -> str:
    """Return the port that a packet is for, as the engine is asked."""
    number, data = protocol_of(head), bytes(upper(head))
    name = {6: "tcp", 17: "udp", 132: "sctp"}.get(number)
    if name is None or is_later_fragment(head) or len(data) < 4:
        return "icmp"
    port = int.from_bytes(data[2:4], "big")
    return f"{port}/{name}" if port else name


def flow_of(head: Packet) -> Flow:
    """Return the flow of a packet; without ports it is one of its ends and protocol."""
    number, data = protocol_of(head), bytes(upper(head))
    ports = (0, 0)
    if number in (6, 17, 132) and len(data) >= 4 and not is_later_fragment(head):
        ports = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    return Flow(number, head.src, ports[0], head.dst, ports[1])


def ip_of_inner(message: Packet, family: int) -> Packet | None:
    """Return the packet that an ICMP error is about."""
    with suppress(Exception):
        return (IPv6 if family == 6 else IP)(bytes(message)[8:])
    return None


WATCHED: Final = (*PODS[1], *PODS[2], "outside")
"""Where is listened."""
