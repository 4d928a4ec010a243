# SPDX-License-Identifier: Apache-2.0
"""What the kernel of a node tells when something is added to podfence's table (linux/netfilter/nf_tables.h)."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bench.kubernetes.places import inside
from podfence.dataplane.ruleset import TABLE
from podfence.netlink.messages import GENERAL, NETFILTER, attributes, messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GROUP: Final = 1 << (7 - 1)
_NEW_ELEMENTS: Final = 0xA0C
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_KEY, _VALUE = 1, 1
_NAME: Final = TABLE.name.encode() + b"\0"
_MAP: Final = b"in4\0"
_RECEIVE_BUFFER_FORCE: Final = 33
_ROOM: Final = 1 << 24


class Programmed:
    """When each IPv4 address got its ingress rules in the kernel of one node, noted by a thread."""

    def __init__(self, network: Path) -> None:
        """Listen in a node's network namespace from now on. Raises OSError."""
        self._times: defaultdict[str, list[float]] = defaultdict(list)
        self._lost = 0
        with inside(network):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _ROOM)
        self._socket.bind((0, _GROUP))
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def since(self, address: str, start: float, patience: float) -> float | None:
        """Return when an address was first added after `start`, waiting for it; None if that takes too long."""
        end = time.monotonic() + patience
        while True:
            for moment in tuple(self._times[address]):
                if moment >= start:
                    return moment
            if time.monotonic() > end:
                return None
            time.sleep(0.005)

    def _run(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    self._lost += 1
                    continue
                return
            now = time.monotonic()
            for address in _added(data):
                self._times[address].append(now)


def _added(data: bytes) -> Iterator[str]:
    """Yield the addresses that messages say were added to the map."""
    for kind, _, (start, end) in messages(data):
        if kind != _NEW_ELEMENTS:
            continue
        parts = {number: (first, last) for number, first, last in attributes(data, start + GENERAL.size, end)}
        if not {_TABLE, _SET, _ELEMENTS} <= parts.keys():
            continue
        if data[slice(*parts[_TABLE])] != _NAME or data[slice(*parts[_SET])] != _MAP:
            continue
        for _, *element in attributes(data, *parts[_ELEMENTS]):
            for number, *key in attributes(data, *element):
                if number == _KEY:
                    for what, first, last in attributes(data, *key):
                        if what == _VALUE and last - first == 4:
                            yield socket.inet_ntoa(data[first:last])
