# SPDX-License-Identifier: Apache-2.0
"""Real packets through a real kernel: what gets through is what the engine allows."""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.kube.objects import ContainerPort, Node, Peer, PolicyPort
from podfence.nft.process import NftRunner
from podfence.policy.ends import NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from podfence.sets.addresses import parse_address
from tests.dataplane import dense
from tests.dataplane.endpoint import TCP_PORTS, UDP_PORTS
from tests.dataplane.network import Network, Probe
from tests.dataplane.test_against_engine import end_at
from tests.policy.parts import app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject
    from podfence.policy.ends import End

NODE = "172.18.0.1"
OUTSIDE = ("172.18.0.2", "203.0.113.9", "2001:db8::9")
POD_ADDRESSES = tuple(address for addresses in dense.ADDRESSES for address in addresses)
TRAFFIC = (*(("tcp", port) for port in TCP_PORTS), *(("udp", port) for port in UDP_PORTS), ("icmp", 0))

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network((NODE,), (*dense.ADDRESSES, OUTSIDE)) as found:
        yield found


@pytest.fixture
def runner(network: Network) -> Iterator[NftRunner]:
    yield NftRunner(prefix=network.prefix)
    network.forget()


def enforce(runner: NftRunner, *objects: KubeObject, settings: Settings | None = None) -> tuple[Cluster, Enforcer]:
    cluster = Cluster.from_objects([space("shop"), Node(name="n1", labels={}, addresses=(NODE,)), *objects])
    enforcer = Enforcer(runner, "n1", cluster.model, settings)
    enforcer.start()
    return cluster, enforcer


def expect(network: Network, *, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> None:
    def one(text: str) -> Probe:
        source, _, destination, kind, *port = text.split()
        return Probe(kind, source, destination, int(port[0]) if port else 0)

    wanted = {one(text): True for text in allowed} | {one(text): False for text in denied}
    assert network.passed(wanted) == wanted


WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", "fd00::2", node="n1", ports=[ContainerPort(8080, "TCP", "http")])
API = pod("api", "10.0.0.3", node="n2")
SIX = pod("six", "fd00::7", node="n2")


def test_what_no_policy_isolates_is_open_and_established_flows_answer(network: Network, runner: NftRunner) -> None:
    enforce(runner, WEB, DB, API)
    expect(network, allowed=("10.0.0.1 > 10.0.0.2 tcp 80", "10.0.0.2 > 10.0.0.3 udp 53", "203.0.113.9 > 10.0.0.1 icmp"))


def test_a_policy_without_rules_denies_everything_in(network: Network, runner: NftRunner) -> None:
    enforce(runner, WEB, DB, policy("none", app("db"), ingress=[]))
    expect(
        network,
        allowed=("10.0.0.2 > 10.0.0.1 tcp 80", "10.0.0.2 > 203.0.113.9 udp 53", "10.0.0.2 > 10.0.0.1 icmp"),
        denied=("10.0.0.1 > 10.0.0.2 tcp 80", "203.0.113.9 > 10.0.0.2 udp 53", "10.0.0.1 > 10.0.0.2 icmp"),
    )


def test_ports_ranges_and_names_are_those_of_the_rule(network: Network, runner: NftRunner) -> None:
    ports = [PolicyPort("TCP", "http"), PolicyPort("TCP", 80, 81), PolicyPort("UDP", 53)]
    enforce(runner, WEB, DB, API, policy("p", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=ports)]))
    expect(
        network,
        allowed=tuple(f"10.0.0.1 > 10.0.0.2 {item}" for item in ("tcp 80", "tcp 81", "tcp 8080", "udp 53")),
        denied=(
            *(f"10.0.0.1 > 10.0.0.2 {item}" for item in ("tcp 444", "udp 81", "icmp")),
            "10.0.0.3 > 10.0.0.2 tcp 80",
            "fd00::7 > fd00::2 tcp 80",
        ),
    )


def test_a_block_admits_its_addresses_without_the_exceptions(network: Network, runner: NftRunner) -> None:
    enforce(
        runner, DB, policy("p", app("db"), ingress=[rule(block("10.0.0.0/29", "10.0.0.4/31")), rule(block("::/0"))])
    )
    expect(
        network,
        allowed=("10.0.0.3 > 10.0.0.2 tcp 80", "10.0.0.6 > 10.0.0.2 icmp", "2001:db8::9 > fd00::2 tcp 80", "fd00::7 > fd00::2 icmp"),
        denied=("10.0.0.4 > 10.0.0.2 tcp 80", "10.0.0.5 > 10.0.0.2 udp 53", "203.0.113.9 > 10.0.0.2 tcp 80"),
    )  # fmt: skip


def test_very_many_ports_and_blocks_are_asked_page_by_page_and_table_by_table(
    network: Network, runner: NftRunner
) -> None:
    ports = [PolicyPort("TCP", port) for port in (80, 8080, *range(20_000, 20_600, 2))]
    blocks = [block(f"10.9.{number}.1/32") for number in range(256)]
    enforce(
        runner, DB,
        policy("a", app("db"), ingress=[rule(block("10.0.0.0/29", "10.0.0.4/31"), ports=ports)]),
        policy("b", app("db"), ingress=[rule(*blocks, block("203.0.113.9/32"), ports=[PolicyPort("TCP", 81)])]),
        policy("c", app("db"), ingress=[rule(*blocks, block("10.0.0.3/32"), ports=[PolicyPort("TCP", 444)])]),
        policy("d", app("db"), ingress=[rule(ports=[PolicyPort("UDP", 53)])]),
    )  # fmt: skip
    expect(
        network,
        allowed=(
            *(f"10.0.0.3 > 10.0.0.2 {item}" for item in ("tcp 80", "tcp 8080", "tcp 444", "udp 53")),
            "203.0.113.9 > 10.0.0.2 tcp 81",
            "203.0.113.9 > 10.0.0.2 udp 53",
        ),
        denied=(
            "10.0.0.3 > 10.0.0.2 tcp 81",
            "10.0.0.3 > 10.0.0.2 icmp",
            "10.0.0.4 > 10.0.0.2 tcp 80",
            "203.0.113.9 > 10.0.0.2 tcp 80",
            "203.0.113.9 > 10.0.0.2 tcp 444",
        ),
    )


def test_both_ends_must_agree(network: Network, runner: NftRunner) -> None:
    enforce(
        runner, WEB, DB, API,
        policy("out", app("web"), egress=[rule(Peer(pod_selector=app("db")), ports=[PolicyPort("TCP", 80), PolicyPort("TCP", 81)])]),
        policy("in", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=[PolicyPort("TCP", 81), PolicyPort("TCP", 444)])]),
    )  # fmt: skip
    expect(
        network,
        allowed=("10.0.0.1 > 10.0.0.2 tcp 81",),
        denied=("10.0.0.1 > 10.0.0.2 tcp 80", "10.0.0.1 > 10.0.0.2 tcp 444", "10.0.0.1 > 10.0.0.3 tcp 81", f"10.0.0.1 > {NODE} tcp 81"),
    )  # fmt: skip


def test_a_pod_that_is_not_known_is_held_until_it_is_and_again_when_it_is_gone(
    network: Network, runner: NftRunner
) -> None:
    node = Node(name="n1", labels={}, addresses=(NODE,), pod_cidrs=("10.0.0.0/29", "fd00::/125"))
    cluster, enforcer = enforce(runner, node, DB)
    ways = ("10.0.0.1 > 203.0.113.9 tcp 80", "203.0.113.9 > 10.0.0.1 icmp", "10.0.0.2 > 10.0.0.1 udp 53")
    expect(network, allowed=("10.0.0.2 > 203.0.113.9 tcp 80",), denied=(*ways, f"10.0.0.1 > {NODE} tcp 80"))

    enforcer.apply(cluster.apply(Event(EventType.ADDED, WEB)))
    expect(network, allowed=(*ways, f"10.0.0.1 > {NODE} tcp 80"))

    enforcer.apply(cluster.apply(Event(EventType.DELETED, WEB)))
    expect(network, denied=ways)


def test_a_rejected_connection_ends_at_once(network: Network, runner: NftRunner) -> None:
    enforce(runner, WEB, DB, policy("none", app("db"), ingress=[]), settings=Settings(reject=True, log_group=7))
    expect(network, denied=("10.0.0.1 > 10.0.0.2 tcp 80", "10.0.0.1 > 10.0.0.2 udp 53", "fd00::7 > fd00::2 tcp 80"))
    counted = {item.chain for item in runner.counters(TABLE) if item.packets}
    assert {name[: len("deny_i_shop_none")] for name in counted} == {"deny_i_shop_none"}


def test_what_a_rule_admits_is_counted_by_the_rule(network: Network, runner: NftRunner) -> None:
    enforce(runner, WEB, DB, policy("p", app("db"), ingress=[rule(ports=[PolicyPort("TCP", 81)]), rule()]))
    expect(network, allowed=("10.0.0.1 > 10.0.0.2 tcp 81", "10.0.0.1 > 10.0.0.2 tcp 80", "10.0.0.1 > 10.0.0.2 icmp"))
    counted = {item.chain: item.packets for item in runner.counters(TABLE) if item.packets}
    assert counted == {"ok_in_shop_p_1": 1, "ok_in_shop_p_2": 2}


def test_drift_is_found_and_repaired(network: Network, runner: NftRunner) -> None:
    _, enforcer = enforce(runner, WEB, DB, policy("none", app("db"), ingress=[]))
    network.nft("flush chain inet podfence hold; delete element inet podfence in4 { 10.0.0.2 }")
    expect(network, allowed=("10.0.0.1 > 10.0.0.2 tcp 80",))

    assert enforcer.verify() == (
        "chain hold had other rules",
        "set or map in4: 1 elements were gone or changed, 0 are not ours",
    )
    assert enforcer.verify() == ()
    expect(network, denied=("10.0.0.1 > 10.0.0.2 tcp 80",))

    network.nft("delete table inet podfence")
    assert enforcer.verify() == ("table inet podfence was gone",)
    expect(network, denied=("10.0.0.1 > 10.0.0.2 tcp 80",))


@pytest.mark.parametrize("seed", range(20))
def test_random_clusters_pass_what_the_engine_allows(network: Network, runner: NftRunner, seed: int) -> None:
    random = Random(seed)
    objects, options = dense.cluster(random), dense.options(random)
    cluster = Cluster.from_objects(objects, options)
    enforcer = Enforcer(runner, "n1", cluster.model, shared_from=random.choice((256, 2)))
    enforcer.start()
    for event in dense.events(random, objects, 4):
        enforcer.apply(cluster.apply(event))

    wanted = expected(cluster)
    found = network.passed(wanted)

    assert {item: passed for item, passed in found.items() if passed != wanted[item]} == {}
    assert enforcer.verify() == ()


def expected(cluster: Cluster) -> dict[Probe, bool]:
    """Return what the programs of node n1 alone should let through, of all tries that pass it."""
    found: dict[Probe, bool] = {}
    ends = {text: end_at(cluster, parse_address(text)) for text in (*POD_ADDRESSES, *OUTSIDE, NODE)}
    for source, left in ends.items():
        for destination, right in ends.items():
            if source in (NODE, destination) or (":" in source) != (":" in destination):
                continue
            if source in OUTSIDE and destination in OUTSIDE:
                continue
            ports = local(cluster, Direction.EGRESS, left, right) & local(cluster, Direction.INGRESS, left, right)
            for kind, port in TRAFFIC:
                point = PortSet.OTHER if kind == "icmp" else PortSet.single(kind.upper(), port)
                found[Probe(kind, source, destination, port)] = point <= ports
    return found


def local(cluster: Cluster, direction: Direction, left: End, right: End) -> PortSet:
    subject = left if direction is Direction.EGRESS else right
    if (
        not isinstance(subject, PodEnd)
        or subject.member.node != "n1"
        or (isinstance(left, NodeEnd) and left.name == "n1")
    ):
        return PortSet.ALL
    return cluster.model.engine.admitted(direction, left, right, Bound.OPTIMISTIC)
