# SPDX-License-Identifier: Apache-2.0
"""A packet socket at an end: it sends frames exactly as they are, and hears all that arrive."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from scapy.compat import raw
from scapy.packet import Packet

from tests.dataplane.traffic import ROOM, SO_RCVBUFFORCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.wiring import End

_ALL: Final = 0x0003
_OUTGOING: Final = 4


class Port:
    """The link of one end, as its programs with NET_RAW have it."""

    def __init__(self, end: End) -> None:
        """Listen from now on; what has come since `forget` and was looked at is in ``passed``."""
        self.passed: list[bytes] = []
        with end.space.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self._socket.bind((end.interface, 0))
        self._socket.setblocking(False)

    def send(self, *frames: Packet | bytes) -> None:
        for frame in frames:
            self._socket.send(raw(frame) if isinstance(frame, Packet) else frame)

    def forget(self) -> None:
        """Drop what has come so far."""
        while self._next() is not None:
            pass
        self.passed.clear()

    def hears(self, token: bytes, patience: float) -> bytes | None:
        """Return the first frame that has the token in it and comes within so many seconds."""
        return self.first(lambda frame: token in frame, patience)

    def first(self, wanted: Callable[[bytes], bool], patience: float) -> bytes | None:
        """Return the first frame that is wanted and comes within so many seconds."""
        end = time.monotonic() + patience
        while True:
            while (frame := self._next()) is not None:
                self.passed.append(frame)
                if wanted(frame):
                    return frame
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                return None

    def _next(self) -> bytes | None:
        """Return the next frame that arrived, not what is sent from here."""
        while True:
            try:
                frame, address = self._socket.recvfrom(65535)
            except BlockingIOError:
                return None
            if address[2] != _OUTGOING:
                return bytes(frame)

    def close(self) -> None:
        self._socket.close()
