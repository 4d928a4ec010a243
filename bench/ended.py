# SPDX-License-Identifier: Apache-2.0
"""TCP connections that have ended, put into the kernel's table of flows as if their packets had passed here."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Final

from podfence.dataplane.entries import ORIGINAL, PROTOCOL_STATE, REPLY, STATUS
from podfence.netlink.asking import opened
from podfence.netlink.messages import GENERAL, NETFILTER, REQUEST, attribute, message, nested

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW, _CREATE, _TIMEOUT = 0x100, 0x400, 7
_TCP, _TIME_WAIT = 6, 7
_ANSWERED: Final = 0xE
_AT_ONCE: Final = 100
_SECONDS: Final = 600


def put(client: str, server: str, port: int, count: int) -> None:
    """Put so many connections of a client to a port of a server there, each from a port of its own."""
    with closing(opened(NETFILTER)) as kernel:
        entries = _entries(socket.inet_aton(client), socket.inet_aton(server), port, count)
        while some := list(islice(entries, _AT_ONCE)):
            kernel.send(b"".join(message(_NEW, REQUEST | _CREATE, 0, entry) for entry in some))


def _entries(client: bytes, server: bytes, port: int, count: int) -> Iterator[bytes]:
    state = nested(PROTOCOL_STATE, [nested(1, [attribute(1, bytes((_TIME_WAIT,)))])])
    numbers = ((_TIMEOUT, _SECONDS), (STATUS, _ANSWERED))
    tail = b"".join(attribute(kind, value.to_bytes(4, "big")) for kind, value in numbers) + state
    for number in range(count):
        own = 1024 + number
        sides = _side(ORIGINAL, client, server, own, port) + _side(REPLY, server, client, port, own)
        yield GENERAL.pack(socket.AF_INET, 0, 0) + sides + tail


def _side(side: int, source: bytes, destination: bytes, *ports: int) -> bytes:
    addresses = nested(1, [attribute(1, source), attribute(2, destination)])
    ends = [attribute(place, struct.pack(">H", port)) for place, port in enumerate(ports, 2)]
    return nested(side, [addresses, nested(2, [attribute(1, bytes((_TCP,))), *ends])])
