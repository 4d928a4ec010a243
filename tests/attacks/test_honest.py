# SPDX-License-Identifier: Apache-2.0
"""What must go on while all the attacks are held: neighbours that find each other, and everything that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.attacks import plain
from tests.attacks.judging import ethernet, packet
from tests.attacks.plain import ARRIVES
from tests.attacks.test_odd_packets import PAD, first_is_tiny, of
from tests.attacks.wiring import EVERYBODY, NETWORKS

if TYPE_CHECKING:
    from tests.attacks.bed import Bed
    from tests.attacks.judging import Make, Pair

on_both_networks = pytest.mark.parametrize("network", NETWORKS)
on_the_bridge = pytest.mark.parametrize("network", ["bridge"])

ALLOWED = (
    ("c", "t"),
    ("r", "t"),
    ("t", "a"),
    ("t", "c"),
    ("a", "c"),
    ("a", "d"),
    ("d", "a"),
    ("r", "a"),
    ("t", "r"),
    ("a", "outside"),
    ("outside", "a"),
    ("t", "outside"),
    ("a", "n1"),
    ("t", "n1"),
    ("n1", "t"),
    ("n1", "x"),
    ("n1", "c"),
    ("a", "n2"),
    ("n2", "a"),
    ("a", "x"),
)


@on_both_networks
@pytest.mark.parametrize(("sender", "receiver"), ALLOWED)
@pytest.mark.parametrize("family", [4, 6])
def test_what_is_allowed_connects_and_arrives(pair: Pair, sender: str, receiver: str, family: int) -> None:
    for bed in pair:
        address = bed[receiver].address(family)
        assert plain.connection(bed, sender, receiver, address, 80, patience=ARRIVES), bed.guarded
        assert plain.datagram(bed, sender, receiver, address, 5353, patience=ARRIVES), bed.guarded


@on_both_networks
@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize("name", ["a", "t", "c", "x"])
def test_a_pod_finds_its_gateway_and_is_found(pair: Pair, name: str) -> None:
    bed = pair.guarded
    for family, gateway in zip((4, 6), bed.wiring.nodes[1].gateways, strict=True):
        bed.resolve(name, gateway)
        bed.resolve_from_node(name, family)


@on_the_bridge
@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize(("name", "other"), [("a", "t"), ("t", "a"), ("x", "c"), ("c", "x")])
def test_pods_of_a_bridge_find_each_other_whether_they_may_talk_or_not(pair: Pair, name: str, other: str) -> None:
    bed = pair.guarded
    for address in (bed[other].four, bed[other].six):
        bed.resolve(name, address)


def heard(bed: Bed, sender: str, receiver: str, frame: Ether) -> bool:
    """Return whether a frame arrives as it is."""
    port = bed.port(receiver)
    port.forget()
    bed.port(sender).send(frame)
    sent = bytes(frame)
    return port.first(lambda found: found[: len(sent)] == sent, ARRIVES) is not None


@on_the_bridge
@pytest.mark.parametrize("name", ["a", "x", "t"])
def test_a_pod_may_tell_everybody_of_its_own_address(pair: Pair, name: str) -> None:
    bed = pair.guarded
    pod = bed[name]
    everybody = Ether(src=pod.mac, dst=EVERYBODY)
    for frame in (
        everybody / ARP(op=1, hwsrc=pod.mac, psrc=pod.four, pdst=pod.four),
        everybody / ARP(op=2, hwsrc=pod.mac, psrc=pod.four, hwdst=EVERYBODY, pdst=pod.four),
        everybody / ARP(op=1, hwsrc=pod.mac, psrc="0.0.0.0", pdst=pod.four),
        Ether(src=pod.mac, dst="33:33:00:00:00:01")
        / IPv6(src=pod.six, dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(R=0, S=0, O=1, tgt=pod.six)
        / ICMPv6NDOptDstLLAddr(lladdr=pod.mac),
    ):
        assert heard(bed, name, "c", frame), frame.summary()


@on_the_bridge
@pytest.mark.parametrize("name", ["a", "x"])
def test_a_pod_that_looks_for_duplicates_of_its_address_finds_none(pair: Pair, name: str) -> None:
    bed = pair.guarded
    pod = bed[name]
    pod.space.ip(f"addr del {pod.six}/64 dev eth0", f"addr add {pod.six}/64 dev eth0")

    def settled() -> bool:
        told = bed.run(name, "ip", "-6", "addr", "show", "dev", "eth0", "to", pod.six)
        assert "dadfailed" not in told
        return pod.six in told and "tentative" not in told

    assert bed.seen(settled, ARRIVES)
    bed.resolve(name, bed.wiring.nodes[1].gateways[1])


@on_the_bridge
def test_who_looks_for_a_duplicate_of_its_own_address_is_heard(pair: Pair) -> None:
    bed = pair.guarded
    pod, last = bed["x"], int(bed["x"].six.rpartition(":")[2], 16)
    frame = (
        Ether(src=pod.mac, dst=f"33:33:ff:00:00:{last:02x}")
        / IPv6(src="::", dst=f"ff02::1:ff00:{last:x}", hlim=255)
        / ICMPv6ND_NS(tgt=pod.six)
    )
    assert heard(bed, "x", "a", frame) or heard(bed, "x", "c", frame)


@on_both_networks
@pytest.mark.parametrize("family", [4, 6])
def test_a_smaller_path_is_told_of_by_a_router_on_the_way(pair: Pair, family: int) -> None:
    for bed in pair:
        number = bed.number()
        sent = ethernet(bed, bed["t"], bed["outside"]) / packet(
            bed["t"].address(family), bed["outside"].address(family)
        )
        sent = sent / UDP(sport=number, dport=9) / Raw(bytes(64))
        bed.port("t").send(sent)
        inner = bytes(sent)[14:]
        token = bed.token()
        told = ICMPv6PacketTooBig(mtu=1300) if family == 6 else ICMP(type=3, code=4, nexthopmtu=1300)
        router = "fd01::1" if family == 6 else "172.30.0.1"
        port = bed.port("t")
        port.forget()
        bed.port("outside").send(
            Ether(src=bed["outside"].mac, dst=bed["n1"].mac)
            / packet(router, bed["t"].address(family))
            / told
            / Raw(inner + token)
        )
        assert port.hears(token, ARRIVES), bed.guarded


ODD_AND_ALLOWED: dict[str, Make] = {
    "options": of(6, lambda n: IPv6ExtHdrDestOpt(options=PAD) / UDP(sport=n, dport=5353)),
    "one-fragment": of(6, lambda n: IPv6ExtHdrFragment(nh=17, id=n) / UDP(sport=n, dport=5353)),
    "fragments": first_is_tiny(4),
    "fragments6": first_is_tiny(6),
}


@on_both_networks
@pytest.mark.parametrize("make", ODD_AND_ALLOWED.values(), ids=ODD_AND_ALLOWED)
def test_who_is_allowed_may_send_in_odd_ways(pair: Pair, make: Make, request: pytest.FixtureRequest) -> None:
    for bed in pair:
        token = bed.token()
        made = make(bed, bed["c"], bed["t"], Raw(token))
        frames = made if isinstance(made, list) else [made]
        family = 6 if IPv6 in frames[0] else 4
        with plain.listening(bed, "t", plain.DATAGRAM, 5353, family) as hearing:
            bed.port("c").send(*frames)
            assert any(token in data for data in plain.arriving(hearing, ARRIVES)), bed.guarded
