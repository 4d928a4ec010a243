# SPDX-License-Identifier: Apache-2.0
"""Frames with changed bytes: whatever a pod sends by its port, what arrives at another is what it may say.

What it may say is written down here once more, for one frame at a time, and knows nothing of the rules.
"""

from __future__ import annotations

import os
import shutil
import socket
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from podfence.dataplane.settings import Settings
from tests.dataplane.bed import FLOODING, GATEWAY_MAC, GATEWAYS, MARKER_PORT, NODE_LOCAL, PEOPLE, A, Bed, C, frames_of
from tests.dataplane.bridge_frames import ATTACKS, HONEST
from tests.dataplane.frames import mac
from tests.twin.effort import part

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

FRAMES: Final = 300
TAKEN_LOCAL: Final = socket.inet_pton(socket.AF_INET6, NODE_LOCAL)


def four(text: str) -> bytes:
    return socket.inet_aton(text)


def six(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


PIECES: Final = (
    *(mac(item.mac) for item in PEOPLE),
    *(four(item.four) for item in PEOPLE),
    *(six(address) for item in PEOPLE for address in (item.six, item.local)),
    *(four(GATEWAYS[0]), six(GATEWAYS[1]), TAKEN_LOCAL, six("::"), six("ff02::1"), bytes(4), b"\xff" * 4, b"\xff" * 6),
    *(b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00", b"\x88\xa8", b"\x86", b"\x87", b"\x88", b"\x89", b"\x3a"),
)
"""What a frame is likely to be judged by."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed("bridge", Settings(), options=FLOODING) as found:
        found.bind()
        yield found


def may_arrive(frame: bytes) -> bool:
    """Return whether a frame that A sent may come to C."""
    target, sender, kind, content = frame[:6], frame[6:12], frame[12:14], frame[14:]
    if sender != mac(A.mac):
        return False
    if kind == b"\x08\x00":
        return target == mac(C.mac) and content[12:20] == four(A.four) + four(C.four)
    if kind == b"\x08\x06":
        if content[:6] != b"\x00\x01\x08\x00\x06\x04" or content[6:8] not in (b"\0\1", b"\0\2") or len(content) > 46:
            return False
        is_probe = content[6:8] == b"\0\1" and content[14:18] == bytes(4) and content[24:28] == four(A.four)
        return content[8:14] == mac(A.mac) and (content[14:18] == four(A.four) or is_probe)
    if kind != b"\x86\xdd":
        return False
    source, destination, about = content[8:24], content[24:40], content[48:64]
    is_plain = content[6:8] == b"\x3a\xff" and int.from_bytes(content[4:6], "big") <= 40
    is_local = source[0] == 0xFE and source[1] & 0xC0 == 0x80 and source != TAKEN_LOCAL
    is_own = about == six(A.six) or (about[0] == 0xFE and about[1] & 0xC0 == 0x80 and about != TAKEN_LOCAL)
    if is_plain and content[40] == 135:
        is_group = destination[:13] == six("ff02::1:ff00:0")[:13]
        if source == six("::"):
            return is_group and is_own
        return (source == six(A.six) or is_local) and (is_group or destination[0] != 0xFF)
    if is_plain and content[40] == 136:
        return (
            (source == six(A.six) or is_local) and is_own and (destination == six("ff02::1") or destination[0] != 0xFF)
        )
    return target == mac(C.mac) and source + destination == six(A.six) + six(C.six)


def changed(random: Random) -> bytes:
    """Return a frame of the tables with some of its bytes changed."""
    item = random.choice((*HONEST, *ATTACKS))
    frame = bytearray(item.frame(b"12345678"))
    if random.random() < 0.7:
        frame[6:12] = mac(A.mac)
    if random.random() < 0.5:
        frame[:6] = mac(C.mac)
    for _ in range(random.randrange(4)):
        piece = random.choice(PIECES) if random.random() < 0.8 else random.randbytes(random.randrange(1, 4))
        place = random.choice((0, 6, 12, 16, 18, 20, 21, 22, 26, 28, 30, 32, 38, 54, 62, random.randrange(len(frame))))
        frame[place : place + len(piece)] = piece
    return bytes(frame).ljust(60, b"\0") if len(frame) < 14 else bytes(frame)


@pytest.mark.parametrize("seed", range(part(50)))
def test_what_arrives_is_what_a_pod_may_say(seed: int, bed: Bed) -> None:
    random = Random(seed)
    sent = [changed(random) for _ in range(FRAMES)]
    with bed.listening(C) as receiver:
        for frame in sent:
            bed.send(A, frame)
        bed.send(A, bed.datagram(A, C, b"last of all", MARKER_PORT))
        arrived = list(frames_of(receiver, b"last of all"))
    wrong = [item.hex() for item in arrived if item[6:12] != mac(GATEWAY_MAC) and not may_arrive(item)]
    assert not wrong
    assert sum(map(may_arrive, arrived)) > 5
