# SPDX-License-Identifier: Apache-2.0
"""Forged neighbours on a bridge: a pod that says it has another's address, or sends with another's hardware address.

Podfence 0.1.0 let all of this pass. With one ARP request the allowed pod's address led to the attacker, who then had a
whole TCP connection in its place; with one frame of its hardware address the attacker read what others sent to it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.attacks.judging import Attack, Frames, OneFrame, Pair, Trial, against, datagram, ethernet, judge
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import EVERYBODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from scapy.packet import Packet

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

pytestmark = pytest.mark.usefixtures("forgetting")

LOCKED: Final = 1.5
"""Seconds after which a kernel believes another ARP answer, and a little more."""


def claimed(bed: Bed, whose: str) -> tuple[str, str]:
    """Return the addresses of a pod, or those of the gateway."""
    return bed.wiring.nodes[1].gateways if whose == "gateway" else (bed[whose].four, bed[whose].six)


def arp(operation: int, whose: str, *, everybody: bool = False, honest_mac: bool = False) -> OneFrame:
    """Return what makes ARP that gives somebody's address as the sender's."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        address, _ = claimed(bed, whose)
        mac = bed[whose].mac if honest_mac else sender.mac
        return (
            Ether(src=mac, dst=EVERYBODY if everybody else receiver.mac)
            / ARP(op=operation, hwsrc=mac, psrc=address, pdst=address if everybody else receiver.four)
            / token
        )

    return make


def advertisement(whose: str, *, everybody: bool = False) -> OneFrame:
    """Return what makes a neighbour advertisement of somebody's address."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        _, address = claimed(bed, whose)
        return (
            Ether(src=sender.mac, dst="33:33:00:00:00:01" if everybody else receiver.mac)
            / IPv6(src=sender.link_local, dst="ff02::1" if everybody else receiver.six, hlim=255)
            / ICMPv6ND_NA(R=0, S=0 if everybody else 1, O=1, tgt=address)
            / ICMPv6NDOptDstLLAddr(lladdr=sender.mac)
            / token
        )

    return make


def solicitation(whose: str) -> OneFrame:
    """Return what makes a neighbour solicitation in somebody's name."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        _, address = claimed(bed, whose)
        return (
            ethernet(bed, sender, receiver)
            / IPv6(src=address, dst=receiver.six, hlim=255)
            / ICMPv6ND_NS(tgt=receiver.six)
            / ICMPv6NDOptSrcLLAddr(lladdr=sender.mac)
            / token
        )

    return make


FORGED: Final[dict[str, OneFrame]] = {
    "arp-question-as-c": arp(1, "c"),
    "arp-answer-as-c": arp(2, "c"),
    "arp-question-as-c-for-everybody": arp(1, "c", everybody=True),
    "arp-answer-as-c-with-its-mac": arp(2, "c", honest_mac=True),
    "arp-question-as-the-gateway": arp(1, "gateway"),
    "arp-answer-as-the-gateway": arp(2, "gateway"),
    "arp-answer-as-the-gateway-for-everybody": arp(2, "gateway", everybody=True),
    "nd-advertisement-of-c": advertisement("c"),
    "nd-advertisement-of-c-for-everybody": advertisement("c", everybody=True),
    "nd-advertisement-of-the-gateway": advertisement("gateway"),
    "nd-advertisement-of-the-gateway-for-everybody": advertisement("gateway", everybody=True),
    "nd-solicitation-as-c": solicitation("c"),
    "nd-solicitation-as-the-gateway": solicitation("gateway"),
}


@against(
    *(
        Frames(f"{sender}-{name}", sender, "t", make, networks=("bridge",))
        for sender in "axh"
        for name, make in FORGED.items()
    )
)
def test_nobody_is_told_of_an_address_by_a_pod_that_does_not_have_it(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def poisoned(bed: Bed, make: OneFrame, whose: str, family: int) -> bool:
    """Return whether t sends to a what is for another, after t has found the other by itself."""
    address = claimed(bed, whose)[family == 6]
    bed.resolve("t", address)

    def tried() -> bool:
        # Options that are none would keep a kernel from believing the rest, so there is no token here.
        bed.port("a").send(make(bed, bed["a"], bed["t"], Raw(b"")))
        return bed["a"].mac in bed.run("t", "ip", "neigh", "show", address, "dev", "eth0")

    return bed.seen(tried, LOCKED if bed.guarded else ARRIVES)


@against(
    *(
        Trial(name, partial(poisoned, make=FORGED[name], whose=whose, family=family), networks=("bridge",))
        for name, whose, family in (
            ("arp-question-as-c", "c", 4),
            ("arp-answer-as-c", "c", 4),
            ("arp-answer-as-the-gateway", "gateway", 4),
            ("arp-answer-as-the-gateway-for-everybody", "gateway", 4),
            ("nd-advertisement-of-c", "c", 6),
            ("nd-advertisement-of-c-for-everybody", "c", 6),
            ("nd-advertisement-of-the-gateway", "gateway", 6),
            ("nd-solicitation-as-c", "c", 6),
        )
    )
)
def test_no_pod_sends_to_an_impostor(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def overheard(bed: Bed, thief: str, bait: Callable[[Bed, End, End], Packet]) -> bool:
    """Return whether a pod reads what t sends to c, after it has sent with c's hardware address."""
    own, t, c = (bed[name] for name in (thief, "t", "c"))
    bed.port(thief).send(bait(bed, own, c))
    token = bed.token()
    for name in (thief, "c"):
        bed.port(name).forget()
    bed.port("t").send(Ether(src=t.mac, dst=c.mac) / datagram(bed, t, c) / token)
    if bed.guarded:
        return bed.port("c").hears(token, ARRIVES) is None
    return bed.port(thief).hears(token, ARRIVES) is not None


@against(
    *(
        Trial(f"{thief}-{name}", partial(overheard, thief=thief, bait=bait), networks=("bridge",))
        for thief in "axh"
        for name, bait in {
            "ipv4": lambda bed, a, c: Ether(src=c.mac, dst=bed["t"].mac) / datagram(bed, a, bed["d"]) / b"bait",
            "ipv6": lambda bed, a, c: Ether(src=c.mac, dst=bed["t"].mac) / datagram(bed, a, bed["d"], 6) / b"bait",
            "arp": lambda bed, a, c: (
                Ether(src=c.mac, dst=EVERYBODY) / ARP(hwsrc=a.mac, psrc=a.four, pdst="10.244.1.200")
            ),
            "arp-as-c": lambda bed, a, c: Ether(src=c.mac, dst=EVERYBODY) / ARP(hwsrc=c.mac, psrc=c.four, pdst=c.four),
            "nd": lambda bed, a, c: (
                Ether(src=c.mac, dst="33:33:00:00:00:01")
                / IPv6(src=a.link_local, dst="ff02::1", hlim=255)
                / ICMPv6ND_NA(tgt=a.link_local)
            ),
            "experimental-88b5": lambda bed, a, c: Ether(src=c.mac, dst=EVERYBODY, type=0x88B5) / b"bait",
            "to-nobody": lambda bed, a, c: Ether(src=c.mac, dst="02:00:00:00:00:99", type=0x88B5) / b"bait",
        }.items()
    )
)
def test_no_pod_reads_what_is_for_another_by_sending_with_its_hardware_address(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
