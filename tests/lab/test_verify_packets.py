# SPDX-License-Identifier: Apache-2.0
"""Verification with real packets: a node's enforcer, pods and the world around it in network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import ContainerPort, Node, Peer, PolicyPort
from podfence.lab.processes.probing import FIRST_PORT, SPARE_PORTS
from podfence.lab.verification.compare import verify
from podfence.nft.process import NftRunner
from tests.dataplane.network import Network
from tests.policy.parts import app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.lab.processes.probing import Probe
    from podfence.lab.targets import Place
    from podfence.lab.verification.result import Verification

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)

NODE = "172.18.0.1"
WEB, DB, API = ("10.0.0.1", "fd00::1"), ("10.0.0.2", "fd00::2"), ("10.0.0.3", "fd00::3")
WORLD = ("203.0.113.9", "198.51.100.1", "198.51.100.129", "2001:db8::9")
HTTP, DNS = ContainerPort(80, "TCP", "http"), ContainerPort(53, "UDP", "dns")
OBJECTS = (
    space("shop"),
    Node(name="n1", labels={}, addresses=(NODE,)),
    pod("web", *WEB, node="n1", ports=[HTTP]),
    pod("db", *DB, node="n1", ports=[ContainerPort(81), DNS]),
    pod("api", *API, node="n1", ports=[HTTP]),
    policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("api")), ports=[PolicyPort("TCP", 81)]), rule(block("::/0"), ports=[PolicyPort("UDP", "dns")])]),
    policy("api", app("api"), ingress=[rule(block("198.51.100.0/24", "198.51.100.128/25")), rule(Peer(pod_selector=app("web")))]),
    policy("web", app("web"), egress=[rule(Peer(pod_selector=app("api"))), rule(ports=[PolicyPort("UDP", 53)])]),
)  # fmt: skip

PROGRAM = """
import json, sys
from podfence.lab.processes.probing import Probe, run
probes, ports = json.load(sys.stdin)
json.dump(run([Probe(*item) for item in probes], ports), sys.stdout)
"""


class Namespaces:
    """Sends probes from the namespaces of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._used: Counter[str] = Counter()

    def probe(self, source: Place, probes: Sequence[Probe]) -> list[str]:
        process = self._network._process_of[probes[0].source]
        first = {space: FIRST_PORT + self._used[space] for space in {probe.space for probe in probes}}
        self._used.update(dict.fromkeys(first, len(probes) + SPARE_PORTS))
        command = ("nsenter", "-t", str(process.pid), "-n", sys.executable, "-c", PROGRAM)
        done = subprocess.run(command, input=json.dumps([probes, first]), capture_output=True, text=True, check=True)
        outcomes: list[str] = json.loads(done.stdout)
        return outcomes


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network((NODE,), (WEB, DB, API, WORLD)) as found:
        yield found


@pytest.fixture
def enforcer(network: Network) -> Iterator[Enforcer]:
    cluster = Cluster.from_objects(OBJECTS)
    found = Enforcer(NftRunner(prefix=network.prefix), "n1", cluster.model)
    found.start()
    yield found
    network.forget()


def verified(network: Network, enforcer: Enforcer) -> Verification:
    @contextmanager
    def lifted() -> Iterator[None]:
        network.forget()
        yield
        enforcer.verify()

    return verify(Cluster.from_objects(OBJECTS).model.engine, Namespaces(network).probe, lifted)


def route(network: Network, *words: str) -> None:
    subprocess.run([*network.prefix, "ip", "route", *words], check=True)


def test_what_the_kernel_passes_is_what_the_engine_says(network: Network, enforcer: Enforcer) -> None:
    answer = verified(network, enforcer)

    assert answer.differences == ()
    assert answer.dead == ()
    assert {item.expected for item in answer.trials} == {"allowed", "denied"}
    assert {item.family for item in answer.trials} == {4, 6}
    outcomes = {item.outcomes[-1] for item in answer.trials}
    assert outcomes == {"open", "refused", "timeout"}
    assert enforcer.verify() == (), "the policies are in force again"


def test_a_pod_that_is_not_enforced_is_found_with_every_connection_that_leaks(
    network: Network, enforcer: Enforcer
) -> None:
    network.nft("delete element inet podfence in4 { 10.0.0.2 }")

    answer = verified(network, enforcer)

    assert {(item.destination, item.family, item.observed) for item in answer.differences} == {
        ("shop/db", 4, "allowed")
    }
    should = [
        item for item in answer.trials if (item.destination, item.family, item.expected) == ("shop/db", 4, "denied")
    ]
    by_ingress = [item for item in should if item.source != "shop/web"]
    assert {*by_ingress} <= {*answer.differences}
    assert all("NetworkPolicy shop/db isolates" in item.reason for item in answer.differences)
    assert answer.dead == ()


def test_a_pod_nobody_has_a_route_to_is_dead_not_protected(network: Network, enforcer: Enforcer) -> None:
    route(network, "replace", "blackhole", "10.0.0.2/32")
    try:
        answer = verified(network, enforcer)
    finally:
        route(network, "replace", "10.0.0.2/32", "dev", "end1")

    assert answer.differences == ()
    assert {(item.destination, item.family) for item in answer.dead if item.destination == "shop/db"} == {
        ("shop/db", 4)
    }
    judged = [item for item in answer.trials if (item.destination, item.family) == ("shop/db", 4)]
    assert {item.source for item in judged} == {"shop/db"}, "a pod reaches itself without a route"
