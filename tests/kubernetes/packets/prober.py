# SPDX-License-Identifier: Apache-2.0
"""A server that sends packets from the network namespaces of one node; run as root on it, with a socket's path.

Each connection to the socket is one request and one answer, a line of JSON each. A request is served by a process of
its own, which enters the network namespace that the request names:

    {"do": "scan"}                                              address -> path of the pod's network namespace
    {"do": "probe", "netns": PATH or "", "probes": [...], "first": {...}}   outcomes, as `probing.run` returns them
    {"do": "ask", "netns": PATH or "", "asks": [[KIND, SOURCE, ADDRESS, PORT], ...], "first": PORT}
                                                                what was answered to each, None for nothing
    {"do": "traffic", "netns": PATH or "", "flows": [...]}      lines as `traffic.py` says, until the connection ends
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from podfence.lab.processes.probing import Probe, run
from tests.kubernetes.packets.traffic import Traffic

PATIENCE: Final = 3.0
"""Seconds that an answer is awaited; a SYN that is lost is sent again after one."""

_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFADDR: Final = 0x8915
_NAMESPACES: Final = Path("/run/netns")
# Refusals must not be left out because there were many of them: they prove that a packet got there.
_UNLIMITED: Final = {"icmp_ratelimit": "0", "icmp_msgs_per_sec": "1000000", "icmp_msgs_burst": "100000"}


def enter(path: str) -> None:
    """Enter a network namespace; "" is the one we are in."""
    if path:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(path).open("rb") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {path}")
    for name, value in _UNLIMITED.items():
        with suppress(OSError):
            Path("/proc/sys/net/ipv4", name).write_text(value)


def scan() -> dict[str, str]:
    """Return the network namespaces of pods by the address of their eth0."""
    found = {}
    for path in sorted(_NAMESPACES.glob("cni-*")):
        with suppress(OSError):
            enter(str(path))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as item:
                answer = fcntl.ioctl(item, _SIOCGIFADDR, struct.pack("256s", b"eth0"))
            found[socket.inet_ntoa(answer[20:24])] = str(path)
    return found


def ask(asks: list[list[Any]], first: int) -> list[str | None]:
    """Return what servers answer to each: the body to a GET of TCP, the datagram of UDP, None within the patience."""
    answers: list[str | None] = [None] * len(asks)
    received: dict[int, bytes] = {}
    waiting = selectors.DefaultSelector()
    for index, (kind, source, address, port) in enumerate(asks):
        item = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        item.setblocking(False)
        item.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        try:
            _bind(item, source, first + index)
            code = item.connect_ex((address, port))
            if code not in {0, errno.EINPROGRESS}:
                raise OSError(code, os.strerror(code))  # noqa: TRY301 - as if it had been raised there
            if kind == "udp":
                item.send(b"?")
        except OSError:
            item.close()
            continue
        waiting.register(item, selectors.EVENT_READ if kind == "udp" else selectors.EVENT_WRITE, index)
    end = time.monotonic() + PATIENCE
    while waiting.get_map() and (left := end - time.monotonic()) > 0:
        for key, events in waiting.select(left):
            assert isinstance(key.fileobj, socket.socket)
            item, index = key.fileobj, key.data
            try:
                if events & selectors.EVENT_WRITE:
                    item.send(b"GET / HTTP/1.0\r\n\r\n")
                    waiting.modify(item, selectors.EVENT_READ, index)
                    continue
                part = item.recv(65536)
                received[index] = received.get(index, b"") + part
                if part and item.type == socket.SOCK_STREAM:
                    continue
                answers[index] = received[index].rpartition(b"\r\n\r\n")[2].decode()
            except OSError:
                pass
            waiting.unregister(item)
            item.close()
    for key in list(waiting.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return answers


def _bind(item: socket.socket, source: str, port: int) -> None:
    for number in range(port, port + 2000, 50):
        with suppress(OSError):
            item.bind((source, number))
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def answer(request: dict[str, Any]) -> object:
    """Return what a request asks for."""
    if request["do"] == "scan":
        return scan()
    enter(request["netns"])
    if request["do"] == "probe":
        return run([Probe(*item) for item in request["probes"]], request["first"])
    return ask(request["asks"], request["first"])


def serve(path: str) -> None:
    """Serve requests at a Unix socket until killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        status = 1
        try:
            with connection, connection.makefile("rwb") as file:
                try:
                    request = json.loads(file.readline())
                    if request["do"] == "traffic":
                        enter(request["netns"])
                        Traffic(request["flows"], file).run(connection)
                        os._exit(0)
                    found: object = {"found": answer(request)}
                except (OSError, ValueError) as error:
                    found = {"error": f"{type(error).__name__}: {error}"}
                file.write(json.dumps(found).encode() + b"\n")
            status = 0
        finally:
            os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
