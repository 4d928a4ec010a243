# SPDX-License-Identifier: Apache-2.0
"""What ordinary programs in pods do: UDP and TCP sockets, without any right."""

from __future__ import annotations

import ipaddress
import select
import socket
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.attacks.bed import Bed

ARRIVES: Final = 30.0
"""Seconds that something which must arrive may take."""

DATAGRAM, STREAM = socket.SOCK_DGRAM, socket.SOCK_STREAM

QUIET: Final = 0.4
"""Seconds in which something that may not arrive did not."""

Options = tuple[tuple[int, int, int], ...]
TO_MANY: Final[Options] = ((socket.SOL_SOCKET, socket.SO_BROADCAST, 1),)


def opened(bed: Bed, name: str, kind: socket.SocketKind, family: int) -> socket.socket:
    """Return a socket in the namespace of an end; it does not block."""
    with bed[name].space.entered():
        found = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, kind)
    found.setblocking(False)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return found


def listening(bed: Bed, name: str, kind: socket.SocketKind, port: int, family: int) -> socket.socket:
    """Return a socket of an end that takes what comes for a port."""
    found = opened(bed, name, kind, family)
    found.bind(("::" if family == 6 else "0.0.0.0", port))
    if kind is socket.SOCK_STREAM:
        found.listen(5)
    return found


def whole(bed: Bed, name: str, address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return an address as sockets of an end take it, with the scope if it needs one."""
    found = ipaddress.ip_address(address)
    if found.version == 4:
        return address, port
    return address, port, 0, bed[name].index if found.is_link_local or found.is_multicast else 0


def ready(item: socket.socket, patience: float, *, writable: bool = False) -> bool:
    """Return whether a socket has something to read, or can be written to, within so many seconds."""
    return any(select.select([] if writable else [item], [item] if writable else [], [], patience))


def datagram(
    bed: Bed,
    sender: str,
    receiver: str,
    address: str,
    port: int,
    *,
    patience: float,
    source: str | None = None,
    options: Options = (),
    came: Callable[[socket.socket, bytes], bool] | None = None,
) -> bool:
    """Return whether a datagram that one end sends to an address arrives at a program of another.

    ``came`` says so for a socket and what it may not get, if there is something better to do than to be patient.
    """
    family = ipaddress.ip_address(address).version
    token = bed.token()
    with ExitStack() as stack:
        hearing = stack.enter_context(closing(listening(bed, receiver, socket.SOCK_DGRAM, port, family)))
        speaking = stack.enter_context(closing(opened(bed, sender, socket.SOCK_DGRAM, family)))
        for option in options:
            speaking.setsockopt(*option)
        if source is not None:
            speaking.bind(whole(bed, sender, source, 0))
        speaking.sendto(token, whole(bed, sender, address, port))
        return came(hearing, token) if came else any(data == token for data in arriving(hearing, patience))


def arriving(item: socket.socket, patience: float) -> Iterator[bytes]:
    """Give the datagrams that come within so many seconds."""
    end = time.monotonic() + patience
    while ready(item, max(0.0, end - time.monotonic())):
        yield item.recv(2048)


def connection(
    bed: Bed,
    sender: str,
    receiver: str,
    address: str,
    port: int,
    *,
    patience: float,
    source: str | None = None,
    at: int | None = None,
    before: Callable[[], object] | None = None,
) -> bool:
    """Return whether a program of one end opens a connection to one of another, and both hear each other.

    ``at`` is the port where the other listens, if it is not the one that is connected to; ``before`` is called when
    the client has begun, before anybody waits.
    """
    family = ipaddress.ip_address(address).version
    with ExitStack() as stack:
        server = stack.enter_context(closing(listening(bed, receiver, STREAM, at or port, family)))
        client = stack.enter_context(closing(opened(bed, sender, socket.SOCK_STREAM, family)))
        if source is not None:
            client.bind(whole(bed, sender, source, 0))
        client.connect_ex(whole(bed, sender, address, port))
        if before:
            before()
        if not ready(client, patience, writable=True) or client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        if not ready(server, patience):
            return False
        accepted = stack.enter_context(closing(server.accept()[0]))
        return _says(client, accepted, b"question", patience) and _says(accepted, client, b"answer", patience)


def _says(speaker: socket.socket, hearer: socket.socket, words: bytes, patience: float) -> bool:
    speaker.sendall(words)
    return ready(hearer, patience) and hearer.recv(64) == words
