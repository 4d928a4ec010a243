# SPDX-License-Identifier: Apache-2.0
"""A node and what is around it, in network namespaces that live as long as the processes in them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.dataplane.endpoint import UDP_PORTS
from tests.dataplane.inside import inside

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTLED_BY = 60.0
"""Seconds within which a new link is up, on a busy machine."""

ENDPOINT = Path(__file__).with_name("endpoint.py")


class Probe(NamedTuple):
    """One try: `kind` is tcp, udp or icmp (port 0)."""

    kind: str
    source: str
    destination: str
    port: int


class Network:
    """A router, and ends that are routed through it; addresses of the router itself are on its loopback."""

    def __init__(self, router: Sequence[str], ends: Sequence[Sequence[str]]) -> None:
        self._stack = ExitStack()
        self._process_of: dict[str, subprocess.Popen[str]] = {}
        with ExitStack() as stack:
            stack.callback(self._stack.close)
            self._router = self._start(router)
            self.prefix = ("nsenter", "-t", str(self._router.pid), "-n")
            lines = ["link set lo up", *(f"addr add {given(address)} dev lo" for address in router)]
            for number, addresses in enumerate(ends):
                lines += self._connect(number, addresses, self._start(addresses))
            self._ip(self._router, lines)
            for addresses in (router, *ends):
                process = self._process_of[addresses[0]]
                self._write(process, list(addresses))
                assert process.stdout is not None
                assert process.stdout.readline() == "listening\n"
            for source in (address for addresses in (router, *ends) for address in addresses):
                for destination in router:
                    if (":" in source) == (":" in destination):
                        self._settle(source, destination)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, addresses: Sequence[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-I", str(ENDPOINT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.communicate)
        self._process_of |= dict.fromkeys(addresses, process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        settings = ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1", "ipv4.conf.all.rp_filter=0", "ipv4.conf.default.rp_filter=0"]  # fmt: skip
        settings += ["ipv6.conf.all.accept_dad=0", "ipv6.conf.default.accept_dad=0"]
        self._run(process, "sysctl", "-q", "-w", *(f"net.{item}" for item in settings))
        return process

    def _connect(self, number: int, addresses: Sequence[str], end: subprocess.Popen[str]) -> list[str]:
        """Give an end its addresses; return the router's commands for its side."""
        here = f"end{number}"
        router_mac, mac = (f"02:00:00:{side}:{number >> 8:02x}:{number & 255:02x}" for side in ("01", "02"))
        link = f"link add {here} address {router_mac} type veth peer name pod address {mac} netns {end.pid}"
        self._ip(self._router, [link])
        lines = ["link set lo up", "link set pod up", *(f"addr add {given(item)} dev pod" for item in addresses)]
        lines += ["route add default via 169.254.1.1 dev pod onlink", "-6 route add default via fe80::1 dev pod onlink"]
        # All namespaces of a machine share one table of neighbours, and while it is full datagrams are lost.
        lines += [f"neigh add {item} lladdr {router_mac} dev pod nud permanent" for item in ("169.254.1.1", "fe80::1")]
        self._ip(end, lines)
        return [
            f"link set {here} up",
            f"addr add 169.254.1.1/32 dev {here}",
            f"addr add fe80::1/64 dev {here} nodad",
            *(f"{'-6 ' if ':' in item else ''}route add {item}/{bits(item)} dev {here}" for item in addresses),
            *(f"neigh add {item} lladdr {mac} dev {here} nud permanent" for item in addresses),
        ]

    def _ip(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        for line in lines:
            self._run(process, "ip", *line.split())

    def _settle(self, source: str, destination: str) -> None:
        """Wait until an address is answered.

        The kernel takes its time to find that a new link is up, and to route to a new address of IPv6.
        """
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        deadline = time.monotonic() + SETTLED_BY
        with inside(self.pid_of(source), lambda: socket.socket(family, socket.SOCK_DGRAM)) as item:
            item.settimeout(0.05)
            while time.monotonic() < deadline:
                with suppress(OSError):
                    item.sendto(b"", (destination, UDP_PORTS[0]))
                    item.recv(64)
                    return
        raise AssertionError(f"{source} does not reach {destination}")

    @staticmethod
    def _run(process: subprocess.Popen[str], *command: str) -> None:
        subprocess.run(["nsenter", "-t", str(process.pid), "-n", *command], check=True)

    @staticmethod
    def _write(process: subprocess.Popen[str], line: list[Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()

    def pid_of(self, address: str) -> int:
        """Return the process whose namespace has an address."""
        return self._process_of[address].pid

    def nft(self, script: str) -> None:
        """Change the router's tables behind everybody's back."""
        self._run(self._router, "nft", script)

    def forget(self) -> None:
        """Take the table away, for the next test."""
        self.nft("add table inet podfence; delete table inet podfence")

    def passed(self, probes: dict[Probe, bool]) -> dict[Probe, bool]:
        """Return which probes got through; with each is said whether it should, and those are waited for."""
        by_process: dict[int, list[Probe]] = {}
        processes = {process.pid: process for process in self._process_of.values()}
        for probe in probes:
            by_process.setdefault(self._process_of[probe.source].pid, []).append(probe)
        for pid, items in by_process.items():
            self._write(processes[pid], [[*item, probes[item]] for item in items])
        found: dict[Probe, bool] = {}
        for pid, items in by_process.items():
            stdout = processes[pid].stdout
            assert stdout is not None
            found |= dict(zip(items, json.loads(stdout.readline()), strict=True))
        return found


def bits(address: str) -> int:
    return 128 if ":" in address else 32


def given(address: str) -> str:
    """Return an address as `ip addr add` takes it; one that waits for duplicate address detection cannot be bound."""
    return f"{address}/{bits(address)}{' nodad' if ':' in address else ''}"
