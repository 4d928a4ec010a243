# SPDX-License-Identifier: Apache-2.0
"""How an attack is judged: it must work where nobody enforces anything, and must not work on the guarded node.

The first half is the control. An attack that is mistaken somewhere reaches nobody, and would pass for one that is
held; on the open bed it has to arrive. The second half has a control too: right after the attack an allowed pod
sends to the same receiver, and only when that has arrived does the absence of the attack mean anything.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.attacks import plain
from tests.attacks.bed import HELD, Bed
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS, End, Network

if TYPE_CHECKING:
    from collections.abc import Sequence

_AFTER: Final = 0.03
"""Seconds in which what was sent before something that has arrived must have arrived too."""

_NO_NEIGHBOUR: Final = (errno.EINVAL, errno.ENOBUFS)
_HONEST: Final = {"t": "c", HELD: "n1"}


OneFrame = Callable[[Bed, End, End, Raw], Packet]
Make = OneFrame | Callable[[Bed, End, End, Raw], list[Packet]]


class Pair(NamedTuple):
    """The two beds of a network."""

    open: Bed
    guarded: Bed


@dataclass(frozen=True)
class Frames:
    """An attack by frames: what `sender` sends, which may not arrive at the link of `receiver`.

    ``make`` takes the bed, both ends and the token that the frames must carry. ``port`` is that of a UDP socket of the
    receiver's that the attack reaches in the end, if it does more than arrive.
    """

    name: str
    sender: str
    receiver: str
    make: Make
    networks: Sequence[Network] = NETWORKS
    port: int | None = None
    family: int = 4

    def works(self, bed: Bed) -> bool:
        """Return whether it arrives."""
        token = bed.token()
        made = self.make(bed, bed[self.sender], bed[self.receiver], Raw(token))
        frames = made if isinstance(made, list) else [made]
        if self.port is not None and (self.receiver == "n1" or not bed.guarded):
            return self._is_received(bed, token, frames)
        port = bed.port(self.receiver)
        port.forget()
        bed.port(self.sender).send(*frames)
        if bed.guarded:
            return arrived_before(bed, self.receiver, token)
        return port.hears(token, ARRIVES) is not None

    def _is_received(self, bed: Bed, token: bytes, frames: list[Packet]) -> bool:
        """Return whether a program of the receiver gets it."""
        assert self.port is not None
        with plain.listening(bed, self.receiver, socket.SOCK_DGRAM, self.port, self.family) as hearing:
            bed.port(self.sender).send(*frames)
            if not bed.guarded:
                return any(token in data for data in plain.arriving(hearing, ARRIVES))
            return came_before(bed, self.receiver, hearing, token, self.family, self.port)


@dataclass(frozen=True)
class Sockets:
    """An attack by an ordinary socket: what `sender` sends to an address, which may not reach a program of `receiver`."""

    name: str
    sender: str
    receiver: str
    address: str | Callable[[Bed, End, End], str]
    tcp: bool = False
    networks: Sequence[Network] = NETWORKS
    port: int = 5353
    options: plain.Options = ()
    source: Callable[[End], str] | None = None

    def works(self, bed: Bed) -> bool:
        """Return whether it arrives, or connects."""
        source = self.source(bed[self.sender]) if self.source else None
        address = (
            self.address if isinstance(self.address, str) else self.address(bed, bed[self.sender], bed[self.receiver])
        )
        where = (
            bed,
            self.sender,
            self.receiver,
            address,
            80 if self.tcp and self.port == 5353 else self.port,
        )
        if self.tcp:
            quiet = partial(somebody_else_is_heard, bed, self.receiver) if bed.guarded else None
            return plain.connection(*where, patience=_AFTER if quiet else ARRIVES, source=source, before=quiet)
        came = partial(came_before, bed, self.receiver, port=self.port) if bed.guarded else None
        return plain.datagram(*where, patience=ARRIVES, source=source, options=self.options, came=came)


@dataclass(frozen=True)
class Trial:
    """An attack that is more than one step; ``works`` returns whether it came to its end."""

    name: str
    works: Callable[[Bed], bool]
    networks: Sequence[Network] = NETWORKS


Attack = Frames | Sockets | Trial


def arrived_before(bed: Bed, receiver: str, token: bytes) -> bool:
    """Send something allowed to a receiver, and return whether the token arrived earlier."""
    mark = honest_word(bed, receiver)
    port = bed.port(receiver)
    first = port.first(lambda frame: token in frame or mark in frame, ARRIVES)
    assert first is not None, f"what others may send to {receiver} does not arrive"
    return token in first or port.hears(token, _AFTER) is not None


def came_before(
    bed: Bed, receiver: str, hearing: socket.socket, token: bytes, family: int = 4, port: int = 5353
) -> bool:
    """Send something allowed to a program, and return whether the token came to it earlier."""
    mark = honest_word(bed, receiver, family, port)
    for data in plain.arriving(hearing, ARRIVES):
        if token in data:
            return True
        if mark in data:
            return any(token in data for data in plain.arriving(hearing, _AFTER))
    pytest.fail(f"what others may send to {receiver} does not arrive")


def somebody_else_is_heard(bed: Bed, receiver: str) -> None:
    """Return when something allowed has come to a program of the receiver's."""
    with plain.listening(bed, receiver, socket.SOCK_DGRAM, 5353, 4) as hearing:
        assert not came_before(bed, receiver, hearing, bed.token())


def honest_word(bed: Bed, receiver: str, family: int = 4, port: int = 5353) -> bytes:
    """Let somebody who may send a datagram to a receiver; return what is in it."""
    mark = bed.token()
    ends = (bed, bed[_HONEST.get(receiver, "t")], bed[receiver])
    if ends[1].name == "n1":
        with plain.opened(bed, "n1", socket.SOCK_DGRAM, family) as speaking:
            speaking.sendto(mark, (bed[receiver].address(family), port))
        return mark
    bed.port(ends[1].name).send(ethernet(*ends) / datagram(*ends, family, port) / Raw(mark))
    return mark


def ethernet(bed: Bed, sender: End, receiver: End, **fields: Any) -> Ether:  # noqa: ANN401  as scapy has them
    """Return the head of a frame from one end toward another."""
    return Ether(**{"src": sender.mac, "dst": bed.toward(sender.name, receiver.name), **fields})


def packet(source: str, destination: str, **fields: Any) -> Packet:  # noqa: ANN401  as scapy has them
    """Return the head of an IP packet of the family of the addresses."""
    return (IPv6 if ":" in destination else IP)(src=source, dst=destination, **fields)


def datagram(bed: Bed, sender: End, receiver: End, family: int = 4, port: int = 5353) -> Packet:
    """Return the heads of a UDP datagram from one end to another, of a flow that no other test has."""
    return packet(sender.address(family), receiver.address(family)) / UDP(sport=bed.number(), dport=port)


def judge(pair: Pair, attack: Attack) -> None:
    """Assert that the attack is one, and that the guarded node holds it."""
    assert _works(attack, pair.open), "the attack itself is broken: it must work where nobody enforces anything"
    assert not _works(attack, pair.guarded), "the attack works on the guarded node"


def _works(attack: Attack, bed: Bed) -> bool:
    """Try an attack, and again as often as it could not be tried at all."""
    while True:
        before = _overflows()
        try:
            works = attack.works(bed)
        except OSError as error:
            if error.errno not in _NO_NEIGHBOUR:
                raise
            works = False
        except (AssertionError, pytest.fail.Exception):
            # What is allowed did not arrive either, for want of a neighbour perhaps.
            if _overflows() == before:
                raise
            continue
        if works or _overflows() == before:
            return works


def _overflows() -> int:
    """Return how often the kernel had no room for a neighbour; it has one table for the namespaces of everybody."""
    count = 0
    for table in ("arp_cache", "ndisc_cache"):
        titles, *lines = Path("/proc/net/stat", table).read_text().splitlines()
        place = titles.split().index("table_fulls")
        count += sum(int(line.split()[place], 16) for line in lines)
    return count


def against(*attacks: Attack) -> pytest.MarkDecorator:
    """Try attacks on each network that they are for."""
    return pytest.mark.parametrize(
        ("network", "attack"),
        [
            pytest.param(network, attack, id=f"{network}-{attack.name}")
            for attack in attacks
            for network in attack.networks
        ],
    )
