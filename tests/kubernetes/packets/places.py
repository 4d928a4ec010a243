# SPDX-License-Identifier: Apache-2.0
"""The places of a real cluster that packets are sent from: pods, nodes, and the world outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.lab.processes.probing import FIRST_PORT, LAST_PORT, SPARE_PORTS
from podfence.lab.targets import OUTSIDE
from tests.kubernetes.harness import CHECKOUT, SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podfence.kube.objects import Key
    from podfence.lab.processes.probing import Probe
    from tests.kubernetes.harness import Bed

_PROBER: Final = Path(__file__).resolve().parent / "prober.py"
_START: Final = 20.0
_ANSWER: Final = 120.0


class Spot(NamedTuple):
    """Where to send from: the server, and the network namespace there, "" for the server's own."""

    server: str
    netns: str


class Servers:
    """The servers of all nodes and of the world outside; a context manager that ends them."""

    def __init__(self, bed: Bed, nodes: Mapping[str, int], outside: Sequence[str]) -> None:
        """Serve on `nodes`, by name their number, and by the command line `outside` that enters a namespace there."""
        self._folder = tempfile.TemporaryDirectory(prefix="pf-probe-")
        self._started: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "PODFENCE_BED": str(bed.work),
            "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}",
        }
        node_exec = str(SCRIPTS / "node-exec.sh")
        self._commands = {name: [node_exec, str(number)] for name, number in nodes.items()} | {"": list(outside)}
        self._ports: Counter[tuple[Spot, str]] = Counter()
        self._lock = threading.Lock()
        self.nodes = tuple(nodes)
        for name in self._commands:
            self.start(name)

    def start(self, name: str) -> None:
        """Start the server of a node, or that outside, and wait until it answers."""
        path = Path(self._folder.name, name or "outside")
        path.unlink(missing_ok=True)
        command = [*self._commands[name], sys.executable, str(_PROBER), str(path)]
        self._started.append(subprocess.Popen(command, env=self._environment, start_new_session=True))
        end = time.monotonic() + _START
        while True:
            with suppress(OSError):
                self.call(name, {"do": "scan"})
                return
            assert time.monotonic() < end, f"the prober of {name or 'the world outside'} did not start"
            time.sleep(0.05)

    def close(self) -> None:
        """End all servers."""
        for process in self._started:
            with suppress(OSError):
                os.killpg(process.pid, 9)
            process.wait()
        self._folder.cleanup()

    def call(self, name: str, request: Mapping[str, object]) -> Any:  # noqa: ANN401
        """Return the answer of a server to a request; raises OSError for what it could not do."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER)
            connection.connect(str(Path(self._folder.name, name or "outside")))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline() or b'{"error": "the prober ended"}')
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["found"]

    def scan(self) -> dict[str, Spot]:
        """Return where each pod's address is."""
        return {
            address: Spot(name, path)
            for name in self.nodes
            for address, path in self.call(name, {"do": "scan"}).items()
        }

    def probe(self, spot: Spot, probes: Sequence[Probe]) -> list[str]:
        """Return the outcomes of probes from a place, none from a source port that was used before."""
        wanted = Counter(item.space for item in probes)
        first = {space: self._reserve(spot, space, number) for space, number in wanted.items()}
        request = {"do": "probe", "netns": spot.netns, "probes": [list(item) for item in probes], "first": first}
        outcomes: list[str] = self.call(spot.server, request)
        return outcomes

    def ask(self, spot: Spot, asks: Sequence[tuple[str, str, str, int]]) -> list[str | None]:
        """Return what servers answer to requests (kind, source, address, port) from a place."""
        first = self._reserve(spot, "ask", len(asks))
        request = {"do": "ask", "netns": spot.netns, "asks": [list(item) for item in asks], "first": first}
        answers: list[str | None] = self.call(spot.server, request)
        return answers

    def traffic(self, spot: Spot, flows: Sequence[tuple[str, str, str, int]]) -> socket.socket:
        """Begin to send flows (see `traffic.py`) from a place; they end when the connection that is returned does."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(Path(self._folder.name, spot.server or "outside")))
        request = {"do": "traffic", "netns": spot.netns, "flows": [list(item) for item in flows]}
        connection.sendall(json.dumps(request).encode() + b"\n")
        return connection

    def _reserve(self, spot: Spot, space: str, number: int) -> int:
        with self._lock:
            start = self._ports[spot, space] or FIRST_PORT
            if start + number + SPARE_PORTS > LAST_PORT:
                start = FIRST_PORT
            self._ports[spot, space] = start + number + SPARE_PORTS
            return start


class KubernetesProber:
    """Sends the probes of a verification (`podfence.lab.verification.compare.verify`)."""

    def __init__(self, servers: Servers, spots: Mapping[Key, Spot]) -> None:
        """Send from pods and nodes at these spots."""
        self._servers = servers
        self._spots = spots

    def probe(self, source: Key, probes: Sequence[Probe], /) -> list[str]:
        spot = Spot("", "") if source == OUTSIDE else self._spots[source]
        return self._servers.probe(spot, probes)


def connect_outside(bed: Bed, address: str, pods: Mapping[str, str]) -> list[str]:
    """Attach the world outside to the nodes' network; return the command line that enters it.

    `address` is the one it has there, and it has all others, too, that nobody else has. `pods` are the routes to pods:
    blocks, each with the address of its node. What nodes send to addresses they do not know goes to the control plane,
    and from there to this world.
    """
    disconnect_outside(bed)
    name = _outside_of(bed)
    ip = ["ip", "-n", name]
    _run("ip", "netns", "add", name)
    # Always the same address: the others keep it for a while when this world is made anew.
    peer = ["type", "veth", "peer", "name", "eth0", "address", "02:00:00:00:01:00", "netns", name]
    bed.in_control_plane("ip", "link", "add", "v-outside", *peer)
    bed.in_control_plane("ip", "link", "set", "v-outside", "master", "lan0", "up")
    _run(*ip, "link", "set", "lo", "up")
    _run(*ip, "addr", "add", f"{address}/24", "dev", "eth0")
    _run(*ip, "link", "set", "eth0", "up")
    for block, node in pods.items():
        _run(*ip, "route", "add", block, "via", node)
    _run(*ip, "route", "add", "local", "default", "dev", "lo", "table", "main")
    bed.in_control_plane("ip", "route", "replace", "default", "via", address)
    return ["nsenter", f"--net=/run/netns/{name}"]


def disconnect_outside(bed: Bed) -> None:
    """Take the world outside away, if it is there."""
    bed.in_control_plane("ip", "route", "del", "default", check=False)
    bed.in_control_plane("ip", "link", "del", "v-outside", check=False)
    subprocess.run(["ip", "netns", "del", _outside_of(bed)], check=False, capture_output=True)


def _outside_of(bed: Bed) -> str:
    """Return the name of the network namespace that is the world outside of a bed."""
    return f"{bed._settings()['PODFENCE_BED_NAME']}-world"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
