# SPDX-License-Identifier: Apache-2.0
"""Packets that a filter may read in another way than the receiver does: fragments, options, extension headers, flags.

Podfence 0.1.0 held all of these, and they must stay held. Who may send the same is tried in `test_honest.py`.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet import ICMP, TCP, UDP, IPOption_LSRR, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.attacks import plain
from tests.attacks.bed import egress_of_x
from tests.attacks.judging import Attack, Frames, Make, Pair, against, arrived_before, ethernet, judge, packet
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scapy.packet import Packet

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

WAYS: Final = (("a", "t"), ("x", "c"), ("x", "d"))
FLAGS: Final = ("S", "SA", "A", "R", "RA", "SF", "F", "FA", "", "FPU", "SR", "SAFRPU", "SEC")
PROTOCOLS: Final = (
    0,
    1,
    2,
    4,
    6,
    41,
    46,
    47,
    50,
    51,
    59,
    60,
    89,
    103,
    108,
    112,
    115,
    132,
    135,
    136,
    139,
    140,
    253,
    255,
)


def of(family: int, inside: Callable[[int], Packet], **fields: object) -> Make:
    """Return what makes a packet with something in it; it is given a port that no other flow has."""
    return lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver)
        / packet(sender.address(family), receiver.address(family), **fields)
        / inside(bed.number())
        / token
    )


def first_is_tiny(family: int) -> Make:
    """Return what makes a datagram in two fragments, of which the first ends with its ports."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> list[Packet]:
        ends = (sender.address(family), receiver.address(family))
        whole = bytes(packet(*ends) / UDP(sport=bed.number(), dport=5353) / bytes(8) / token)[
            40 if family == 6 else 20 :
        ]
        identity = bed.number()
        return [
            ethernet(bed, sender, receiver)
            / fragment(family, sender, receiver, identity, start, more=start == 0)
            / Raw(part)
            for start, part in ((0, whole[:8]), (8, whole[8:]))
        ]

    return make


def fragment(family: int, sender: End, receiver: End, identity: int, start: int, *, more: bool) -> Packet:
    """Return the heads of a fragment of a datagram."""
    ends = (sender.address(family), receiver.address(family))
    if family == 6:
        return packet(*ends) / IPv6ExtHdrFragment(nh=17, id=identity, offset=start // 8, m=more)
    return packet(*ends, id=identity, proto=17, frag=start // 8, flags="MF" if more else 0)


def only_a_later_one(family: int) -> Make:
    """Return what makes a fragment whose beginning never comes."""
    return lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver) / fragment(family, sender, receiver, bed.number(), 800, more=False) / token
    )


def overlapping(family: int) -> Make:
    """Return what makes fragments that say one port, and then another at the same place."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> list[Packet]:
        identity, number = bed.number(), bed.number()
        heads = [bytes(UDP(sport=number, dport=port, len=8 + 8 + len(token.load), chksum=0)) for port in (9, 5353)]
        parts = ((0, heads[0]), (0, heads[1]), (8, bytes(8) + token.load))
        return [
            ethernet(bed, sender, receiver)
            / fragment(family, sender, receiver, identity, start, more=start == 0)
            / Raw(part)
            for start, part in parts
        ]

    return make


def source_routed(bed: Bed, receiver: str) -> bool:
    """Return whether a datagram of x reaches a receiver whose address it names as the hop after the node."""
    x, token = bed["x"], Raw(bed.token())
    route = [IPOption_LSRR(routers=[bed[receiver].four])]
    port = bed.port(receiver)
    port.forget()
    bed.port("x").send(Ether(src=x.mac, dst=x.via) / packet(x.four, bed["n1"].four, options=route) / udp(9) / token)
    return arrived_before(bed, receiver, token.load) if bed.guarded else port.hears(token.load, ARRIVES) is not None


@contextmanager
def heeding_source_routes(bed: Bed) -> Iterator[None]:
    """Let the node heed source routes, and x send to its node and to nobody else."""
    only_its_node = egress_of_x()
    only_its_node["spec"]["egress"] = [{"to": [{"ipBlock": {"cidr": f"{bed['n1'].four}/32"}}]}]
    bed["n1"].space.sysctl({"ipv4/conf/all/accept_source_route": 1})
    bed.cluster.put(only_its_node)
    try:
        bed.until(lambda: plain.datagram(bed, "x", "n1", bed["n1"].four, 5353, patience=0.1), "x to its node")
        yield
    finally:
        bed.cluster.put(egress_of_x())
        bed["n1"].space.sysctl({"ipv4/conf/all/accept_source_route": 0})


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("receiver", ["outside", "c"])
def test_who_may_send_to_its_node_reaches_nobody_behind_it_by_a_source_route(pair: Pair, receiver: str) -> None:
    for bed in pair:
        with heeding_source_routes(bed):
            assert source_routed(bed, receiver) is not bed.guarded


def segment(flags: str, number: int) -> Packet:
    return TCP(sport=number, dport=80, flags=flags, seq=1, ack=5)


def udp(number: int) -> Packet:
    return UDP(sport=number, dport=5353)


PAD: Final = [PadN(optdata=bytes(4))]
EXTENDED: Final[dict[str, Make]] = {
    "hop-by-hop": of(6, lambda n: IPv6ExtHdrHopByHop(options=PAD) / udp(n)),
    "destination-options": of(6, lambda n: IPv6ExtHdrDestOpt(options=PAD) / udp(n)),
    "both-options": of(6, lambda n: IPv6ExtHdrHopByHop(options=PAD) / IPv6ExtHdrDestOpt(options=PAD) / udp(n)),
    "ten-options": of(6, lambda n: chain(10) / udp(n)),
    "routing-header": of(6, lambda n: IPv6ExtHdrRouting(type=0, segleft=0, addresses=["fd00:1::4"]) / udp(n)),
    "authentication-header": of(6, lambda n: Raw(bytes((17, 4, 0, 0)) + bytes(20)) / udp(n), nh=51),
    "authentication-header4": of(4, lambda n: Raw(bytes((17, 4, 0, 0)) + bytes(20)) / udp(n), proto=51),
    "no-next-header": of(6, udp, nh=59),
    "one-fragment": of(6, lambda n: IPv6ExtHdrFragment(nh=17, id=n) / udp(n)),
    "record-route": of(4, udp, options=[IPOption_RR(routers=["0.0.0.0"])]),
    "timestamps": of(4, udp, options=[IPOption_Timestamp(flg=0)]),
    "first-fragment-is-tiny": first_is_tiny(4),
    "first-fragment-is-tiny6": first_is_tiny(6),
    "only-a-later-fragment": only_a_later_one(4),
    "only-a-later-fragment6": only_a_later_one(6),
    "overlapping-fragments": overlapping(4),
    "overlapping-fragments6": overlapping(6),
    "echo": of(4, lambda n: ICMP(id=n)),
    "echo-reply": of(4, lambda n: ICMP(type=0, id=n)),
    "timestamp-request": of(4, lambda n: ICMP(type=13, id=n)),
}


def chain(length: int) -> Packet:
    """Return so many headers with options, one behind the other."""
    head = IPv6ExtHdrDestOpt(options=PAD)
    for _ in range(length - 1):
        head /= IPv6ExtHdrDestOpt(options=PAD)
    return head


@against(
    *(
        Frames(f"{sender}-to-{receiver}-{name}", sender, receiver, make)
        for sender, receiver in WAYS
        for name, make in EXTENDED.items()
    )
)
def test_no_packet_hides_what_it_is(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(
    *(
        Frames(
            f"{sender}-to-{receiver}-{flags or 'none'}-ipv{family}",
            sender,
            receiver,
            of(family, partial(segment, flags)),
        )
        for sender, receiver in WAYS
        for flags in FLAGS
        for family in (4, 6)
    )
)
def test_no_segment_passes_without_a_connection_whatever_its_flags(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(
    *(
        Frames(
            f"{sender}-to-{receiver}-{number}-ipv{family}",
            sender,
            receiver,
            of(family, lambda _: Raw(bytes(24)), **{"proto" if family == 4 else "nh": number}),
        )
        for sender, receiver in WAYS
        for number in PROTOCOLS
        for family in (4, 6)
    )
)
def test_no_other_protocol_passes(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(
    *(
        Frames(f"c-to-t-{name}", "c", "t", make)
        for name, make in {
            "another-port": of(4, lambda n: UDP(sport=n, dport=5354)),
            "another-protocol": of(4, lambda n: TCP(sport=n, dport=5353, flags="S")),
            "behind-options": of(6, lambda n: IPv6ExtHdrDestOpt(options=PAD) / UDP(sport=n, dport=81)),
            "behind-a-fragment-header": of(6, lambda n: IPv6ExtHdrFragment(nh=17, id=n) / UDP(sport=n, dport=81)),
            "an-echo": of(4, lambda n: ICMP(id=n)),
            "sctp": of(4, lambda n: Raw(bytes((0, 80, 0, 80)) + bytes(8)), proto=132),
            "udplite": of(4, lambda n: Raw(bytes((20, 233, 20, 233)) + bytes(4)), proto=136),
        }.items()
    )
)
def test_an_allowed_pod_reaches_no_port_that_is_not_allowed(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
