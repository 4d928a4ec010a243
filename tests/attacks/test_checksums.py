# SPDX-License-Identifier: Apache-2.0
"""Packets that change after the sender's node has judged them: by a checksum that is filled in at another place.

Whoever may send raw packets may tell the kernel where a checksum is to be put, and the kernel puts it there when the
packet leaves by a device that cannot do so itself. So two bytes of it, such as the port or the end of an IPv6 address,
become others after all rules. What the sender's node judged is not what arrives; the receiver's node has to judge that.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from scapy.compat import raw
from scapy.layers.inet import UDP
from scapy.packet import Raw
from scapy.utils import checksum

from tests.attacks.judging import Attack, Pair, Trial, against, arrived_before, ethernet, judge, packet
from tests.attacks.plain import ARRIVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.bed import Bed
    from tests.spaces import Space

_SOL_PACKET, _PACKET_VNET_HDR, _NEEDS_CHECKSUM = 263, 15, 1
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_ETHERNET: Final = 14
_PORT: Final = {4: _ETHERNET + 20 + 2, 6: _ETHERNET + 40 + 2}
_END_OF_ADDRESS: Final = _ETHERNET + 38
_FILLER: Final = 2


@contextmanager
def without_offload(space: Space, interface: str) -> Iterator[None]:
    """Let a device be one that does not put checksums where it is told to."""
    _set_offload(space, interface, is_on=False)
    yield
    _set_offload(space, interface, is_on=True)


def _set_offload(space: Space, interface: str, *, is_on: bool) -> None:
    asked = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, is_on))
    with space.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, _SIOCETHTOOL, struct.pack("16sQ8x", interface.encode(), ctypes.addressof(asked)))


@pytest.fixture(autouse=True)
def simple_device(pair: Pair) -> Iterator[None]:
    """Let the other node have a device like many real ones."""
    with without_offload(pair.open["n2"].space, "eth0"), without_offload(pair.guarded["n2"].space, "eth0"):
        yield


def becoming(wanted: bytes, place: int, now: bytes) -> bytes:
    """Return a frame that becomes the wanted one, if it ends as this does, by a checksum at a place.

    There it has what is given as `now`. The two bytes at its end make the sum right.
    """
    rest = now + wanted[place + 2 :]
    (aim,) = struct.unpack_from(">H", wanted, place)
    filler = (checksum(rest) - aim) % 0xFFFF
    return wanted[:place] + rest + struct.pack(">H", filler)


def send(bed: Bed, sender: str, frame: bytes, place: int) -> None:
    """Send a frame, and have the checksum of what begins at a place put there."""
    with bed[sender].space.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as speaking:
        speaking.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        speaking.bind((bed[sender].interface, 0))
        speaking.send(struct.pack("<BBHHHH", _NEEDS_CHECKSUM, 0, 0, 0, place, 0) + frame)


def changed(bed: Bed, sender: str, family: int, *, port: int, at_first: bytes | str) -> bool:
    """Return whether t gets a datagram that was for another port, or for another pod, when its sender sent it."""
    token = bed.token()
    assert len(token) % 2 == 0
    ends = bed[sender], bed["t"]
    length = {"plen" if family == 6 else "len": (0 if family == 6 else 20) + 8 + len(token) + _FILLER}
    head = ethernet(bed, *ends) / packet(ends[0].address(family), ends[1].address(family), **length)
    made = head / UDP(sport=bed.number(), dport=port, len=8 + len(token)) / Raw(token)
    place = _END_OF_ADDRESS if isinstance(at_first, str) else _PORT[family]
    now = socket.inet_pton(socket.AF_INET6, bed[at_first].six)[-2:] if isinstance(at_first, str) else at_first
    whole = raw(made)
    # At the link of t the port shows what it became, too.
    datagram = whole[_PORT[family] - 2 :]
    listening = bed.port("t")
    listening.forget()
    send(bed, sender, becoming(whole, place, now), place)
    return arrived_before(bed, "t", datagram) if bed.guarded else listening.hears(datagram, ARRIVES) is not None


@against(
    *(
        Trial(f"d-by-the-address-of-a-to-{port}", partial(changed, sender="d", family=6, port=port, at_first="a"))
        for port in (5353, 80)
    ),
    *(
        Trial(
            f"r-by-a-port-that-it-may-use-ipv{family}",
            partial(changed, sender="r", family=family, port=5354, at_first=struct.pack(">H", 5353)),
        )
        for family in (4, 6)
    ),
)
def test_a_node_judges_what_arrives_and_not_what_was_sent(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)
