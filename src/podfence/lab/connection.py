# SPDX-License-Identifier: Apache-2.0
"""Messages with file descriptors over a Unix socket: how the processes of a lab talk to each other."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from podfence.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LENGTH: Final = struct.Struct("!I")
_MOST_DESCRIPTORS: Final = 16


class Connection:
    """One end of a stream socket: JSON objects, each after four bytes of length; file descriptors go with the length.

    Not safe for several threads in the same direction. Closes the socket when it is closed.
    """

    def __init__(self, raw: socket.socket, gone: str = "") -> None:
        """Take over a connected Unix stream socket; `gone` is said if an answer does not come over it."""
        self.socket = raw
        self.gone = gone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the number of the socket, so that it can be waited for."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message and copies of file descriptors. Raises OSError if nobody is there any more."""
        body = msgspec.json.encode(message)
        data = memoryview(_LENGTH.pack(len(body)) + body)
        sent = socket.send_fds(self.socket, [data], list(fds))
        # Even nothing cannot be sent to somebody who has read it all and left.
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return the next message with its file descriptors (closed on exec), or None if no whole one comes."""
        fds: list[int] = []
        message: dict[str, Any] | None = None
        try:
            header = self._exactly(_LENGTH.size, fds)
            body = self._exactly(_LENGTH.unpack(header)[0], fds) if header else None
            message = msgspec.json.decode(body) if body else None
        finally:
            if message is None:
                for fd in fds:
                    os.close(fd)
        return None if message is None else (message, fds)

    def answer(self) -> tuple[dict[str, Any], list[int]]:
        """Return the next message, if that is no refusal. Raises LabError with the refusal, or `gone` if none comes."""
        received = self.receive()
        if received is None:
            raise LabError(self.gone)
        if "error" in received[0]:
            raise LabError(received[0]["error"])
        return received

    def _exactly(self, size: int, fds: list[int]) -> bytearray | None:
        """Return so many bytes, or None if the other end is closed before; file descriptors that come go to `fds`."""
        data = bytearray()
        while len(data) < size:
            try:
                part, received, _, _ = socket.recv_fds(self.socket, size - len(data), _MOST_DESCRIPTORS)
            except ConnectionError:
                return None
            for fd in received:
                os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no names
            fds += received
            if not part:
                return None
            data += part
        return data
