# SPDX-License-Identifier: Apache-2.0
"""Packets with a source that is not the sender's, in all forms that a pod with NET_RAW can give them.

Podfence 0.1.0 judged the source that was written there. Addresses that no object has, those of other nodes' pods and
of pods that are not isolated passed from a pod that may send nothing; an allowed pod's reached who allows only it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6Unknown, IPv6, IPv6ExtHdrRouting
from scapy.layers.l2 import Ether

from tests.attacks.judging import Attack, Frames, Make, Pair, against, ethernet, judge, packet
from tests.attacks.wiring import NETWORKS, Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scapy.packet import Packet, Raw

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

FOREIGN: Final = ("198.51.100.7", "2001:db8:1::7")
OTHERS: Final = ("10.244.1.200", "fd00:1::200")


def said(bed: Bed, source: str, family: int) -> str:
    """Return the address that a source's name stands for."""
    place = family == 6
    if source == "gateway":
        return bed.wiring.nodes[1].gateways[place]
    return (
        {"foreign": FOREIGN, "nobody": OTHERS}[source][place]
        if source in ("foreign", "nobody")
        else bed[source].address(family)
    )


def spoofed(source: str, family: int, *, mac: bool = False) -> Make:
    """Return what makes a datagram of a source, with its hardware address too if asked."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        return (
            ethernet(bed, sender, receiver, **({"src": bed[source].mac} if mac else {}))
            / packet(said(bed, source, family), receiver.address(family))
            / UDP(sport=bed.number(), dport=5353)
            / token
        )

    return make


def rows() -> Iterator[Attack]:
    for sender, source, receiver in (
        ("a", "c", "t"),
        ("a", "r", "t"),
        ("a", "t", "t"),
        ("a", "foreign", "c"),
        ("a", "x", "c"),
        ("a", "n1", "t"),
        ("a", "gateway", "t"),
        ("a", "n2", "t"),
        ("x", "a", "c"),
        ("x", "c", "c"),
        ("x", "foreign", "c"),
        ("x", "nobody", "c"),
        ("x", "d", "c"),
        ("x", "a", "d"),
        ("x", "foreign", "d"),
        ("x", "nobody", "d"),
        ("x", "r", "d"),
        ("x", "a", "outside"),
        ("x", "foreign", "outside"),
        ("x", "r", "outside"),
        ("h", "a", "c"),
        ("h", "c", "t"),
        ("h", "a", "outside"),
        ("h", "foreign", "c"),
    ):
        for family in (4, 6):
            # A router does not forward what claims to be from itself, whoever enforces.
            own = (family == 4 and source in ("n1", "gateway")) or (source == "n2" and sender == "a")
            networks: tuple[Network, ...] = ("bridge",) if own else NETWORKS
            name = f"{sender}-as-{source}-to-{receiver}-ipv{family}"
            yield Frames(name, sender, receiver, spoofed(source, family), networks=networks)


@against(*rows())
def test_no_pod_sends_with_a_source_that_it_does_not_have(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@pytest.mark.usefixtures("forgetting")
@against(
    *(
        Frames(
            f"{sender}-as-{source}-to-{receiver}-ipv{family}",
            sender,
            receiver,
            spoofed(source, family, mac=True),
            networks=("bridge",),
        )
        for sender, source, receiver in (("a", "c", "t"), ("x", "a", "c"), ("h", "a", "c"))
        for family in (4, 6)
    )
)
def test_no_pod_sends_with_the_source_and_the_hardware_address_of_another(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def of_address(source: str, *, family: int = 4) -> Make:
    """Return what makes a datagram of a certain address."""
    return lambda bed, sender, receiver, token: (
        ethernet(bed, sender, receiver)
        / packet(source, receiver.address(family))
        / UDP(sport=bed.number(), dport=5353)
        / token
    )


@against(
    Frames("a-as-0.0.0.0", "a", "t", of_address("0.0.0.0"), networks=("bridge",)),
    Frames("x-as-0.0.0.0", "x", "c", of_address("0.0.0.0"), networks=("bridge",)),
    Frames("x-as-unspecified", "x", "c", of_address("::", family=6), networks=("bridge",)),
    Frames("x-as-loopback", "x", "c", of_address("127.0.0.1"), networks=("bridge",)),
    Frames("x-as-broadcast", "x", "c", of_address("255.255.255.255"), networks=("bridge",)),
    Frames("x-as-ipv4-in-ipv6", "x", "c", of_address("::ffff:10.244.1.2", family=6), networks=("bridge",)),
)
def test_no_pod_sends_with_a_source_that_nobody_has(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@against(
    *(
        Frames(f"{sender}-as-{name}", sender, "n1", make, port=7777, family=family)
        for sender in "xh"
        for name, make, family in (
            (
                "foreign-at-its-loopback",
                lambda bed, sender, receiver, token: to_the_node(bed, sender, FOREIGN[0], token, "127.0.0.1"),
                4,
            ),
            ("a", lambda bed, sender, receiver, token: to_the_node(bed, sender, bed["a"].four, token), 4),
            ("a-ipv6", lambda bed, sender, receiver, token: to_the_node(bed, sender, bed["a"].six, token), 6),
            ("foreign", lambda bed, sender, receiver, token: to_the_node(bed, sender, FOREIGN[0], token), 4),
            ("foreign-ipv6", lambda bed, sender, receiver, token: to_the_node(bed, sender, FOREIGN[1], token), 6),
            ("d", lambda bed, sender, receiver, token: to_the_node(bed, sender, bed["d"].four, token), 4),
        )
    )
)
def test_a_pod_that_may_send_nothing_does_not_reach_its_node_as_another(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def to_the_node(bed: Bed, sender: End, source: str, token: Raw, at: str | None = None) -> Packet:
    node = bed["n1"]
    return (
        ethernet(bed, sender, node)
        / packet(source, at or (node.six if ":" in source else node.four))
        / UDP(sport=bed.number(), dport=7777)
        / token
    )


def echo(family: int) -> Make:
    """Return what asks the node to answer somebody else."""
    return lambda bed, sender, receiver, token: (
        ethernet(bed, sender, bed["n1"])
        / packet(receiver.address(family), bed["n1"].address(family))
        / (ICMPv6EchoRequest(data=token.load) if family == 6 else ICMP() / token)
    )


def short_lived(family: int) -> Make:
    """Return what lets the node tell somebody else that it ended on the way, with a part of it."""

    def make(bed: Bed, sender: End, receiver: End, token: Raw) -> Packet:
        last = {"hlim": 1} if family == 6 else {"ttl": 1}
        head = packet(receiver.address(family), bed["outside"].address(family), **last)
        return Ether(src=sender.mac, dst=sender.via) / head / UDP(sport=bed.number(), dport=9) / token

    return make


@against(
    *(
        Frames(f"{sender}-to-{receiver}-{name}-ipv{family}", sender, receiver, make(family))
        for sender, receiver in (("a", "t"), ("x", "c"), ("h", "c"))
        for name, make in (("echo", echo), ("short-lived", short_lived))
        for family in (4, 6)
    )
)
def test_the_node_is_no_mirror(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


def complaint(kind: int) -> Make:
    """Return what looks like discovery behind a header that the node complains of, to the receiver as the source."""
    return lambda bed, sender, receiver, token: (
        ethernet(bed, sender, bed["n1"])
        / IPv6(src=receiver.six, dst=bed["n1"].six, hlim=255)
        / IPv6ExtHdrRouting(type=0, segleft=1, addresses=[sender.six])
        / ICMPv6Unknown(type=kind)
        / token
    )


@against(
    *(
        Frames(f"{sender}-to-{receiver}-{kind}", sender, receiver, complaint(kind))
        for sender in "xh"
        for receiver in ("outside", "c")
        for kind in (135, 136)
    )
)
def test_the_node_does_not_complain_to_others_of_a_header(pair: Pair, attack: Attack) -> None:
    """A pod that nobody knows yet had the node send this: any header may stand before a message of discovery."""
    judge(pair, attack)
