# SPDX-License-Identifier: Apache-2.0
"""The stand-ins: small servers that answer as the programs of well-known images do, as far as tests look."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from podfence.lab.processes.program import Answers

if TYPE_CHECKING:
    from podfence.lab.processes.program import StandIn

WELCOME: Final = """\
<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>

<p>For online documentation and support please refer to
<a href="http://nginx.org/">nginx.org</a>.<br/>
Commercial support is available at
<a href="http://nginx.com/">nginx.com</a>.</p>

<p><em>Thank you for using nginx.</em></p>
</body>
</html>
"""
"""nginx's page, which people look for to see that a connection works."""

_METRICS: Final = "http.requests=3\ngo.goroutines=5\ngo.cpus=4\n"
_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
_BACKLOG: Final = 4096
# What the kernel's connection tracking knows of the destination (linux/netfilter_ipv4.h, netfilter_ipv6).
_ORIGINAL_DESTINATION: Final = 80
_LONGEST_REQUEST: Final = 65536


def serve(stand_in: StandIn, pod: str) -> NoReturn:
    """Answer on the ports of a stand-in until this process is ended; `pod` is what it calls itself.

    Raises OSError, naming the port, where one cannot be had.
    """
    selector = selectors.DefaultSelector()

    def accept(server: socket.socket, port: int) -> None:
        connection, _ = server.accept()
        connection.settimeout(0)
        asked_for = _asked_for(connection) if stand_in.every_port else port
        conversation = _Conversation(connection, asked_for, stand_in.answers, pod)
        selector.register(connection, selectors.EVENT_READ, partial(converse, conversation))

    def converse(conversation: _Conversation) -> None:
        if not conversation.go_on():
            selector.unregister(conversation.line)
            conversation.line.close()

    for port in stand_in.tcp:
        server = _bind(socket.SOCK_STREAM, port)
        server.listen(_BACKLOG)
        selector.register(server, selectors.EVENT_READ, partial(accept, server, port))
    for port in stand_in.udp:
        server = _bind(socket.SOCK_DGRAM, port)
        selector.register(server, selectors.EVENT_READ, partial(_echo, server))
    while True:
        for key, _ in selector.select():
            # Whoever asks may be gone, or cut off, at any moment.
            with suppress(OSError):
                key.data()


def _bind(kind: socket.SocketKind, port: int) -> socket.socket:
    """Return a socket bound to a port on all addresses of both families, as far as this network has them."""
    try:
        server = socket.socket(socket.AF_INET6, kind)
        address = "::"
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        server = socket.socket(socket.AF_INET, kind)
        address = "0.0.0.0"  # noqa: S104 - a pod's network is its own
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
    server.settimeout(0)
    try:
        server.bind((address, port))
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"port {port}") from error
    return server


def _asked_for(connection: socket.socket) -> int:
    """Return the port that a client connected to, before it was led to this one. Raises OSError."""
    level = socket.IPPROTO_IPV6 if connection.family == socket.AF_INET6 else socket.SOL_IP
    if connection.getsockname()[0].startswith("::ffff:"):
        level = socket.SOL_IP
    return int.from_bytes(connection.getsockopt(level, _ORIGINAL_DESTINATION, 28)[2:4], "big")


def _echo(server: socket.socket) -> None:
    data, sender = server.recvfrom(65535)
    server.sendto(data, sender)


class _Conversation(msgspec.Struct):
    """One TCP connection to a stand-in, with the port that was asked for."""

    line: socket.socket
    port: int
    answers: Answers
    pod: str
    request: bytes = b""

    def go_on(self) -> bool:
        """Read what came and answer it; return whether there may be more."""
        try:
            data = self.line.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        try:
            return bool(data) and self._answer(data)
        except OSError:
            return False

    def _answer(self, data: bytes) -> bool:
        if self.answers == "redis":
            self.line.sendall(b"+PONG\r\n")
            return True
        self.request += data
        if self.answers == "echo" and not _may_be_http(self.request):
            self.line.sendall(self.request)
            self.request = b""
            return True
        if len(self.request) > _LONGEST_REQUEST:
            return False
        if b"\r\n\r\n" not in self.request and b"\n\n" not in self.request:
            return True
        words = self.request.split(b"\n", 1)[0].split()
        kind, body = self._page(words[1].decode("latin-1") if len(words) > 1 else "/")
        content = body.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        self.line.sendall(head.encode() + (b"" if words[:1] == [b"HEAD"] else content))
        return False

    def _page(self, path: str) -> tuple[str, str]:
        if self.answers == "page":
            return "text/html", WELCOME
        if self.answers == "two ports":
            return "text/plain", _METRICS if self.port == 5000 and path == "/metrics" else "Hello from HTTP server.\n"
        return "text/plain", f"pod {self.pod}, port {self.port}\n"


def _may_be_http(start: bytes) -> bool:
    return any(start.startswith(method[: len(start)]) for method in _METHODS)
