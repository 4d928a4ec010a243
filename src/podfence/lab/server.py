# SPDX-License-Identifier: Apache-2.0
"""The lab's door: connections of its user, each with one request, answered in a thread of its own."""

from __future__ import annotations

import os
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from podfence.errors import PodfenceError
from podfence.lab.connection import Connection
from podfence.lab.journal import Journal
from podfence.lab.operations import OPERATIONS, Request, begin, end_lab
from podfence.lab.sandbox import peer_user
from podfence.lab.sandbox import version as own_version

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from podfence.lab.operations import Message
    from podfence.lab.supervisor import Supervisor

FIRST_CALL: Final = 30.0
"""Seconds after which a lab ends that nobody has called to be brought up."""

_PAUSE: Final = 0.5
"""Seconds until a lab that has no room for another request tries again."""


def serve(listener: socket.socket, api: socket.socket) -> None:
    """Answer requests until one of them ends the lab; end it if nobody makes the first, or that fails.

    On `api` the API server of the lab listens.
    """
    journal = Journal()
    started: list[Supervisor] = []

    def begin_with(request: Request) -> Iterator[Message]:
        started.append((yield from begin(request, journal, api)))

    def operate(request: Request) -> Iterator[Message]:
        operation = OPERATIONS.get(request.operation)
        if operation is None:
            raise PodfenceError(f"the lab has no operation {request.operation}")
        yield from operation(started[0], request)

    listener.settimeout(FIRST_CALL)
    with suppress(TimeoutError):
        first, _ = listener.accept()
        listener.settimeout(None)
        if answer(first, begin_with, journal) and started:
            while True:
                try:
                    raw, _ = listener.accept()
                except OSError as error:
                    # There are as many open files as there may be; others are closed soon.
                    journal.say("lab", f"a request has to wait: {error.strerror}")
                    time.sleep(_PAUSE)
                    continue
                threading.Thread(target=answer, args=(raw, operate, journal), daemon=True).start()
    end_lab()


def answer(raw: socket.socket, operate: Callable[[Request], Iterator[Message]], journal: Journal) -> bool:
    """Answer the request of one connection; every failure is an answer too. Return whether all was said."""
    fds: list[int] = []
    with raw, suppress(OSError):
        connection = Connection(raw)
        received = connection.receive()
        if received is None:
            return False
        message, fds = received
        try:
            _require_own_user(raw)
            _require_own_version(message)
            for reply in operate(Request(str(message.pop("op", "")), message, fds, connection)):
                connection.send(reply)
        except PodfenceError as error:
            connection.send({"error": str(error)})
            return False
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - one request must not end the lab
            journal.say("lab", traceback.format_exc())
            connection.send({"error": f"internal error: {error!r}; `podfence lab logs` shows more; please report it"})
            return False
        finally:
            for number in fds:
                with suppress(OSError):
                    os.close(number)
        return True
    return False


def _require_own_version(message: Message) -> None:
    """Refuse what another version asks, but for the end, which all versions ask in the same way."""
    version = message.pop("version", "")
    if version != own_version() and message.get("op") != "down":
        raise PodfenceError(f"podfence {own_version()} started this lab: stop it with `podfence lab down`")


def _require_own_user(raw: socket.socket) -> None:
    if peer_user(raw) != os.geteuid():
        raise PodfenceError("this lab belongs to another user")
