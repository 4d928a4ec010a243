# SPDX-License-Identifier: Apache-2.0
"""Where attacks are tried: a node that the real `podfence agent` guards, and one like it that nobody does.

Pods of n1, the node in question: ``t`` lets in only ``c``, on TCP 80 and UDP 5353; ``c`` is that pod; ``a`` is a pod
that no policy selects and none allows; ``x`` may send nothing; ``h`` has its network, but the API server has not told
of it yet. Pods of n2, where nobody enforces anything: ``d`` and ``r``; ``t`` lets in ``r`` as well.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from tests.agent.node.cluster import FakeCluster, Fields, namespace, node, pod, policy
from tests.agent.node.cni import Cache, bridge, ptp
from tests.agent.node.process import PORT, Running
from tests.attacks.port import Port
from tests.attacks.wiring import Network, Node, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.attacks.wiring import End

PATIENCE: Final = 120.0
PODS: Final = {1: {"a": 2, "t": 3, "c": 4, "x": 5, "h": 99}, 2: {"d": 2, "r": 3}}
HELD: Final = "h"
ROUTERS: Final = "routers"
"""The namespace that the node's configuration exempts."""

ALLOWED: Final = [{"port": 80, "protocol": "TCP"}, {"port": 5353, "protocol": "UDP"}]


def ingress_of_t(*, peers: tuple[str, ...] = ("c", "r"), ports: list[Fields] | None = ALLOWED) -> Fields:
    """Return the policy that selects t."""
    rule: Fields = {"from": [{"podSelector": {"matchLabels": {"app": peer}}} for peer in peers]}
    if ports is not None:
        rule["ports"] = ports
    selector = {"matchLabels": {"app": "t"}}
    return policy("t", podSelector=selector, policyTypes=["Ingress"], ingress=[rule] if peers else [])


def egress_of_x() -> Fields:
    return policy("x", podSelector={"matchLabels": {"app": "x"}}, policyTypes=["Egress"], egress=[])


class Bed:
    """The nodes and their pods; ``guarded`` says whether an agent runs on n1."""

    def __init__(self, network: Network, directory: Path, *, guarded: bool) -> None:
        """Wire everything and write what the network plugins leave on the disk; no agent runs yet."""
        self.network = network
        self.guarded = guarded
        self._directory = directory
        self._tokens = itertools.count()
        self._ports: dict[str, Port] = {}
        self._told: dict[str, Path] = {}
        # After so many flows, the first of them is long forgotten.
        self._numbers = itertools.cycle(range(20000, 65536))
        self._stack = ExitStack()
        self.wiring = Wiring(network)
        self._stack.callback(self.wiring.close)
        self._results = directory / "results"
        self._results.mkdir()
        self._cache = Cache(self._results)
        self.cluster = FakeCluster()
        self._stack.callback(self.cluster.close)
        for number, names in PODS.items():
            for name, last in names.items():
                self.wire(name, last, self.wiring.nodes[number])
        self.ends = self.wiring.ends
        self.cluster.put(namespace("shop"), ingress_of_t(), egress_of_x())
        self.cluster.put(*(told_node(item) for item in self.wiring.nodes.values()))
        for item in self.wiring.nodes.values():
            self.cluster.put(*(told_pod(end, item.name) for end in item.pods.values() if end.name != HELD))
        self.agent: Running | None = None

    def wire(self, name: str, last: int, node: Node) -> End:
        """Give a pod its network."""
        end = node.add(name, last)
        if node.name == "n1":
            self._told[name] = self.tell(self.result(end), f"shop/{name}")
        return end

    def result(self, end: End) -> Fields:
        """Return what the plugin of this network tells of a pod that it has wired."""
        made = bridge if self.network == "bridge" else ptp
        return made(end.link, end.mac, f"{end.four}/24", f"{end.six}/64")

    def tell(self, result: Fields, pod: str, *, interface: str = "eth0") -> Path:
        """Keep what a plugin tells of an interface of a pod, as libcni does; return where."""
        return self._cache.add(result, pod, interface=interface)

    def unwire(self, end: End) -> None:
        """Take a pod of n1 away, with its cable, and with what the plugin has told of it."""
        if told := self._told.pop(end.name, None):
            told.unlink()
        if port := self._ports.pop(end.name, None):
            port.close()
        self["n1"].space.ip(f"link del {end.link}")
        end.space.close()
        del self.wiring.nodes[1].pods[end.name], self.ends[end.name]

    def __enter__(self) -> Self:
        with self._stack as begun:
            if self.guarded:
                with self["n1"].space.entered():
                    begun.enter_context(self.cluster.served())
                self.launch()
                begun.callback(self.kill)
            self.until(self.ready, "everything ready")
            # What does not come so far leaves no agent behind.
            self._stack = begun.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for port in self._ports.values():
            port.close()

    def launch(self) -> None:
        """Start the agent of n1."""
        more = ("--binding", "enforce", "--cni-results", str(self._results), "--unbound-namespace", ROUTERS)
        with self["n1"].space.entered():
            self.agent = Running(self.cluster, self._directory, *more)

    def kill(self) -> None:
        """End the agent of n1, as the kernel would when memory is short."""
        assert self.agent is not None
        if self.agent.process.poll() is None:
            self.agent.process.kill()
            self.agent.process.wait()

    def ready(self) -> bool:
        """Return whether all addresses can be used, and the agent, if there is one, enforces."""
        return self.is_wired() and (not self.guarded or self._answers())

    def is_wired(self) -> bool:
        """Return whether all links carry frames, and all addresses can be used."""
        if not all(item.space.has_links() for item in self.wiring.nodes.values()):
            return False
        # Link-local addresses come with the link, and are tentative for a second: nobody else may have them.
        for end in (end for item in self.wiring.nodes.values() for end in item.pods.values()):
            told = self.run(end.name, "ip", "-6", "addr", "show", "dev", end.interface)
            if end.link_local not in told or "tentative" in told:
                return False
        return True

    def _answers(self) -> bool:
        with self["n1"].space.entered(), socket.socket() as asking:
            asking.settimeout(PATIENCE)
            try:
                asking.connect(("127.0.0.1", PORT))
                asking.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                return asking.recv(4096).startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
            except OSError:
                return False

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, (
                f"{what}: not within {PATIENCE:.0f} s\n{self.agent.text if self.agent else ''}"
            )
            assert self.agent is None or self.agent.process.poll() is None, self.agent.text
            time.sleep(0.02)

    @staticmethod
    def seen(true: Callable[[], object], patience: float) -> bool:
        """Return whether something becomes true within so many seconds."""
        end = time.monotonic() + patience
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def resolve(self, name: str, address: str, interface: str = "eth0") -> None:
        """Let an end look for a neighbour, by a datagram to it, until it has found it."""
        found = ("ip", "neigh", "show", address, "dev", interface)
        with self[name].space.entered():
            speaking = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        with speaking:

            def asked() -> bool:
                speaking.sendto(b"", (address, 9))
                return "lladdr" in self.run(name, *found)

            self.until(asked, f"{name} finds {address}")

    def resolve_from_node(self, name: str, family: int) -> None:
        """Let the node look for a pod."""
        interface = "cni0" if self.network == "bridge" else self[name].link
        self.resolve("n1", self[name].address(family), interface)

    def __getitem__(self, name: str) -> End:
        return self.ends[name]

    def port(self, name: str) -> Port:
        """Return the packet socket of an end."""
        if name not in self._ports:
            self._ports[name] = Port(self[name])
        return self._ports[name]

    def token(self) -> bytes:
        """Return bytes that no other frame has."""
        return b"<token %06d>" % next(self._tokens)

    def number(self) -> int:
        """Return a port that no other flow has."""
        return next(self._numbers)

    def run(self, name: str, *command: str) -> str:
        """Run a program in the namespace of an end, and return what it says."""
        with self[name].space.entered():
            found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.stdout + found.stderr

    def toward(self, sender: str, receiver: str) -> str:
        """Return the hardware address that frames from one end to another are for, at their first step."""
        neighbours = self.network == "bridge" and self._node_of(sender) == self._node_of(receiver) != 0
        return self[receiver].mac if neighbours and receiver not in ("n1", "n2") else self[sender].via

    def _node_of(self, name: str) -> int:
        return next((number for number, node in self.wiring.nodes.items() if name in node.pods), 0)

    def restore(self) -> None:
        """Let everybody forget what an attack has told them: neighbours, advertised routes and addresses."""
        if self.network == "bridge":
            self["n1"].space.ip("neigh flush dev cni0")
        for name in PODS[1]:
            self[name].space.ip("neigh flush dev eth0", "addr flush dev eth0 dynamic")
            self.run(name, "ip", "-6", "route", "flush", "proto", "ra")
            if self.network == "bridge":
                self["n1"].space.ip(f"link set {self[name].link} type bridge_slave fdb_flush")
            else:
                self["n1"].space.ip(f"neigh flush dev {self[name].link}")


def told_pod(end: End, node: str) -> Fields:
    """Return the Pod object of a pod."""
    found = pod(end.name, end.four, node=node, app=end.name)
    found["status"]["podIPs"].append({"ip": end.six})
    found["status"]["podIP"] = end.four
    return found


def told_node(item: Node) -> Fields:
    """Return the Node object of a node."""
    found = node(item.name, *item.ranges)
    found["status"] = {"addresses": [{"type": "InternalIP", "address": address} for address in item.addresses]}
    return found
