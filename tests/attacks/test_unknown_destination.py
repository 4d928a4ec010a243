# SPDX-License-Identifier: Apache-2.0
"""Packets for addresses that a pod does not have, in frames for its hardware address.

Its kernel drops them, unless the address is on another of its interfaces, but its programs with NET_RAW read them: a
way into a pod that lets nobody in. Podfence 0.1.0 asked for the destination's policies by address, found none, and let
them pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

from tests.attacks.judging import Attack, Frames, Make, Pair, against, judge, packet

if TYPE_CHECKING:
    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

ADDRESSES: Final = {
    "outside": "203.0.113.80",
    "outside6": "2001:db8::80",
    "another-node": "10.244.2.2",
    "another-node6": "fd00:2::2",
    "nobody-here": "10.244.1.200",
    "nobody-here6": "fd00:1::200",
    "loopback": "127.0.0.1",
    "loopback6": "::1",
    "link-local4": "169.254.7.7",
    "service": "10.96.0.10",
}


def to(address: str, *, tcp: bool) -> Make:
    """Return what makes a packet for an address, for the hardware of the receiver."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        number = bed.number()
        return (
            Ether(src=sender.mac, dst=receiver.mac)
            / packet(sender.six if ":" in address else sender.four, address)
            / (TCP(sport=number, dport=80, flags="S") if tcp else UDP(sport=number, dport=5353))
            / token
        )

    return make


@against(
    *(
        Frames(
            f"{sender}-to-{receiver}-{name}-{'tcp' if tcp else 'udp'}",
            sender,
            receiver,
            to(address, tcp=tcp),
            networks=("bridge",),
        )
        for sender, receiver in (("a", "t"), ("c", "t"), ("x", "c"), ("h", "c"), ("a", "h"), ("x", "h"))
        for name, address in ADDRESSES.items()
        for tcp in (True, False)
    )
)
def test_nothing_reaches_a_pod_at_an_address_that_it_does_not_have(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def for_c(mac: str | None, family: int) -> Make:
    """Return what makes a datagram for c, whom the sender may reach, in a frame for the receiver or for an address."""
    return lambda bed, sender, receiver, token: (
        Ether(src=sender.mac, dst=mac or receiver.mac)
        / packet(sender.address(family), bed["c"].address(family))
        / UDP(sport=bed.number(), dport=5353)
        / token
    )


@against(
    *(
        Frames(f"{receiver}-{name}-ipv{family}", "a", receiver, for_c(mac, family), networks=("bridge",))
        for receiver in "txh"
        for name, mac in (("by-its-mac", None), ("by-an-address-that-nobody-has", "02:00:00:00:00:99"))
        for family in (4, 6)
    )
)
def test_no_pod_gets_what_is_for_another(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
