# SPDX-License-Identifier: Apache-2.0
"""One end of the packet tests, a process in a network namespace of its own: it answers, and it probes.

It ends when its standard input does, and the namespace with it. The first line of
input is a JSON list of its addresses, answered with "listening". Each other line is a list of probes
[kind, source, destination, port, expected], answered with a line that says what got through.
"""

import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count

TCP_PORTS = (80, 81, 444, 8080)
UDP_PORTS = (53, 81)
FIRST_SOURCE_PORT = 9000
LONGEST = 30.0
GRACE = 0.1


def listen(addresses: list[str]) -> None:
    """Serve on addresses of this namespace; a reply comes from the address that was asked."""
    servers = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind, ports in ((socket.SOCK_STREAM, TCP_PORTS), (socket.SOCK_DGRAM, UDP_PORTS)):
            for port in ports:
                server = socket.socket(family, kind)
                server.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    server.listen(256)
                servers.append(server)
    threading.Thread(target=serve, args=(servers,), daemon=True).start()


def serve(servers: list[socket.socket]) -> None:
    while True:
        for server in select.select(servers, [], [])[0]:
            try:
                if server.type == socket.SOCK_STREAM:
                    server.accept()[0].close()
                else:
                    data, sender = server.recvfrom(64)
                    server.sendto(data, sender)
            except OSError:
                continue


class Probes:
    """The probes of one line, all at once."""

    def __init__(self, probes: list[list[object]], round_number: int, ports: Iterator[int]) -> None:
        self.ports = ports
        self.passed = [False] * len(probes)
        self.expected = {index for index, probe in enumerate(probes) if probe[4]}
        self.poll = select.poll()
        self.open: dict[int, tuple[socket.socket, int, str]] = {}
        self.pings: dict[tuple[int, str], socket.socket] = {}
        self.identity = (os.getpid() + round_number * 257) & 0xFFFF
        for index, (kind, source, destination, port, _) in enumerate(probes):
            self.start(index, str(kind), str(source), str(destination), port)

    def start(self, index: int, kind: str, source: str, destination: str, port: object) -> None:
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        if kind == "icmp":
            self.ping(index, family, source, destination)
            return
        item = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        item.setblocking(False)
        # A port that an earlier probe had may belong to a flow the router still takes for established.
        item.bind((source, next(self.ports)))
        item.connect_ex((destination, port))
        if kind == "udp":
            item.send(b"?")
        self.open[item.fileno()] = (item, index, kind)
        self.poll.register(item, select.POLLIN if kind == "udp" else select.POLLOUT)

    def ping(self, index: int, family: int, source: str, destination: str) -> None:
        protocol, request = (socket.IPPROTO_ICMP, 8) if family == socket.AF_INET else (socket.IPPROTO_ICMPV6, 128)
        item = self.pings.get((family, source))
        if item is None:
            item = self.pings[family, source] = socket.socket(family, socket.SOCK_RAW, protocol)
            item.bind((source, 0))
            item.setblocking(False)
            self.open[item.fileno()] = (item, -1, "icmp")
            self.poll.register(item, select.POLLIN)
        message = struct.pack("!BBHHH", request, 0, 0, self.identity, index)
        if family == socket.AF_INET:
            total = sum(struct.unpack("!4H", message))
            total = (total & 0xFFFF) + (total >> 16)
            message = struct.pack("!BBHHH", request, 0, ~total & 0xFFFF, self.identity, index)
        item.sendto(message, (destination, 0))

    def wait(self) -> list[bool]:
        end = time.monotonic() + LONGEST
        graced = False
        while (left := end - time.monotonic()) > 0:
            if not graced and all(self.passed[index] for index in self.expected):
                graced, end = True, time.monotonic() + GRACE
                continue
            for number, event in self.poll.poll(left * 1000):
                self.take(number, event)
        for item, _, _ in self.open.values():
            item.close()
        return self.passed

    def take(self, number: int, _event: int) -> None:
        item, index, kind = self.open[number]
        if kind == "icmp":
            data, _ = item.recvfrom(256)
            body = data[20:] if item.family == socket.AF_INET else data
            kind_number, _, _, identity, sequence = struct.unpack("!BBHHH", body[:8])
            if identity == self.identity and kind_number in (0, 129):
                self.passed[sequence] = True
            return
        if kind == "tcp":
            self.passed[index] = item.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        else:
            try:
                self.passed[index] = item.recv(16) == b"?"
            except OSError:
                self.passed[index] = False
        self.poll.unregister(number)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    say("ready")
    listen(json.loads(sys.stdin.readline()))
    say("listening")
    ports = count(FIRST_SOURCE_PORT)
    for number, line in enumerate(sys.stdin):
        say(json.dumps(Probes(json.loads(line), number, ports).wait()))


if __name__ == "__main__":
    main()
