# SPDX-License-Identifier: Apache-2.0
"""A socket on which the kernel is asked for lists, and for many changes in one call (RFC 3549)."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Final

from podfence.errors import PodfenceError
from podfence.netlink.messages import ACK, DONE, ERROR, REQUEST, Place, error_number, message, messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DUMP: Final = 0x300
_SOL_NETLINK, _CAP_ACK = 270, 10

BUFFER: Final = 1 << 16
"""Bytes for what the kernel tells; it fills up to half of that at a time."""

_AT_ONCE: Final = 128
"""How many changes one call has: their errors fit into the socket's buffer."""

_ANSWERED_AT_ONCE: Final = 32
"""How many questions one call has, whose answers are longer."""


class NetlinkError(PodfenceError):
    """The kernel refused what it was asked over a netlink socket."""

    def __init__(self, what: str, number: int) -> None:
        """Say what failed, and the system's error `number` with it."""
        super().__init__(f"{what}: {os.strerror(number)}; it needs CAP_NET_ADMIN in the node's network namespace")
        self.number = number


def opened(protocol: int, groups: int = 0) -> socket.socket:
    """Return a netlink socket in the network namespace of this thread, told of changes of these `groups`.

    Raises OSError if the kernel does not know the protocol, or does not let us listen.
    """
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        found.bind((0, groups))
    except OSError:
        found.close()
        raise
    return found


def listed(protocol: int, kind: int, payload: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield where each answer to a request for a list is, over a socket of its own: the buffer, its start, its end.

    Raises NetlinkError if the kernel refuses, and OSError if it does not know the protocol.
    """
    with closing(Netlink(protocol)) as netlink:
        for data, places in netlink.dump(kind, payload):
            for start, end in places:
                yield data, start, end


class Netlink:
    """A netlink socket in the network namespace of the thread that opens it; it stays in that one."""

    def __init__(self, protocol: int) -> None:
        """Open it; raises OSError if the kernel does not know the protocol."""
        self._socket = opened(protocol)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump(self, kind: int, payload: bytes) -> Iterator[tuple[bytes, list[Place]]]:
        """Yield buffers, each with the places of the messages in it that answer a request for a list.

        Raises NetlinkError if the kernel refuses.
        """
        self._sequence = wanted = self._sequence + 1
        self._socket.send(message(kind, REQUEST | _DUMP, wanted, payload))
        ended = False
        try:
            while not ended:
                data = self._receive()
                found: list[Place] = []
                for number, sequence, place in messages(data):
                    if sequence != wanted:
                        continue
                    if number in (ERROR, DONE):
                        ended = True
                        # Both begin with the number of an error; a list that ends well has 0 there.
                        if error := error_number(data, place[0]):
                            raise NetlinkError("listing", error)
                    else:
                        found.append(place)
                yield data, found
        finally:
            # Whoever stops reading leaves the rest behind, and the kernel refuses another list before its end.
            while not ended:
                ended = any(number in (ERROR, DONE) for number, _, _ in messages(self._receive()))

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(BUFFER)
        except OSError as error:
            raise NetlinkError("reading what the kernel answers", error.errno or 0) from error

    def change(self, kind: int, payloads: Sequence[bytes]) -> list[int]:
        """Ask for many changes of one kind; return for each the system's error number, 0 if it was done."""
        result = [0] * len(payloads)
        for place, data, (start, _) in self._each(kind, payloads, _AT_ONCE, errors=True):
            result[place] = error_number(data, start)
        return result

    def ask(self, kind: int, payloads: Sequence[bytes]) -> Iterator[tuple[bytes, Place]]:
        """Yield where the answers to many questions are; one that the kernel cannot answer has none."""
        for _, data, found in self._each(kind, payloads, _ANSWERED_AT_ONCE, errors=False):
            yield data, found

    def _each(
        self, kind: int, payloads: Sequence[bytes], most: int, *, errors: bool
    ) -> Iterator[tuple[int, bytes, Place]]:
        """Yield which request an error, or something else, answers, with where that is; `most` are sent at once."""
        for done in range(0, len(payloads), most):
            some = payloads[done : done + most]
            first = self._sequence + 1
            self._sequence = last = self._sequence + len(some)
            # Only errors are told of the others: the kernel works through them before it answers the last.
            self._socket.send(
                b"".join(
                    message(kind, REQUEST | (ACK if number == last else 0), number, payload)
                    for number, payload in enumerate(some, first)
                )
            )
            ended = False
            while not ended:
                data = self._receive()
                found = [item for item in messages(data) if first <= item[1] <= last]
                ended = any(number == ERROR and sequence == last for number, sequence, _ in found)
                for number, sequence, place in found:
                    if (number == ERROR) == errors:
                        yield done + sequence - first, data, place
