# SPDX-License-Identifier: Apache-2.0
"""A node with three pods, in a cluster that changes, enforced with its flows in view."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.flows import Sides
from podfence.kube.objects import KubeObject, Node, Peer, PolicyPort
from podfence.nft.process import NftRunner
from podfence.policy.options import Options
from podfence.sets.addresses import parse_address
from tests.policy.parts import app, label, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.flows import Flow
    from podfence.dataplane.revocation import Reviewed
    from tests.dataplane.network import Network


class Addresses(NamedTuple):
    """The same ends in one family."""

    web: str
    db: str
    api: str
    outside: str
    node: str
    service: str


FOUR = Addresses("10.0.0.1", "10.0.0.2", "10.0.0.3", "203.0.113.9", "172.18.0.1", "10.96.0.1")
SIX = Addresses("fd00::1", "fd00::2", "fd00::3", "2001:db8::9", "fd00:172::1", "fd00:96::1")
NEEDED = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)
FAMILY = pytest.mark.parametrize("at", [FOUR, SIX], ids=["IPv4", "IPv6"])
KIND = pytest.mark.parametrize("kind", ["tcp", "udp"])

NODE = Node(name="n1", labels={}, addresses=(FOUR.node, SIX.node), pod_cidrs=("10.0.0.0/24", "fd00::/120"))
WEB = pod("web", FOUR.web, SIX.web, namespace="front", node="n1")
DB = pod("db", FOUR.db, SIX.db, node="n1")
API = pod("api", FOUR.api, SIX.api, node="n1")
FRONT = space("front", team="a")
PORT, OPEN, STREAM = 5000, 6000, 6001
STILL = rule(ports=[PolicyPort("TCP", OPEN, STREAM), PolicyPort("UDP", OPEN)])
"""What every policy here admits, for the flows that must not suffer."""

ADDED, MODIFIED, DELETED = EventType.ADDED, EventType.MODIFIED, EventType.DELETED
CLOSED_IN = policy("p", app("db"), ingress=[STILL])
CLOSED_OUT = policy("p", app("web"), namespace="front", egress=[STILL])
FROM_WEB = policy("p", app("db"), ingress=[STILL, rule(Peer(pod_selector=app("web"), namespace_selector=label("team", "a")))])  # fmt: skip


class Scene:
    """A cluster of three pods on the node, enforced; time is `now`, which stands still."""

    def __init__(self, network: Network, conntrack: Conntrack, *objects: KubeObject, grace: bool = False) -> None:
        """Start to enforce it; without `grace` the time is over in which connections may be picked up."""
        self.network = network
        self.conntrack = conntrack
        self.cluster = Cluster.from_objects(
            [space("shop"), FRONT, NODE, WEB, DB, API, *objects], Options(world="closed")
        )
        self.now = 1000.0
        self.enforcer = Enforcer(
            NftRunner(prefix=network.prefix), "n1", self.cluster.model, None, conntrack, clock=lambda: self.now
        )
        self.enforcer.start()
        if not grace:
            self.end_grace()

    def end_grace(self) -> None:
        """Do what the kernel does when the table has been there for a while."""
        self.network.nft("flush set inet podfence grace")

    def apply(self, *events: tuple[EventType, KubeObject]) -> Reviewed:
        self.enforcer.apply(*[self.cluster.apply(Event(kind, item)) for kind, item in events])
        return self.enforcer.reviewed

    def forget(self) -> Reviewed:
        """Let the time pass after which the entries of cut flows are deleted."""
        assert self.enforcer.forget_at is not None
        self.now = self.enforcer.forget_at
        self.enforcer.forget()
        return self.enforcer.reviewed

    def flows(self, at: Addresses, port: int) -> list[Flow]:
        """Return the flows from web to a port of db, as they were when they began."""
        ends = (parse_address(at.web), parse_address(at.db), port)
        found = self.conntrack.flows(Sides(answering={parse_address(at.db)}))
        return [flow for flow in found if (flow.source, flow.destination, flow.reply.source_port) == ends]


@contextmanager
def service(network: Network, at: Addresses, kind: str, ports: Mapping[int, int]) -> Iterator[None]:
    """Let db be behind the address of the Service for as long as this is entered; `ports` are those of db by its own."""
    family, backend = ("ip6", f"[{at.db}]") if ":" in at.db else ("ip", at.db)
    network.nft("add table inet services; add chain inet services pre { type nat hook prerouting priority -100; }")
    for port, target in ports.items():
        match = f"{family} daddr {at.service} {kind} dport {port}"
        network.nft(f"add rule inet services pre {match} dnat {family} to {backend}:{target}")
    try:
        yield
    finally:
        network.nft("delete table inet services")
