# SPDX-License-Identifier: Apache-2.0
"""Batches of messages to nf_tables: the frame that makes them one transaction, and sending it.

The numbers are those of linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import enum
import os
import socket
from typing import TYPE_CHECKING, Final

from podfence.netlink.asking import BUFFER, opened
from podfence.netlink.messages import ERROR, GENERAL, NETFILTER, REQUEST, attribute, error_number, message, messages

if TYPE_CHECKING:
    from collections.abc import Sequence

FAMILIES: Final = {"inet": 1, "bridge": 7}
"""The numbers of families of tables."""

BIG_ENDIAN, HOST_ENDIAN = 2, 1
"""How nft writes the order of bytes of a set's keys and data, in what it keeps with the set."""

_SUBSYSTEM: Final = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_SO_SNDBUFFORCE: Final = 32


class Command(enum.IntEnum):
    """What a message asks for."""

    NEW_CHAIN = 3
    DELETE_CHAIN = 5
    NEW_RULE = 6
    DELETE_RULE = 8
    NEW_SET = 9
    DELETE_SET = 11
    NEW_ELEMENT = 12
    DELETE_ELEMENT = 14


CREATE: Final = 0x400
APPEND: Final = 0x800

Message = tuple[Command, int, bytes]
"""The command, its flags, and its attributes."""


def text(number: int, value: str) -> bytes:
    """Return an attribute with a name."""
    return attribute(number, value.encode() + b"\0")


def number32(number: int, value: int) -> bytes:
    """Return an attribute with an unsigned or negative number of 32 bits."""
    return attribute(number, (value & 0xFFFFFFFF).to_bytes(4, "big"))


class Kernel:
    """A socket to nf_tables in the network namespace of the thread that makes it.

    To be kept: the kernel lets the close of such a socket wait until what was deleted last is really gone.
    """

    def __init__(self) -> None:
        """Open the socket; raises OSError if there is no nf_tables, or no right to make such a socket."""
        self._socket = opened(NETFILTER)
        self._room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, messages: Sequence[Message], family: int) -> None:
        """Let the kernel carry out all messages or none; the table is of a `family` (see `FAMILIES`).

        Raises OSError if it refuses, or if the transaction is larger than the socket takes.
        """
        parts = [_message(_BATCH_BEGIN, REQUEST, 0, b"", 0, _SUBSYSTEM)]
        for sequence, (command, flags, attributes) in enumerate(messages, 1):
            parts.append(_message(_SUBSYSTEM << 8 | command, REQUEST | flags, sequence, attributes, family, 0))
        parts.append(_message(_BATCH_END, REQUEST, len(messages) + 1, b"", 0, _SUBSYSTEM))
        batch = b"".join(parts)
        self._make_room(len(batch) * 2)
        self._socket.send(batch)
        self._raise_error()

    def _make_room(self, size: int) -> None:
        """Let the socket take a batch of a size; without the right to go beyond the system's limit, up to that."""
        if size <= self._room:
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        self._room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def _raise_error(self) -> None:
        """Raise the first error of the answers; the kernel tells only of errors, and before `send` returns."""
        first = 0
        while True:
            try:
                answer = self._socket.recv(BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            for kind, _, (place, _) in messages(answer):
                if kind == ERROR and not first:
                    first = error_number(answer, place)
        if first:
            raise OSError(first, os.strerror(first))


def _message(kind: int, flags: int, sequence: int, attributes: bytes, family: int, resource: int) -> bytes:
    return message(kind, flags, sequence, GENERAL.pack(family, 0, resource) + attributes)
