# SPDX-License-Identifier: Apache-2.0
"""The next pod with an address inherits nothing of the one before: neither rights, nor refusals, nor open flows."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec
import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import Node, Peer, PolicyPort
from tests.dataplane.fabric import NODE_OF, NODES, POD_RANGES
from tests.dataplane.lines import SOON
from tests.dataplane.prober import PLACE_OF, Probe
from tests.dataplane.trial import EVERY_PROBE, Held, engine_allows
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.kube.objects import KubeObject, Pod
    from tests.dataplane.fabric import Fabric
    from tests.dataplane.prober import Prober

    Scenes = Callable[..., "Scene"]

ADDED, DELETED = EventType.ADDED, EventType.DELETED
PORT = 5000
ADDRESSES = ("10.0.0.1", "fd00::1")
NEIGHBOUR = ("fd00::3", "10.0.0.3")
FAR = ("10.0.0.5", "fd00::5")
FAR_ADDRESS = ("10.0.0.7", "fd00::7")

ORDER = pytest.mark.parametrize(
    "order", ["deleted first", "added first", "deleted first at once", "added first at once"]
)
PEER = pytest.mark.parametrize("database", [NEIGHBOUR, FAR], ids=["same node", "another node"])


def at(name: str, labels: str, addresses: tuple[str, ...], *, namespace: str = "shop", created: int = 0) -> Pod:
    node = NODE_OF[addresses[0]]
    found = pod(name, *addresses, namespace=namespace, node=node, labels={"app": labels})
    return msgspec.structs.replace(found, created=f"2026-01-01T00:00:0{created}Z")


WEB = at("web", "web", ADDRESSES)
OTHER_WEB = at("web-2", "web", ("10.0.0.2",))
BATCH = at("batch", "batch", ADDRESSES, namespace="jobs", created=1)
STRANGER = at("stranger", "stranger", ADDRESSES, created=1)
WEB_TALKS_TO_DB: tuple[KubeObject, ...] = (
    policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=[PolicyPort("TCP", 80), PolicyPort("TCP", PORT)])]),
    policy("web", app("web"), ingress=[rule(Peer(pod_selector=app("db")))], egress=[rule(Peer(pod_selector=app("db")))]),
    policy("jobs", app("batch"), ingress=[], egress=[rule(ports=[PolicyPort("UDP", 53)])], namespace="jobs"),
)  # fmt: skip


class Scene:
    """A cluster on both nodes, enforced with their flows in view."""

    def __init__(self, fabric: Fabric, prober: Prober, *objects: KubeObject) -> None:
        nodes = [Node(name=name, labels={}, addresses=NODES[name], pod_cidrs=POD_RANGES[name]) for name in NODES]
        self.cluster = Cluster.from_objects([space("shop"), space("jobs"), *nodes, *objects])
        self._prober = prober
        self._conntracks = []
        self._enforcers = []
        fabric.clear()
        for name in NODES:
            self._conntracks.append(fabric.conntrack(name))
            self._enforcers.append(Enforcer(fabric.runner(name), name, self.cluster.model, None, self._conntracks[-1]))
            self._enforcers[-1].start()
        fabric.forget_soon()

    def close(self) -> None:
        for item in self._conntracks:
            item.close()

    def hand_over(self, old: Pod, new: Pod, order: str) -> None:
        events = [Event(DELETED, old), Event(ADDED, new)]
        if order.startswith("added"):
            events.reverse()
        changes = []
        for event in events:
            changes.append(self.cluster.apply(event))
            if "at once" in order:
                continue
            for enforcer in self._enforcers:
                enforcer.apply(changes[-1])
            self.agrees()
        for enforcer in self._enforcers:
            if "at once" in order:
                enforcer.apply(*changes)
            enforcer.review()

    def agrees(self) -> None:
        """Compare what goes from and to the address with the engine; addresses of unknown pods are held."""
        held = Held(self.cluster)
        probes = [probe for probe in EVERY_PROBE if {probe.source, probe.destination} & {*ADDRESSES, *FAR_ADDRESS}]
        expected = {probe for probe in engine_allows(self.cluster, probes) if not held.holds(probe)}
        passed = self._prober.passed(probes, expected)
        assert sorted(passed ^ expected) == []

    def expect(
        self, source: str, destination: str, *, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = ()
    ) -> None:
        """Assert what passes, each told as "tcp 80"."""

        def probes(words: tuple[str, ...]) -> set[Probe]:
            parts = [word.partition(" ") for word in words]
            return {Probe(kind, source, destination, int(port or 0)) for kind, _, port in parts}

        assert self._prober.passed(probes(allowed) | probes(denied), probes(allowed)) == probes(allowed)


@pytest.fixture
def scenes(fabric: Fabric, prober: Prober) -> Iterator[Scenes]:
    made: list[Scene] = []

    def scene(*objects: KubeObject) -> Scene:
        made.append(Scene(fabric, prober, *objects))
        return made[-1]

    yield scene
    for item in made:
        item.close()
    fabric.clear()


class Line:
    """A connection that stays open, whoever has the addresses of its ends."""

    def __init__(self, fabric: Fabric, source: str, destination: str) -> None:
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        with ExitStack() as stack:
            with fabric.spaces[PLACE_OF[destination]].entered():
                server = stack.enter_context(socket.create_server((destination, PORT), family=family))
            with fabric.spaces[PLACE_OF[source]].entered():
                self._client = socket.create_connection((destination, PORT), SOON, (source, 0))
            self._server = server.accept()[0]
        for item in (self._client, self._server):
            item.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for item in (self._client, self._server):
            item.close()

    def carries(self, *, expected: bool) -> bool:
        """Return whether both directions carry data, False if neither does."""
        found = [
            self._arrives(*ends, expected=expected)
            for ends in ((self._client, self._server), (self._server, self._client))
        ]
        assert len(set(found)) == 1, found
        return found[0]

    @staticmethod
    def _arrives(sender: socket.socket, receiver: socket.socket, *, expected: bool) -> bool:
        try:
            sender.send(b"x")
            # Long enough for what is expected, and for two retransmissions of what is not.
            readable, _, _ = select.select([receiver], [], [], SOON if expected else 0.7)
            return bool(readable) and receiver.recv(1) == b"x"
        except ConnectionError:
            return False


def ends(one: tuple[str, ...], other: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(a, b) for a in one for b in other if (":" in a) == (":" in b)]


@ORDER
@PEER
def test_rights_of_the_pod_before_are_gone(scenes: Scenes, order: str, database: tuple[str, ...]) -> None:
    db = at("db", "db", database)
    scene = scenes(WEB, OTHER_WEB, db, *WEB_TALKS_TO_DB)
    for web, there in ends(ADDRESSES, database):
        scene.expect(web, there, allowed=("tcp 80",), denied=("tcp 81", "udp 53"))
        scene.expect(there, web, allowed=("tcp 80", "udp 81", "icmp"))
    scene.hand_over(WEB, BATCH, order)
    for batch, there in ends(ADDRESSES, database):
        scene.expect(batch, there, denied=("tcp 80", "tcp 81", "udp 53"))
        scene.expect(there, batch, denied=("tcp 80", "udp 81", "icmp"))
    scene.expect("10.0.0.1", "203.0.113.9", allowed=("udp 53",), denied=("tcp 80",))
    scene.agrees()


@ORDER
def test_refusals_of_the_pod_before_are_gone(scenes: Scenes, order: str) -> None:
    db = at("db", "db", FAR)
    web = at("web-9", "web", ADDRESSES, created=2)
    scene = scenes(BATCH, OTHER_WEB, db, *WEB_TALKS_TO_DB)
    for batch, there in ends(ADDRESSES, FAR):
        scene.expect(batch, there, denied=("tcp 80", "tcp 81"))
    scene.hand_over(BATCH, web, order)
    for here, there in ends(ADDRESSES, FAR):
        scene.expect(here, there, allowed=("tcp 80",), denied=("tcp 81", "icmp"))
        scene.expect(there, here, allowed=("tcp 444", "udp 53"))
    scene.agrees()


@ORDER
def test_a_pod_that_no_policy_selects_is_open_where_an_isolated_one_was(scenes: Scenes, order: str) -> None:
    closed = policy("none", app("web"), ingress=[], egress=[])
    scene = scenes(WEB, at("db", "db", FAR), closed)
    scene.expect("10.0.0.1", "10.0.0.5", denied=("tcp 80", "icmp"))
    scene.hand_over(WEB, STRANGER, order)
    scene.expect("10.0.0.1", "10.0.0.5", allowed=("tcp 80", "icmp"))
    scene.expect("2001:db8::9", "fd00::1", allowed=("tcp 80", "icmp"))
    scene.agrees()


@ORDER
def test_nodes_where_the_address_is_only_a_peer_take_the_new_pod_for_what_it_is(scenes: Scenes, order: str) -> None:
    # The address is on n2, and policies about it are enforced on n1 only, for ingress and for egress.
    web, stranger = at("web", "web", FAR_ADDRESS), at("stranger", "stranger", FAR_ADDRESS, created=1)
    both = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("web")))], egress=[rule(Peer(pod_selector=app("web")))])  # fmt: skip
    scene = scenes(web, at("db", "db", NEIGHBOUR), both)
    for far, near in ends(FAR_ADDRESS, NEIGHBOUR):
        scene.expect(far, near, allowed=("tcp 80", "icmp"))
        scene.expect(near, far, allowed=("udp 53",))
    scene.hand_over(web, stranger, order)
    for far, near in ends(FAR_ADDRESS, NEIGHBOUR):
        scene.expect(far, near, denied=("tcp 80", "icmp"))
        scene.expect(near, far, denied=("udp 53",))
    scene.agrees()


@ORDER
@PEER
def test_open_flows_of_the_pod_before_are_cut_and_those_of_others_live(
    scenes: Scenes, fabric: Fabric, order: str, database: tuple[str, ...]
) -> None:
    scene = scenes(WEB, OTHER_WEB, at("db", "db", database), *WEB_TALKS_TO_DB)
    pairs = ends(ADDRESSES, database)
    (four,) = [item for item in database if "." in item]
    with ExitStack() as stack:
        old = [stack.enter_context(Line(fabric, *pair)) for pair in pairs]
        stays = stack.enter_context(Line(fabric, "10.0.0.2", four))
        assert all(line.carries(expected=True) for line in (*old, stays))
        scene.hand_over(WEB, BATCH, order)
        assert not any(line.carries(expected=False) for line in old)
        assert stays.carries(expected=True)
