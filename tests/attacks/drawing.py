# SPDX-License-Identifier: Apache-2.0
"""Frames at random: something that a pod could well send, changed at any layer, or at several."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

from scapy.compat import raw
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, GRE, LLC, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from tests.attacks.judging import packet
from tests.attacks.wiring import EVERYBODY, TUNNELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.bed import Bed
    from tests.attacks.wiring import End

SENDERS: Final = "aaaxxxxchht"
RECEIVERS: Final = ("t", "t", "t", "c", "c", "a", "x", "h", "d", "r", "outside", "n1", "n2")
PORTS: Final = (80, 81, 5353, 5353, 5354, 53, 67, 68, 7946, 4789, 8472, 22, 0, 65535)
FIRST, LAST = 20000, 60000


class Change(NamedTuple):
    """What is done to a frame, and the seed of its own chances."""

    name: str
    seed: int


class Plan(NamedTuple):
    """How a frame comes about: the same plan is the same frame, but for the token."""

    seed: int
    changes: tuple[Change, ...]


def plan(seed: int) -> Plan:
    """Return what a seed stands for."""
    chance = random.Random(seed)
    count = chance.choice((0, 1, 1, 1, 2, 2, 3))
    return Plan(seed, tuple(Change(chance.choice(list(CHANGES)), chance.randrange(1 << 32)) for _ in range(count)))


class Draw:
    """One frame while it is made: its chances, its sender, and who it seems to be for."""

    def __init__(self, bed: Bed, seed: int, token: bytes) -> None:
        """Choose the ends."""
        self.bed = bed
        self.chance = random.Random(seed)
        self.sender: End = bed[self.chance.choice(SENDERS)]
        self.receiver: End = bed[self.chance.choice([name for name in RECEIVERS if name != self.sender.name])]
        self.family = self.chance.choice((4, 6))
        self.token = Raw(token)
        self.base = self.chance.choice(list(BASES))

    def mac(self) -> str:
        some = [end.mac for end in self.bed.ends.values() if end.mac]
        odd = [EVERYBODY, "33:33:00:00:00:01", "01:00:5e:00:00:01", "01:80:c2:00:00:00", "00:00:00:00:00:00"]
        tunnel = [node.tunnel_mac(4) for node in self.bed.wiring.nodes.values()]
        return self.chance.choice(
            [*some, *odd, *tunnel, self.sender.via, f"02:00:00:00:00:{self.chance.randrange(256):02x}"]
        )

    def address(self, family: int) -> str:
        some = [end.address(family) for end in self.bed.ends.values()]
        # Not that of n2, which has no agent to keep it out of its tunnel at addresses of its own.
        some.append(self.bed.wiring.nodes[1].gateways[family == 6])
        if family == 6:
            some += [end.link_local for end in self.bed.ends.values() if end.mac]
            odd = [
                "ff02::1",
                "ff02::2",
                "ff02::1:ff00:3",
                "ff05::1",
                "::",
                "::1",
                "::ffff:10.244.1.3",
                "fd00:1::99",
                "2001:db8:9::9",
            ]
        else:
            odd = [
                "255.255.255.255",
                "10.244.1.255",
                "224.0.0.1",
                "239.1.1.1",
                "0.0.0.0",
                "127.0.0.1",
                "10.244.1.200",
                "198.51.100.7",
                "10.96.0.10",
            ]
        return self.chance.choice([*some, *some, *odd])

    def port(self) -> int:
        return self.chance.choice((*PORTS, self.chance.randrange(65536)))

    def fresh(self) -> int:
        return self.chance.randrange(FIRST, LAST)

    def frame(self) -> Ether:
        return Ether(src=self.sender.mac, dst=self.bed.toward(self.sender.name, self.receiver.name))

    def head(self, **fields: object) -> Packet:
        return packet(self.sender.address(self.family), self.receiver.address(self.family), **fields)

    def ends(self) -> tuple[str, str]:
        return self.sender.address(self.family), self.receiver.address(self.family)


def echo(draw: Draw) -> Packet:
    if draw.family == 6:
        return draw.frame() / draw.head() / ICMPv6EchoRequest(id=draw.fresh(), data=draw.token.load)
    return draw.frame() / draw.head() / ICMP(id=draw.fresh()) / draw.token


def solicitation(draw: Draw) -> Packet:
    to = draw.frame() / IPv6(src=draw.sender.six, dst=draw.receiver.six, hlim=255)
    return to / ICMPv6ND_NS(tgt=draw.receiver.six) / ICMPv6NDOptSrcLLAddr(lladdr=draw.sender.mac) / draw.token


def advertisement(draw: Draw) -> Packet:
    to = draw.frame() / IPv6(src=draw.sender.six, dst=draw.receiver.six, hlim=255)
    return to / ICMPv6ND_NA(tgt=draw.sender.six) / ICMPv6NDOptDstLLAddr(lladdr=draw.sender.mac) / draw.token


def tunnelled(draw: Draw) -> Packet:
    tunnel = TUNNELS[draw.bed.network]
    node = draw.chance.choice(list(draw.bed.wiring.nodes.values()))
    outer = packet(draw.sender.four, node.addresses[0]) / UDP(sport=draw.fresh(), dport=tunnel.port)
    inner = packet(draw.address(draw.family), draw.receiver.address(draw.family)) / UDP(sport=draw.fresh(), dport=5353)
    between = Ether(src=draw.bed.wiring.nodes[3 - node.number].tunnel_mac(4), dst=node.tunnel_mac(4))
    return (
        Ether(src=draw.sender.mac, dst=draw.sender.via)
        / outer
        / VXLAN(vni=tunnel.number, flags="Instance")
        / between
        / inner
        / draw.token
    )


BASES: Final[dict[str, Callable[[Draw], Packet]]] = {
    "udp": lambda draw: draw.frame() / draw.head() / UDP(sport=draw.fresh(), dport=5353) / draw.token,
    "udp-to-any-port": lambda draw: (
        draw.frame() / draw.head() / UDP(sport=draw.fresh(), dport=draw.port()) / draw.token
    ),
    "tcp": lambda draw: draw.frame() / draw.head() / TCP(sport=draw.fresh(), dport=80, flags="S", seq=1) / draw.token,
    "echo": echo,
    "arp-question": lambda draw: (
        draw.frame() / ARP(op=1, hwsrc=draw.sender.mac, psrc=draw.sender.four, pdst=draw.receiver.four) / draw.token
    ),
    "arp-answer": lambda draw: (
        draw.frame()
        / ARP(
            op=2,
            hwsrc=draw.sender.mac,
            psrc=draw.sender.four,
            hwdst=draw.receiver.mac or EVERYBODY,
            pdst=draw.receiver.four,
        )
        / draw.token
    ),
    "solicitation": solicitation,
    "advertisement": advertisement,
    "router-solicitation": lambda draw: (
        draw.frame() / IPv6(src=draw.sender.link_local, dst="ff02::2", hlim=255) / ICMPv6ND_RS() / draw.token
    ),
    "router-advertisement": lambda draw: (
        draw.frame() / IPv6(src=draw.sender.link_local, dst="ff02::1", hlim=255) / ICMPv6ND_RA() / draw.token
    ),
    "listener-report": lambda draw: (
        draw.frame() / IPv6(src=draw.sender.link_local, dst="ff02::16", hlim=1) / ICMPv6MLReport2() / draw.token
    ),
    "tunnelled": tunnelled,
}


def set_mac(draw: Draw, frame: Packet, which: str) -> Packet:
    frame[Ether].setfieldval(which, draw.mac())
    return frame


def tag(draw: Draw, frame: Packet) -> Packet:
    layer, kind = draw.chance.choice(((Dot1Q, 0x8100), (Dot1AD, 0x88A8)))
    number = draw.chance.choice((0, 0, 0, 1, 7, 4095))
    inside = frame.type if isinstance(frame, Ether) and "type" in frame.fields else None
    head = Ether(src=frame.src, dst=frame.dst, type=kind)
    mark = layer(vlan=number, prio=draw.chance.randrange(8))
    if inside is not None:
        mark.type = inside
    return head / mark / frame.payload


def ethertype(draw: Draw, frame: Packet) -> Packet:
    frame[Ether].type = draw.chance.choice(
        (0x0800, 0x0806, 0x86DD, 0x8847, 0x8864, 0x88B5, 0x8035, 0x9000, 0x0600, draw.chance.randrange(65536))
    )
    return frame


def wrap(draw: Draw, frame: Packet) -> Packet:
    head = Ether(src=frame.src, dst=frame.dst)
    own = packet(draw.sender.four, draw.receiver.four)
    own6 = IPv6(src=draw.sender.six, dst=draw.receiver.six)
    choices: tuple[Callable[[], Packet], ...] = (
        lambda: head / own / frame.payload,
        lambda: head / own6 / frame.payload,
        lambda: head / own / GRE() / frame.payload,
        lambda: Ether(src=frame.src, dst=frame.dst, type=0x8847) / MPLS(s=1) / frame.payload,
        lambda: head / LLC() / frame.payload,
        lambda: head / own / UDP(sport=draw.fresh(), dport=draw.chance.choice((4789, 8472))) / VXLAN() / frame,
        lambda: head / own / ICMP(type=draw.chance.choice((3, 4, 5, 11, 12))) / frame.payload,
        lambda: head / own6 / ICMPv6Unknown(type=draw.chance.choice((1, 2, 3, 4, 128, 135, 143))) / frame.payload,
    )
    return draw.chance.choice(choices)()


def arp_fields(draw: Draw, frame: Packet) -> Packet:
    if ARP in frame:
        name = draw.chance.choice(("op", "hwsrc", "psrc", "hwdst", "pdst", "hwtype", "ptype", "hwlen", "plen"))
        value = {
            "op": draw.chance.randrange(10),
            "hwtype": draw.chance.randrange(8),
            "ptype": 0x1234,
            "hwlen": 8,
            "plen": 16,
        }.get(name)
        frame[ARP].setfieldval(
            name, value if value is not None else draw.mac() if name.startswith("hw") else draw.address(4)
        )
    return frame


def discovery_fields(draw: Draw, frame: Packet) -> Packet:
    for layer in (ICMPv6ND_NS, ICMPv6ND_NA):
        if layer in frame and draw.chance.random() < 0.7:
            frame[layer].tgt = draw.address(6)
    for option in (ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr):
        if option in frame and draw.chance.random() < 0.5:
            frame[option].lladdr = draw.mac()
    return frame


def address_field(draw: Draw, frame: Packet, which: str) -> Packet:
    for layer, family in ((IP, 4), (IPv6, 6)):
        if layer in frame:
            frame[layer].setfieldval(which, draw.address(family))
            break
    return frame


def ip_fields(draw: Draw, frame: Packet) -> Packet:
    chance = draw.chance
    if IP in frame:
        name, value = chance.choice(
            (
                ("ttl", chance.choice((0, 1, 2, 255))),
                ("tos", chance.randrange(256)),
                ("frag", chance.choice((1, 2, 100))),
                ("flags", chance.randrange(8)),
                ("proto", chance.randrange(256)),
                ("ihl", chance.randrange(16)),
                ("len", chance.randrange(100)),
                ("version", chance.randrange(16)),
                ("chksum", chance.randrange(65536)),
            )
        )
        frame[IP].setfieldval(name, value)
    elif IPv6 in frame:
        name, value = chance.choice(
            (
                ("hlim", chance.choice((0, 1, 2, 64, 254, 255))),
                ("tc", chance.randrange(256)),
                ("fl", chance.randrange(1 << 20)),
                ("nh", chance.randrange(256)),
                ("plen", chance.randrange(100)),
                ("version", chance.randrange(16)),
            )
        )
        frame[IPv6].setfieldval(name, value)
    return frame


def options(draw: Draw, frame: Packet) -> Packet:
    chance = draw.chance
    if IP in frame:
        frame[IP].options = [
            chance.choice((IPOption_RR(routers=["0.0.0.0"]), IPOption_LSRR(routers=[draw.address(4)])))
        ]
    elif IPv6 in frame:
        head, rest = frame[IPv6].copy(), frame[IPv6].payload
        if "nh" in head.fields:
            del head.fields["nh"]
        head.remove_payload()
        choices: tuple[Callable[[], Packet], ...] = (
            lambda: IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]),
            lambda: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]),
            lambda: IPv6ExtHdrFragment(
                id=chance.randrange(1 << 32), offset=chance.choice((0, 0, 1, 100)), m=chance.randrange(2)
            ),
            lambda: IPv6ExtHdrRouting(
                type=chance.choice((0, 2, 4)), segleft=chance.randrange(2), addresses=[draw.address(6)]
            ),
        )
        between = chance.choice(choices)()
        whole: Packet = Ether(src=frame.src, dst=frame.dst) / head / between / rest
        return whole
    return frame


def ports(draw: Draw, frame: Packet) -> Packet:
    for layer in (UDP, TCP):
        if layer in frame:
            frame[layer].setfieldval(draw.chance.choice(("sport", "dport")), draw.port())
            break
    return frame


def transport(draw: Draw, frame: Packet) -> Packet:
    if TCP in frame:
        frame[TCP].flags = draw.chance.randrange(512)
        frame[TCP].dataofs = draw.chance.choice((None, None, 0, 4, 15))
    elif UDP in frame:
        frame[UDP].len = draw.chance.choice((0, 1, 8, 9, 1000))
    elif ICMP in frame:
        frame[ICMP].type = draw.chance.randrange(256)
        frame[ICMP].code = draw.chance.randrange(16)
    elif ICMPv6EchoRequest in frame:
        frame[ICMPv6EchoRequest].type = draw.chance.choice((*range(1, 5), *range(127, 160)))
    return frame


CHANGES: Final[dict[str, Callable[[Draw, Packet], Packet]]] = {
    "source-mac": lambda draw, frame: set_mac(draw, frame, "src"),
    "destination-mac": lambda draw, frame: set_mac(draw, frame, "dst"),
    "tag": tag,
    "ethertype": ethertype,
    "wrap": wrap,
    "arp": arp_fields,
    "discovery": discovery_fields,
    "source": lambda draw, frame: address_field(draw, frame, "src"),
    "destination": lambda draw, frame: address_field(draw, frame, "dst"),
    "ip": ip_fields,
    "options": options,
    "ports": ports,
    "transport": transport,
    "bytes": lambda draw, frame: frame,
}
"""What can be done to a frame; `bytes` is done at the very end."""


def drawn(bed: Bed, wanted: Plan, token: bytes) -> tuple[Draw, bytes]:
    """Return a planned frame, with how it was drawn. A change of something that is not there changes nothing."""
    draw = Draw(bed, wanted.seed, token)
    frame = BASES[draw.base](draw)
    for change in wanted.changes:
        # Each change has chances of its own, so that leaving one out leaves the others as they are.
        draw.chance = random.Random(change.seed)
        frame = CHANGES[change.name](draw, frame)
    data = bytearray(raw(frame))
    if any(change.name == "bytes" for change in wanted.changes):
        # Another's token would tell of another's frame.
        start = data.find(token)
        free = [place for place in range(min(len(data), 80)) if start < 0 or not start <= place < start + len(token)]
        for _ in range(draw.chance.choice((1, 1, 2, 4))):
            data[draw.chance.choice(free)] = draw.chance.randrange(256)
    return draw, bytes(data[:1464])
