# SPDX-License-Identifier: Apache-2.0
"""A node whose pods are behind a bridge, with the agent's process on it: what its pods can send, tried with frames."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.agent.node import cni
from tests.agent.node.cluster import FakeCluster, namespace, node, pod, policy
from tests.agent.node.process import PATIENCE, answer, running, until
from tests.dataplane.frames import ARP, BROADCAST, IPV4, IPV6, arp, ether, mac, udp
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.agent.node.process import Running

MARKER, OPEN, SHUT = 7, 5353, 9999
GATEWAY: Final = "10.244.1.1"
ROUTER_MAC: Final = "ee:ee:ee:ee:ee:ee"
EVERYTHING: Final = 3
OUTGOING: Final = 4

_NUMBERS: Final = count(1)


class Member:
    """A pod of the node, as far as the network goes."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.space = Space()
        self.address = f"10.244.1.{number}"
        self.local = f"fe80::858:aff:fef4:1{number:02x}"
        self.mac = f"0a:58:0a:f4:01:{number:02x}"
        self.end = f"veth-{name}"

    def datagram(self, to: Member, port: int, content: bytes, *, source: str = "", mac: str = "") -> bytes:
        """Return a frame, which has the pod's own addresses unless others are given."""
        return ether(mac or self.mac, to.mac, IPV4, udp(source or self.address, to.address, port, content))


class BridgeNode:
    """The node, its API server, and its pods: `t` takes only from `c`, on one port; markers pass everywhere."""

    def __init__(self, home: Space, directory: Path) -> None:
        self.home = home
        self.directory = directory
        self.results = directory / "results"
        self.results.mkdir()
        self.cache = cni.Cache(self.results)
        self.cluster = FakeCluster()
        self.members: dict[str, Member] = {}
        self._stack = ExitStack()
        self._stack.callback(self.cluster.close)
        home.ip("link add cni0 type bridge mcast_snooping 0", f"addr add {GATEWAY}/24 dev cni0", "link set cni0 up")
        marker = {"ports": [{"protocol": "UDP", "port": MARKER}]}
        client = {"podSelector": {"matchLabels": {"app": "c"}}}
        self.cluster.put(
            node("n1", "10.244.1.0/24"),
            namespace("shop"),
            policy(
                "t",
                podSelector={"matchLabels": {"app": "t"}},
                ingress=[marker, {"from": [client], "ports": [{"protocol": "UDP", "port": OPEN}]}],
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def plug(self, name: str, *, result: bool = True) -> Member:
        """Make the network of a pod, as the plugin bridge does, and its result, as libcni does."""
        member = self.members[name] = Member(name, len(self.members) + 2)
        self._stack.callback(member.space.close)
        self.home.ip(
            f"link add {member.end} type veth peer name eth0 address {member.mac} netns {member.space.path}",
            f"link set {member.end} master cni0",
            f"link set {member.end} up",
        )
        member.space.ip("link set lo up", f"addr add {member.address}/24 dev eth0", "link set eth0 up")
        self.home.wait_for_links()
        if result:
            self.cache.add(cni.bridge(member.end, member.mac, f"{member.address}/24"), f"shop/{name}")
        return member

    def plug_routed(self, name: str) -> Member:
        """Make the network of a pod as Calico does: a link of its own, with nothing but a route to it."""
        member = self.members[name] = Member(name, len(self.members) + 2)
        self._stack.callback(member.space.close)
        self.home.ip(
            f"link add {member.end} address {ROUTER_MAC} type veth peer name eth0 address {member.mac} "
            f"netns {member.space.path}",
            f"link set {member.end} up",
            f"route add {member.address} dev {member.end} scope link",
            f"neigh replace {member.address} lladdr {member.mac} dev {member.end} nud permanent",
        )
        member.space.ip("link set lo up", f"addr add {member.address}/32 dev eth0", "link set eth0 up")
        self.home.wait_for_links()
        self.cache.add(cni.calico(member.end, f"{member.address}/32"), f"shop/{name}", network="k8s-pod-network")
        return member

    def admit(self, *names: str) -> None:
        """Let the cluster know the addresses of pods."""
        for name in names:
            self.cluster.put(pod(name, self.members[name].address, app=name))

    def start(self, *names: str) -> tuple[Member, ...]:
        for name in names:
            self.plug(name)
        self.admit(*names)
        return tuple(self.members[name] for name in names)

    def agent(self, *more: str) -> Running:
        words = ("--cni-results", str(self.results), "--binding", "enforce", *more)
        found = self._stack.enter_context(running(self.cluster, self.directory, *words))
        until(lambda: answer("/readyz")[0] == 200, "readiness", found)
        return found

    def arrives(self, sender: Member, receiver: Member, frame: bytes, token: bytes, *, routed: bool = False) -> bool:
        """Return whether a frame comes to another pod; an honest one, which is sent after it, says when to look."""
        with receiver.space.entered():
            taker = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        with taker, sender.space.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as giver:
            taker.bind(("eth0", EVERYTHING))
            taker.settimeout(PATIENCE)
            giver.bind(("eth0", 0))
            giver.send(frame)
            marker = b"marker %d." % next(_NUMBERS)
            honest = sender.datagram(receiver, MARKER, marker)
            giver.send(frame[:6] + honest[6:] if routed else honest)
            found = b""
            while True:
                data, about = taker.recvfrom(1 << 16)
                if about[2] == OUTGOING:
                    continue
                if marker in data:
                    return token in found
                found += data


@pytest.fixture
def bridged(node: Space, tmp_path: Path) -> Iterator[BridgeNode]:
    with BridgeNode(node, tmp_path) as found, found.cluster.served():
        yield found


def token() -> bytes:
    return b"token%d." % next(_NUMBERS)


def bound() -> str:
    """Return what may be sent by ports of the bridge."""
    found = subprocess.run(
        ["nft", "list", "set", "bridge", "podfence", "bound4"], capture_output=True, text=True, check=False
    )
    return found.stdout


def test_pods_send_with_their_own_addresses_and_what_policies_allow_and_nothing_else(bridged: BridgeNode) -> None:
    a, t, c = bridged.start("a", "t", "c")
    agent = bridged.agent()
    until(lambda: all(item.end in bound() for item in (a, t, c)), "all pods were bound", agent)

    def came(sender: Member, frame: bytes, content: bytes) -> bool:
        return bridged.arrives(sender, t, frame, content)

    assert came(c, c.datagram(t, OPEN, content := token()), content)
    assert not came(a, a.datagram(t, OPEN, content := token()), content)
    assert not came(a, a.datagram(t, OPEN, content := token(), source=c.address), content)
    assert not came(a, a.datagram(t, OPEN, content := token(), source=c.address, mac=c.mac), content)
    assert not came(c, c.datagram(t, OPEN, content := token(), source="198.51.100.7"), content)
    local = ether(a.mac, t.mac, IPV6, udp(a.local, t.local, SHUT, content := token()))
    assert not came(a, local, content)
    group = ether(a.mac, "33:33:00:00:00:01", IPV6, udp(a.local, "ff02::1", SHUT, content := token()))
    assert not came(a, group, content)
    broadcast = ether(a.mac, BROADCAST, IPV4, udp(a.address, "255.255.255.255", SHUT, content := token()))
    assert not came(a, broadcast, content)
    forged = arp(2, (a.mac, c.address), (t.mac, t.address), content := token())
    assert not came(a, ether(a.mac, t.mac, ARP, forged), content)
    assert not came(a, ether(a.mac, t.mac, 0x88B5, content := token()), content)

    until(lambda: "reason=unknown-source interface=veth-a pod=shop/a" in agent.text, "the log told of it", agent)
    assert 'podfence_pod_links{state="bound"} 3.0' in answer("/metrics")[1]


def test_routed_pods_send_with_their_own_addresses_and_nothing_else(bridged: BridgeNode) -> None:
    for name in ("ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter"):
        Path("/proc/sys/net", name).write_text("1" if "forward" in name else "0", encoding="ascii")
    a, t, c = (bridged.plug_routed(name) for name in ("a", "t", "c"))
    bridged.admit("a", "t", "c")
    agent = bridged.agent()
    until(lambda: 'podfence_pod_links{state="bound"} 3.0' in answer("/metrics")[1], "all pods were bound", agent)

    def came(sender: Member, frame: bytes, content: bytes) -> bool:
        return bridged.arrives(sender, t, mac(ROUTER_MAC) + frame[6:], content, routed=True)

    assert came(c, c.datagram(t, OPEN, content := token()), content)
    assert not came(a, a.datagram(t, OPEN, content := token()), content)
    assert not came(a, a.datagram(t, OPEN, content := token(), source=c.address), content)
    assert not came(c, c.datagram(t, OPEN, content := token(), source="198.51.100.7"), content)
    until(lambda: "reason=unknown-source interface=veth-a pod=shop/a" in agent.text, "the log told of it", agent)


def test_a_new_pod_is_held_before_it_has_an_address_and_bound_when_it_has(bridged: BridgeNode) -> None:
    (t,) = bridged.start("t")
    agent = bridged.agent()
    until(lambda: t.end in bound(), "the first pod was bound", agent)
    new = bridged.plug("c")
    senders = ["nft", "list", "map", "bridge", "podfence", "senders"]
    until(lambda: f'"{new.end}" : goto held' in subprocess.check_output(senders, text=True), "its port", agent)
    assert new.end not in bound()
    bridged.admit("c")
    until(lambda: new.end in bound(), "the new pod was bound", agent)
    # Binding may come a moment before the pod is in the program, which drops what it does not know.
    known = ["nft", "list", "set", "inet", "podfence", "known4"]
    until(lambda: new.address in subprocess.check_output(known, text=True), "the new pod was programmed", agent)
    assert bridged.arrives(new, t, new.datagram(t, OPEN, content := token()), content)


def test_where_it_is_only_reported_a_packet_passes_and_is_told(bridged: BridgeNode) -> None:
    a, t, c = bridged.start("a", "t", "c")
    agent = bridged.agent("--binding", "report")
    until(lambda: all(item.end in bound() for item in (a, t, c)), "all pods were known", agent)
    assert bridged.arrives(a, t, a.datagram(t, OPEN, content := token(), source=c.address), content)
    until(lambda: "verdict=passed reason=unknown-source interface=veth-a" in agent.text, "the log told of it", agent)


def test_a_namespace_that_the_node_exempts_sends_with_any_address(bridged: BridgeNode) -> None:
    a, t = bridged.start("a", "t")
    agent = bridged.agent("--unbound-namespace", "shop")
    until(lambda: 'podfence_pod_links{state="exempt"} 2.0' in answer("/metrics")[1], "both were exempt", agent)
    assert bridged.arrives(a, t, a.datagram(t, MARKER, content := token(), source="198.51.100.7"), content)


def test_a_pod_whose_port_nothing_proves_makes_the_node_not_ready_and_is_told(bridged: BridgeNode) -> None:
    bridged.start("t")
    agent = bridged.agent()
    bridged.plug("a", result=False)
    bridged.admit("a")
    until(lambda: answer("/readyz")[0] == 503, "the finding", agent)
    until(lambda: "pod shop/a (no result of a CNI plugin says at which port" in agent.text, "a line about it", agent)


def test_pods_stay_bound_while_the_agent_is_killed_and_started_again(bridged: BridgeNode) -> None:
    a, t, c = bridged.start("a", "t", "c")
    agent = bridged.agent()
    until(lambda: all(item.end in bound() for item in (a, t, c)), "all pods were bound", agent)
    agent.end(signal.SIGKILL)
    spoofed = token()
    frame = a.datagram(t, OPEN, spoofed, source=c.address)
    assert not bridged.arrives(a, t, frame, spoofed)
    with running(
        bridged.cluster, bridged.directory, "--cni-results", str(bridged.results), "--binding", "enforce"
    ) as one:
        while "following the API server" not in one.text or answer("/readyz")[0] != 200:
            assert not bridged.arrives(a, t, frame, spoofed)
    assert not bridged.arrives(a, t, frame, spoofed)
