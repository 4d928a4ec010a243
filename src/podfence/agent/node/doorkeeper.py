# SPDX-License-Identifier: Apache-2.0
"""Who may be connected to a port that everybody reaches, how many at once, and for how long.

A server of HTTP waits for the rest of a request, and each that waits costs memory; and each that does not wait costs
time of the processor, which the pod that asks need not have itself. So a connection has a fixed time for all it wants,
and one address has few of them in that time, however soon they end. The node itself is always let in, because its
probes decide whether the agent is restarted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = 10.0
"""How long a connection lasts at most."""

MOST_EACH: Final = 8
"""How many connections one address has in that time, if it is not the node's own."""

MOST: Final = 128
"""How many connections all such addresses have in that time before each of them may have only one."""

MOST_ADDRESSES: Final = 512
"""How many addresses there are at most: a tenant with some pods must not keep monitoring out."""


class Doorkeeper:
    """Makes a protocol for each connection, as asyncio asks for one; for the thread of one event loop."""

    def __init__(
        self,
        server: Callable[[], asyncio.Protocol],
        *,
        most: int = MOST,
        most_each: int = MOST_EACH,
        most_addresses: int = MOST_ADDRESSES,
        seconds: float = SECONDS,
    ) -> None:
        """Lead those who are let in to what `server` makes."""
        self.server = server
        self._most = most
        self._most_each = most_each
        self._most_addresses = most_addresses
        self.seconds = seconds
        self._guests: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of one connection, which may turn out not to be let in."""
        return _Visit(self)

    def admit(self, peer: str, own: str) -> bool:
        """Count a connection from one address to another of this node, and return whether it may stay."""
        if peer == own:
            return True
        mine = self._guests[peer]
        if mine >= self._most_each or (mine and self._guests.total() >= self._most):
            return False
        if not mine and len(self._guests) >= self._most_addresses:
            return False
        self._guests[peer] += 1
        return True

    def leave(self, peer: str, own: str) -> None:
        """Take back what `admit` counted, when the time of the connection is over."""
        if peer != own:
            self._guests[peer] -= 1
            if not self._guests[peer]:
                del self._guests[peer]


class _Visit(asyncio.Protocol):
    """One connection, handed over to the server if it is let in."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self._ends: tuple[str, str] = ("", "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        socket = cast("asyncio.Transport", transport)
        self._ends = _host(socket.get_extra_info("peername")), _host(socket.get_extra_info("sockname"))
        if not self._keeper.admit(*self._ends):
            socket.abort()
            return
        server = self._keeper.server()
        asyncio.get_running_loop().call_later(self._keeper.seconds, self._end, socket)
        socket.set_protocol(server)
        server.connection_made(socket)

    def _end(self, socket: asyncio.Transport) -> None:
        socket.abort()
        self._keeper.leave(*self._ends)


def _host(name: object) -> str:
    """Return the address of a socket's name; what has no address has no other name either."""
    return str(name[0]) if isinstance(name, tuple) else ""
