# SPDX-License-Identifier: Apache-2.0
"""The API server as a measurement uses it: requests over one open connection, and watches that note the time.

It is nothing but HTTP, without what a client for daily use has: what it costs itself is to be as little as possible.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bench.kubernetes.places import inside
from podfence.kube.access import tls
from podfence.kube.access.access import Choice
from podfence.kube.access.credentials import Credentials
from podfence.kube.access.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

_PATIENCE: Final = 60.0
_KEPT: Final = 30.0
"""Seconds that a connection is surely kept open by the server while nothing is asked."""


class Answer(NamedTuple):
    """What came of a request: its status, its content, when it was sent and when answered, by the monotonic clock."""

    status: int
    content: Json
    sent: float
    answered: float


class Server:
    """The API server of a bed; one thread uses one of these."""

    def __init__(self, kubeconfig: Path, network: Path) -> None:
        """Connect from the namespace `network`. Raises PodfenceError and OSError."""
        self._network = network
        access = load(Choice(kubeconfig=str(kubeconfig)), {})
        pair = Credentials(access, os.environ).current().pair
        self._context = tls.context(access, pair)
        self._address = access.server.host, access.server.port
        self._connection = self.connect()
        self._used = time.monotonic()

    def connect(self) -> http.client.HTTPSConnection:
        """Return one more connection. Raises OSError."""
        made = http.client.HTTPSConnection(*self._address, context=self._context, timeout=_PATIENCE)
        with inside(self._network):
            made.connect()
        # By itself it would connect again from wherever the thread is then.
        made.auto_open = 0
        return made

    def request(self, verb: str, path: str, body: Json | None = None) -> Answer:
        """Return an answer, whatever its status. Raises OSError and HTTPException."""
        data = None if body is None else msgspec.json.encode(body)
        if time.monotonic() - self._used > _KEPT:
            self._connection.close()
            self._connection = self.connect()
        sent = time.monotonic()
        self._connection.request(verb, path, data, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        self._used = answered = time.monotonic()
        return Answer(response.status, msgspec.json.decode(content) if content else {}, sent, answered)

    def do(self, verb: str, path: str, body: Json | None = None) -> Answer:
        """Return the answer to what must succeed; raises RuntimeError with the server's words if it does not."""
        answer = self.request(verb, path, body)
        if answer.status >= 300:
            message = f"{verb} {path}: {answer.status} {answer.content.get('message', '')}"
            raise RuntimeError(message)
        return answer


class Events:
    """A watch that hands over each event with the time at which it was here, from a thread of its own."""

    def __init__(self, server: Server, path: str, take: Callable[[float, str, Json], None]) -> None:
        """Watch from now on; `take` gets the monotonic clock's seconds, the type of the event and the object."""
        self._take = take
        self._over = False
        listed = server.do("GET", f"{path}?limit=1")
        self._connection = server.connect()
        self._connection.request(
            "GET", f"{path}?watch=1&resourceVersion={listed.content['metadata']['resourceVersion']}"
        )
        # The thread may wait for ever, and is woken by the end of the connection.
        self._socket = self._connection.sock
        self._socket.settimeout(None)
        self._response = self._connection.getresponse()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch."""
        self._over = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while line := self._response.readline():
                now = time.monotonic()
                if self._over:
                    return
                event = msgspec.json.decode(line)
                self._take(now, event["type"], event["object"])
