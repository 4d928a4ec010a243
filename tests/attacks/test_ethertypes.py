# SPDX-License-Identifier: Apache-2.0
"""Frames that are not simply IP: what br_netfilter does not hand to the rules, the rules do not see.

Podfence 0.1.0 let all of this pass on a bridge. With the VLAN number 0, which the receiver's kernel takes off without
being asked, whole TCP connections worked with a pod that denied them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Raw

from tests.attacks.judging import Attack, Frames, Make, Pair, Trial, against, datagram, ethernet, judge
from tests.attacks.plain import ARRIVES, QUIET

if TYPE_CHECKING:
    from scapy.packet import Packet

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End


def tagged(layer: type[Packet], kind: int, vlan: int, family: int = 4) -> Make:
    """Return what makes an ordinary datagram behind a VLAN tag."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        return (
            ethernet(bed, sender, receiver, type=kind)
            / layer(vlan=vlan)
            / datagram(bed, sender, receiver, family)
            / token
        )

    return make


def typed(kind: int) -> Make:
    """Return what makes a frame of an ethertype with nothing that anybody understands."""
    return lambda bed, sender, receiver, token: ethernet(bed, sender, receiver, type=kind) / token


MORE: Final = Raw(bytes(18))
"""As much as Ethernet may add to an ARP packet to fill the shortest frame; it cannot be told from what a pod adds."""

UNDERSTOOD: Final = {
    "vlan-0": tagged(Dot1Q, 0x8100, 0),
    "vlan-0-ipv6": tagged(Dot1Q, 0x8100, 0, 6),
    "service-vlan-0": tagged(Dot1AD, 0x88A8, 0),
    "two-tags-0": lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver, type=0x88A8)
        / Dot1AD(vlan=0)
        / Dot1Q(vlan=0)
        / datagram(bed, sender, receiver)
        / token
    ),
}
"""What the receiver's kernel takes for an ordinary datagram."""

ONLY_HEARD: Final = {
    "vlan-7": tagged(Dot1Q, 0x8100, 7),
    "vlan-1": tagged(Dot1Q, 0x8100, 1),
    "service-vlan-7": tagged(Dot1AD, 0x88A8, 7),
    "mpls": lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver, type=0x8847) / MPLS(label=16, s=1) / datagram(bed, sender, receiver) / token
    ),
    "pppoe": lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver, type=0x8864)
        / PPPoE(sessionid=1)
        / PPP(proto=0x21)
        / datagram(bed, sender, receiver)
        / token
    ),
    "llc": lambda bed, sender, receiver, token: (
        Dot3(src=sender.mac, dst=bed.toward(sender.name, receiver.name)) / LLC() / token
    ),
    "snap": lambda bed, sender, receiver, token: (
        Dot3(src=sender.mac, dst=bed.toward(sender.name, receiver.name))
        / LLC()
        / SNAP(code=0x0800)
        / datagram(bed, sender, receiver)
        / token
    ),
    "spanning-tree": lambda bed, sender, receiver, token: Dot3(src=sender.mac, dst="01:80:c2:00:00:00") / LLC() / token,
    "experimental-88b5": typed(0x88B5),
    "loopback-9000": typed(0x9000),
    "profinet-8892": typed(0x8892),
    "rarp": typed(0x8035),
    "lldp": typed(0x88CC),
    "eapol": typed(0x888E),
    "arp-with-a-payload": lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver)
        / ARP(op=2, hwsrc=sender.mac, psrc="192.0.2.1", hwdst=receiver.mac, pdst=receiver.four)
        / MORE
        / token
    ),
    "arp-with-a-payload-and-its-own-address": lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver)
        / ARP(op=2, hwsrc=sender.mac, psrc=sender.four, hwdst=receiver.mac, pdst=receiver.four)
        / MORE
        / token
    ),
}
"""What only a program with NET_RAW can take, as two pods that want to talk past the policies have it."""

PAIRS: Final = (("a", "t"), ("x", "c"), ("h", "c"))


def rows(kinds: dict[str, Make], *, understood: bool) -> list[Attack]:
    """Return the attacks between pods of a node; those that kernels understand are routed too."""
    return [
        Frames(
            f"{sender}-to-{receiver}-{name}",
            sender,
            receiver,
            make,
            networks=("bridge", "routed") if understood else ("bridge",),
            port=5353 if understood else None,
            family=6 if name.endswith("ipv6") else 4,
        )
        for sender, receiver in PAIRS
        for name, make in kinds.items()
    ]


@against(*rows(UNDERSTOOD, understood=True))
def test_what_a_kernel_takes_for_ip_does_not_arrive(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(*rows(ONLY_HEARD, understood=False))
def test_what_is_not_ip_does_not_arrive(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def answered(bed: Bed) -> bool:
    """Return whether a gets an answer from t to the beginning of a connection behind VLAN 0."""
    number = bed.number()
    port = bed.port("a")
    port.forget()
    port.send(
        ethernet(bed, bed["a"], bed["t"], type=0x8100)
        / Dot1Q(vlan=0)
        / IP(src=bed["a"].four, dst=bed["t"].four)
        / TCP(sport=number, dport=80, flags="S", seq=100)
    )
    # Nobody listens there, so the kernel that gets this answers with a reset; t may answer anybody.
    return (
        port.first(
            lambda frame: TCP in (found := Ether(frame)) and found[TCP].dport == number,
            QUIET if bed.guarded else ARRIVES,
        )
        is not None
    )


@against(Trial("vlan-0", answered))
def test_no_connection_begins_behind_vlan_0(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
