# SPDX-License-Identifier: Apache-2.0
"""The end of a server: it waits for no client, and leaves no connection, however far that has come."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.lab.apiserver.serving import PATIENCE, TOKEN, served

if TYPE_CHECKING:
    from collections.abc import Callable

_REQUEST = "GET /version HTTP/1.1", f"Authorization: Bearer {TOKEN}"


def _secured(one: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(one.dup())


def _greet_by_half(one: socket.socket) -> None:
    one.sendall(b"\x16\x03\x01\x02\x00\x01")


def _greet(one: socket.socket) -> None:
    _secured(one).close()


def _ask(one: socket.socket, *headers: str) -> None:
    host = f"Host: 127.0.0.1:{one.getpeername()[1]}"
    with _secured(one) as secured:
        secured.sendall("\r\n".join((*_REQUEST, host, *headers, "", "")).encode())
        assert secured.recv(15) == b"HTTP/1.1 200 OK"


_STAGES: dict[str, Callable[[socket.socket], object]] = {
    "connected": lambda _one: None,
    "says by half who it is": _greet_by_half,
    "has said who it is": _greet,
    "has asked and may ask again": _ask,
    "has asked for the last time and does not hear that this was all": lambda one: _ask(one, "Connection: close"),
}


@pytest.mark.parametrize("stage", _STAGES)
def test_no_connection_is_left_when_the_server_has_ended(stage: str) -> None:
    with contextlib.ExitStack() as clients:
        with served() as server:
            ours = [
                clients.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE)) for _ in range(3)
            ]
            for one in ours:
                _STAGES[stage](one)
        for one in ours:
            with contextlib.suppress(ConnectionResetError):
                while one.recv(65536):
                    pass
