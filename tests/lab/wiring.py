# SPDX-License-Identifier: Apache-2.0
"""A lab's network around processes that only hold namespaces; sockets are opened in them by the test itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

import pytest

from podfence.lab.network.attachment import Attachment
from podfence.lab.network.namespaces import inside
from podfence.lab.network.wiring import Network
from tests.spaces import LINKS, are_carrying

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.sets.addresses import Family

PATIENCE = 60.0

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)


class Seen(NamedTuple):
    """What a server saw of a client: its address."""

    server: str
    client: str


class Wired:
    """Nodes, outside, and pods `pods[node][number]`, each with one address per family."""

    def __init__(self, plan: Plan, pods: tuple[int, ...] = (), *, room: int | None = None) -> None:
        self._stack = ExitStack()
        self._servers: dict[tuple[int, str, Family, int], socket.socket] = {}
        self.plan = plan
        with ExitStack() as stack:
            stack.callback(self._stack.close)
            self.fabric = self.hold()
            self.outside = self.hold()
            self.nodes = [self.hold() for _ in pods]
            self.network = Network(plan, self.nodes, self.outside, room=room)
            self._stack.callback(self.network.close)
            with inside(self.fabric):
                self.network.start()
            self.pods = [
                [self.link(node, number) for number in range(2, 2 + count)] for node, count in enumerate(pods, 1)
            ]
            self.network.attach(pod for items in self.pods for pod in items)
            for place in (self.fabric, self.outside, *self.nodes, *(pod.pid for items in self.pods for pod in items)):
                self._wait_for_links(place)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()
        self._stack.close()

    def hold(self) -> int:
        """Make a network namespace that lasts as long as the test; return the process in it."""
        process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._stack.callback(process.communicate)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    def link(self, node: int, number: int, pid: int | None = None) -> Attachment:
        """Return a pod, not attached, that has the address of that number in its node's range."""
        addresses = tuple(
            f"{self.plan.pod_range(node, family).partition('/')[0].removesuffix('.0')}{'' if family == 6 else '.'}{number:{'x' if family == 6 else 'd'}}"
            for family in self.plan.families
        )
        return Attachment(self.hold() if pid is None else pid, node, addresses)

    def _wait_for_links(self, pid: int) -> None:
        """Return when all links of a namespace carry frames, as `Space.has_links` says."""
        end = time.monotonic() + PATIENCE
        while not are_carrying(self.run(pid, *LINKS)):
            assert time.monotonic() < end, "a link does not come up"

    def speaks_as(self, node: int, family: Family) -> str:
        """Return the address that a node has for its own pods: on a bridge, that of their gateway."""
        if self.plan.network == "routed":
            return self.plan.node_address(node, family)
        return f"fd00:10:244:{node}::1" if family == 6 else f"10.244.{node}.1"

    def run(self, pid: int, *command: str) -> str:
        """Run a program in a namespace; return what it prints."""
        done = subprocess.run(
            ["nsenter", "-t", str(pid), "-n", *command], check=True, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout

    def open(self, pid: int, kind: str, family: Family) -> socket.socket:
        """Return a fresh socket in a namespace."""
        with inside(pid):
            found = socket.socket(
                socket.AF_INET6 if family == 6 else socket.AF_INET,
                socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM,
            )
        found.settimeout(PATIENCE)
        return found

    def server(self, pid: int, kind: str, family: Family, port: int) -> socket.socket:
        """Return the socket that serves a port in a namespace, the same each time."""
        key = (pid, kind, family, port)
        if key not in self._servers:
            found = self._servers[key] = self.open(pid, kind, family)
            if family == 6:
                found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            found.bind(("::" if family == 6 else "0.0.0.0", port))
            if kind == "tcp":
                found.listen(64)
        return self._servers[key]

    def call(
        self,
        client: int,
        address: str,
        port: int,
        server: socket.socket,
        kind: str = "tcp",
        source: str = "",
        patience: float = PATIENCE,
    ) -> Seen:
        """Connect (or send and be answered); return which address was reached as the server saw it, and from which."""
        family: Family = 6 if ":" in address else 4
        with self.open(client, kind, family) as end:
            end.settimeout(patience)
            if source:
                end.setsockopt(socket.IPPROTO_IP, 15, 1)
                end.bind((source, 0))
            end.connect((address, port))
            if kind == "tcp":
                accepted, peer = server.accept()
                with accepted:
                    return Seen(accepted.getsockname()[0], peer[0])
            return exchange(end, server)


def exchange(client: socket.socket, server: socket.socket) -> Seen:
    """Send a datagram and have it answered; return who was seen ("" as the server's address)."""
    client.send(b"there")
    data, peer = server.recvfrom(64)
    server.sendto(data + b" and back", peer)
    assert client.recv(64) == b"there and back"
    return Seen("", peer[0])
