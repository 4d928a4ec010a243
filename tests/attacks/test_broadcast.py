# SPDX-License-Identifier: Apache-2.0
"""Broadcast and multicast: one frame reaches every pod of a bridge, and the node too.

Podfence 0.1.0 held only the subnet's own broadcast address, which is in the node's range and no pod's. The limited
broadcast and all of multicast, IPv4 and IPv6, passed between pods of a bridge, by ordinary sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.attacks.judging import Attack, Frames, Make, Pair, Sockets, against, datagram, judge, packet
from tests.attacks.plain import TO_MANY
from tests.attacks.wiring import EVERYBODY

if TYPE_CHECKING:
    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

ADDRESSES: Final = {
    "limited-broadcast": "255.255.255.255",
    "subnet-broadcast": "10.244.1.255",
    "all-systems": "224.0.0.1",
    "all-nodes": "ff02::1",
}


@against(
    *(
        Sockets(
            f"{sender}-to-{receiver}-{name}",
            sender,
            receiver,
            address,
            options=() if name.startswith("all") else TO_MANY,
            networks=("bridge",),
        )
        for sender, receiver in (("a", "t"), ("x", "c"), ("h", "t"), ("h", "c"))
        for name, address in ADDRESSES.items()
    )
)
def test_an_ordinary_socket_reaches_no_pod_by_broadcast_or_multicast(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(
    *(
        Sockets(
            f"{sender}-{name}",
            sender,
            "n1",
            address,
            options=() if name.startswith("all") else TO_MANY,
        )
        for sender in "xh"
        for name, address in ADDRESSES.items()
        if name != "subnet-broadcast"
    )
)
def test_a_pod_that_may_send_nothing_does_not_reach_its_node_by_broadcast_or_multicast(
    pair: Pair, attack: Attack
) -> None:
    judge(pair, attack)


def to(mac: str, address: str) -> Make:
    """Return what makes a datagram for an address of many, in a frame for many."""

    def make(bed: Bed, sender: End, _receiver: End, token: Raw) -> Packet:
        source = sender.six if ":" in address else sender.four
        return Ether(src=sender.mac, dst=mac) / packet(source, address) / UDP(sport=bed.number(), dport=5353) / token

    return make


def for_everybody(family: int) -> Make:
    """Return what makes a datagram for one pod, in a frame for all."""
    return lambda bed, sender, receiver, token: (
        Ether(src=sender.mac, dst=EVERYBODY) / datagram(bed, sender, receiver, family) / token
    )


def offer(_bed: Bed, sender: End, _receiver: End, token: Raw) -> Packet:
    return (
        Ether(src=sender.mac, dst=EVERYBODY)
        / IP(src=sender.four, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(op=2, yiaddr="10.244.1.77", siaddr=sender.four)
        / DHCP(options=[("message-type", "offer"), ("hostname", token.load), "end"])
    )


@against(
    *(
        Frames(f"{sender}-to-{receiver}-{name}", sender, receiver, make, networks=("bridge",))
        for sender, receiver in (("a", "t"), ("x", "c"), ("h", "c"))
        for name, make in {
            "mdns": to("01:00:5e:00:00:fb", "224.0.0.251"),
            "mdns6": to("33:33:00:00:00:fb", "ff02::fb"),
            "multicast": to("01:00:5e:01:01:01", "239.1.1.1"),
            "multicast6": to("33:33:00:00:00:01", "ff05::1"),
            "all-of-the-interface": to("33:33:00:00:00:01", "ff01::1"),
            "its-address-for-everybody": for_everybody(4),
            "its-address6-for-everybody": for_everybody(6),
            "offer-of-dhcp": offer,
        }.items()
    )
)
def test_no_frame_for_many_reaches_a_pod_that_its_sender_may_not_reach(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
