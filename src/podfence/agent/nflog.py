# SPDX-License-Identifier: Apache-2.0
"""Packets that the kernel logs to a group, read over netlink (linux/netfilter/nfnetlink_log.h)."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.netlink.asking import BUFFER, NetlinkError, opened
from podfence.netlink.messages import (
    ACK,
    ERROR,
    GENERAL,
    NETFILTER,
    REQUEST,
    attribute,
    contents,
    error_number,
    message,
    messages,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKET, _CONFIG = 0x400, 0x401
_COMMAND, _MODE, _TIMEOUT = 1, 2, 4
_BIND: Final = b"\x01"
_COPY_PACKET: Final = 2
_HEADER, _IN, _PORT_IN, _HARDWARE, _PAYLOAD, _PREFIX = 1, 4, 6, 8, 9, 10

_COPIED: Final = 128
"""Bytes of each packet that are copied: the headers, with some of the options of IPv6."""

_PATIENCE: Final = 10
"""Hundredths of a second that the kernel may collect packets before it hands them over."""


class Logged(NamedTuple):
    """A packet from its network header on, and the prefix of the rule that logged it.

    `interface` is the number of the one that it came by, that of the port if it came by a bridge; `kind` is the type
    of the frame it was in; `hardware` is the address of who sent that, "" if there is none.
    """

    prefix: str
    packet: bytes
    interface: int = 0
    kind: int = 0
    hardware: str = ""


class LogGroup:
    """The one listener of a group in the network namespace of the thread that makes it; user namespaces are fine."""

    def __init__(self, group: int) -> None:
        """Bind to the group. Raises NetlinkError if the kernel refuses, OSError if it cannot log to programs."""
        self._socket = opened(NETFILTER)
        try:
            self._configure(group, attribute(_COMMAND, _BIND))
            self._configure(
                group,
                attribute(_MODE, struct.pack(">IBx", _COPIED, _COPY_PACKET))
                + attribute(_TIMEOUT, struct.pack(">I", _PATIENCE)),
            )
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket; the kernel forgets the listener."""
        self._socket.close()

    def receive(self) -> list[Logged]:
        """Return the next packets, waiting for them; those that came too fast for us are lost."""
        while True:
            try:
                found = list(_packets(self._socket.recv(BUFFER)))
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            if found:
                return found

    def _configure(self, group: int, content: bytes) -> None:
        self._socket.send(message(_CONFIG, REQUEST | ACK, 0, GENERAL.pack(socket.AF_UNSPEC, 0, group) + content))
        # Nothing is logged to us before the first answer; between that and the second, packets may come first.
        number = None
        while number is None:
            data = self._socket.recv(BUFFER)
            number = next((error_number(data, start) for kind, _, (start, _) in messages(data) if kind == ERROR), None)
        if number:
            # Also for a group that somebody listens to already the kernel says that this is not permitted.
            what = ", to which another program may listen" if number == errno.EPERM else ""
            raise NetlinkError(f"listening to log group {group}{what}", number)


def _packets(data: bytes) -> Iterator[Logged]:
    for kind, _, (start, end) in messages(data):
        if kind == _PACKET:
            parts = contents(data, start + GENERAL.size, end)
            prefix = text_of(parts.get(_PREFIX, b""))
            incoming = parts.get(_PORT_IN, parts.get(_IN, b""))
            yield Logged(
                prefix,
                parts.get(_PAYLOAD, b""),
                int.from_bytes(incoming, "big"),
                int.from_bytes(parts.get(_HEADER, b"")[:2], "big"),
                _hardware(parts.get(_HARDWARE, b"")),
            )


def _hardware(data: bytes) -> str:
    """Return a hardware address as text: its length comes first, in two bytes, and then two that mean nothing."""
    return data[4 : 4 + int.from_bytes(data[:2], "big")].hex(":")
