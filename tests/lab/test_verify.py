# SPDX-License-Identifier: Apache-2.0
"""Verification against a simulated network: what differs is found, what is dead is named, and nothing else is."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.cluster.state import ClusterState
from podfence.errors import PodfenceError
from podfence.kube.objects import ContainerPort, Node, Peer, PodTemplate, PolicyPort, Service, ServicePort, Workload
from podfence.lab.verification.compare import verify
from podfence.lab.verification.plan import schedule
from podfence.policy.engine import Engine
from podfence.policy.model import Model
from podfence.policy.options import Options
from podfence.sets import AddressSet
from tests.lab.simulated import Network, way_of
from tests.policy.parts import app, block, pod, policy, rule, space
from tests.twin import strategies
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import KubeObject
    from podfence.lab.processes.probing import Probe
    from podfence.lab.targets import Place
    from podfence.lab.verification.result import Trial, Verification
    from tests.lab.simulated import Way

HTTP = ContainerPort(80, "TCP", "http")
NODES = (Node(name="n1", labels={}, addresses=("172.18.0.1",)), Node(name="n2", labels={}, addresses=("172.18.0.2",)))
SHOP: tuple[KubeObject, ...] = (
    space("shop"),
    *NODES,
    pod("web", "10.0.0.1", node="n1", ports=[HTTP]),
    pod("api", "10.0.0.2", node="n2", ports=[HTTP]),
    pod("db", "10.0.0.3", node="n1", ports=[ContainerPort(5432)]),
    policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("api")), ports=[PolicyPort("TCP", 5432)])]),
)
TO_DB: Way = ("10.0.0.1", "10.0.0.3", "tcp", 5432)
FROM_API: Way = ("10.0.0.2", "10.0.0.3", "tcp", 5432)


def ask(network: Network, objects: Sequence[KubeObject], options: Options, *, all_pairs: bool = False) -> Verification:
    return verify(Engine(ClusterState(objects), options), network.probe, network.lifted, all_pairs=all_pairs)


def shop(*, all_pairs: bool = False, **faults: object) -> tuple[Verification, Network]:
    network = Network(SHOP, Options(), **faults)  # type: ignore[arg-type]
    return ask(network, SHOP, Options(), all_pairs=all_pairs), network


def between(answer: Verification, source: str, destination: str) -> dict[str, Trial]:
    return {item.port: item for item in answer.trials if (item.source, item.destination) == (source, destination)}


# Against the slow twin


@pytest.mark.parametrize("all_pairs", [False, True])
@tried(50)
@given(objects=strategies.clusters(), options=strategies.options())
def test_a_network_that_does_what_the_twin_says_has_no_differences(
    all_pairs: bool, objects: list[KubeObject], options: Options
) -> None:
    network = Network(objects, options)

    answer = ask(network, objects, options, all_pairs=all_pairs)

    assert answer.differences == ()
    assert answer.holds
    assert answer.tried == len(network.asked) - len(network.asked_lifted)


@pytest.mark.parametrize("all_pairs", [False, True])
@tried(30)
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_exactly_the_ways_that_do_the_opposite_are_differences(
    all_pairs: bool, data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    right = Network(objects, options)
    ask(right, objects, options, all_pairs=all_pairs)
    ways = [way_of(probe) for _, probe in right.asked][: len(right.asked) - len(right.asked_lifted)]
    wrong = data.draw(st.sets(st.sampled_from(sorted(set(ways))), max_size=4)) if ways else set()

    answer = ask(Network(objects, options, wrong=wrong), objects, options, all_pairs=all_pairs)

    # One way may be tried twice: from a node, and from a hostNetwork pod on it.
    assert len(answer.differences) == sum(way in wrong for way in ways)
    assert answer.dead == ()
    assert answer.holds is not bool(wrong)
    for trial in answer.differences:
        assert trial.expected != trial.observed
        assert trial.reason.startswith("egress: ")


# Nodes


def test_nodes_are_tried_on_the_ports_that_rules_and_node_ports_name() -> None:
    out = policy("out", app("web"), egress=[rule(block("172.18.0.0/24"), ports=[PolicyPort("TCP", 10250)])])
    served = Service(
        namespace="shop",
        name="db",
        type="NodePort",
        selector={"app": "db"},
        ports=(ServicePort(5432, 5432, node_port=30432),),
    )
    model = Model(Engine(ClusterState([*SHOP, out, served]), Options()))
    tried = {
        (item.source.name, item.destination.name, item.port.text): item.expected
        for item in schedule(model, AddressSet.EMPTY, all_pairs=True).attempts
    }

    assert tried["shop/web", "node:n2", "TCP 10250"]
    # What comes by a NodePort is the client's on the node where the pod runs, and comes from a node elsewhere.
    assert tried["shop/api", "node:n1", "TCP 30432"]
    assert not tried["shop/api", "node:n2", "TCP 30432"]
    assert not tried["shop/web", "node:n1", "TCP 30432"]
    assert not tried["203.0.113.9", "node:n1", "TCP 30432"]
    assert not tried["203.0.113.9", "node:n2", "TCP 30432"]


@pytest.mark.parametrize("all_pairs", [False, True])
def test_a_node_without_a_backend_of_a_local_service_is_denied_and_not_dead(all_pairs: bool) -> None:
    local = Service(
        namespace="shop",
        name="web",
        type="NodePort",
        external_traffic_policy="Local",
        selector={"app": "web"},
        ports=(ServicePort(80, 80, node_port=30080),),
    )

    class Proxied(Network):
        def _outcome(self, way: Way) -> str:
            # The only backend is on n1, and n2 leads only what is on n2 there.
            here = ("10.0.0.2", "172.18.0.2")
            return (
                "timeout" if way[1:] == ("172.18.0.2", "tcp", 30080) and way[0] not in here else super()._outcome(way)
            )

    network = Proxied([*SHOP, local], Options(), open_ports=(80, 5432, 30080))
    answer = ask(network, [*SHOP, local], Options(), all_pairs=all_pairs)

    port = "TCP 30080"
    assert between(answer, "203.0.113.9", "node:n2")[port].expected == "denied"
    assert between(answer, "203.0.113.9", "node:n1")[port].observed == "allowed"
    assert answer.dead == ()
    assert answer.differences == ()


# Differences, second tries


def test_a_leak_is_a_difference_with_both_outcomes_and_the_reason() -> None:
    answer, _ = shop(wrong=[TO_DB])

    (trial,) = answer.differences
    assert (trial.source, trial.destination, trial.port, trial.family) == ("shop/web", "shop/db", "TCP 5432", 4)
    assert (trial.expected, trial.observed, trial.outcomes) == ("denied", "allowed", ("refused", "refused"))
    assert "NetworkPolicy shop/db isolates the pod, no rule admits the connection" in trial.reason
    assert not answer.holds


def test_a_connection_that_is_cut_by_mistake_is_a_difference_not_a_dead_target() -> None:
    answer, _ = shop(wrong=[FROM_API])

    assert [(item.source, item.observed, item.outcomes) for item in answer.differences] == [
        ("shop/api", "denied", ("timeout", "timeout"))
    ]
    assert answer.dead == ()


def test_a_packet_lost_once_is_tried_again_and_is_no_difference() -> None:
    answer, _ = shop(lost=[FROM_API])

    assert answer.holds
    assert between(answer, "shop/api", "shop/db")["TCP 5432"].outcomes == ("timeout", "refused")


# Dead targets


@pytest.mark.parametrize("all_pairs", [False, True])
def test_a_dead_server_is_not_judged_and_is_named(all_pairs: bool) -> None:
    answer, network = shop(dead=[("10.0.0.3", "tcp", 5432)], all_pairs=all_pairs)

    assert network.times_lifted == 1
    assert {(item.destination, item.port, item.outcome) for item in answer.dead} == {("shop/db", "TCP 5432", "timeout")}
    (dead,) = answer.dead
    assert {"shop/web", "shop/api"} <= set(dead.sources)
    assert not [item for item in answer.trials if (item.destination, item.port) == ("shop/db", "TCP 5432")]
    assert answer.differences == ()
    assert not answer.holds


def test_only_what_did_not_arrive_is_tried_without_policies() -> None:
    _, network = shop()

    assert TO_DB in network.asked_lifted
    assert FROM_API not in network.asked_lifted


def test_policies_are_not_lifted_where_everything_arrives() -> None:
    objects: list[KubeObject] = [item for item in SHOP if item.key.kind != "NetworkPolicy"]
    network = Network(objects, Options())

    answer = ask(network, objects, Options())

    assert answer.holds
    assert network.times_lifted == 0


def test_with_all_pairs_a_few_witnesses_prove_that_targets_are_alive() -> None:
    objects: list[KubeObject] = [space("shop"), *NODES, policy("none", ingress=[])]
    objects += [
        pod(f"p{number}", f"10.0.1.{number}", node=f"n{number % 2 + 1}", ports=[HTTP]) for number in range(1, 31)
    ]
    network = Network(objects, Options())

    answer = ask(network, objects, Options(), all_pairs=True)

    assert answer.holds
    denied = [item for item in answer.trials if item.expected == "denied"]
    assert len(network.asked_lifted) < len(denied) / 5
    assert {destination for _, destination, _, _ in network.asked_lifted} >= {f"10.0.1.{n}" for n in range(1, 31)}


def test_with_all_pairs_a_broken_way_out_is_found_though_its_pod_may_reach_nothing() -> None:
    objects: list[KubeObject] = [*SHOP, policy("alone", app("web"), egress=[])]

    class Cut(Network):
        def _outcome(self, way: Way) -> str:
            return "timeout" if way[0] == "10.0.0.1" != way[1] else super()._outcome(way)

    answer = ask(Cut(objects, Options()), objects, Options(), all_pairs=True)

    assert {source for item in answer.dead for source in item.sources} == {"shop/web"}
    assert answer.differences == ()


def test_a_place_that_cannot_be_asked_is_dead_with_what_was_said() -> None:
    class Broken(Network):
        def probe(self, source: Place, probes: Sequence[Probe]) -> list[str]:
            if source.name == "web":
                raise PodfenceError("pod shop/web is gone")
            return super().probe(source, probes)

    network = Broken(SHOP, Options())
    answer = ask(network, SHOP, Options())

    assert {(item.sources, item.outcome) for item in answer.dead} == {(("shop/web",), "error: pod shop/web is gone")}


# What is tried


def test_declared_named_and_other_ports_icmp_nodes_and_the_world_are_tried() -> None:
    objects: list[KubeObject] = [
        *SHOP,
        policy("more", app("api"), ingress=[rule(block("198.51.100.0/24", "198.51.100.128/25"), ports=[PolicyPort("UDP", 53), PolicyPort("TCP", 9000, 9010)])]),
    ]  # fmt: skip
    answer = ask(Network(objects, Options()), objects, Options())

    assert set(between(answer, "shop/web", "shop/db")) == {"TCP 5432", "TCP 4000", "UDP 4000", "ICMP"}
    named = between(answer, "shop/web", "shop/api")
    assert set(named) == {"TCP 80", "UDP 53", "TCP 9000", "TCP 9010", "TCP 4000", "UDP 4000", "ICMP"}
    assert {item.port: item.port_kind for item in named.values()}["UDP 4000"] == "other UDP"
    into = {item.source for item in answer.trials if item.destination == "shop/api"}
    assert into == {
        *("shop/web", "shop/api", "shop/db", "node:n1", "node:n2"),
        *("203.0.113.9", "198.51.100.1", "198.51.100.129"),
    }
    assert {item.source for item in answer.trials if item.expected == "allowed" and item.port == "TCP 9010"} == {
        *("shop/api", "node:n2", "198.51.100.1"),
    }
    assert {item.destination_group for item in answer.trials if item.source == "shop/db"} == {
        *("shop/web", "shop/api", "itself", "its own node", "another node"),
        *("203.0.113.9", "198.51.100.1", "198.51.100.129"),
    }


def test_of_equal_pods_some_are_tried_inside_a_node_and_between_nodes_and_none_is_forgotten() -> None:
    objects: list[KubeObject] = [space("shop"), *NODES]
    objects += [
        pod(f"p{number}", f"10.0.1.{number}", node=f"n{number % 2 + 1}", ports=[HTTP]) for number in range(1, 41)
    ]
    node_of = {f"shop/p{number}": f"n{number % 2 + 1}" for number in range(1, 41)}

    answer = ask(Network(objects, Options()), objects, Options())

    pairs = {
        (item.source, item.destination) for item in answer.trials if {item.source, item.destination} <= set(node_of)
    }
    assert len(pairs) < 100
    assert {item.source_group for item in answer.trials} >= {"shop/p1 and 39 like it"}
    apart = {(one, other) for one, other in pairs if one != other}
    assert {node_of[one] == node_of[other] for one, other in apart} == {True, False}
    assert {one for one, _ in apart} == {other for _, other in apart} == set(node_of)
    assert {one for one, other in pairs if one == other} == set(node_of)


def test_all_pairs_are_all_pairs_of_both_families() -> None:
    objects: list[KubeObject] = [
        space("shop"),
        *(pod(f"p{n}", f"10.0.1.{n}", f"fd00::{n}", ports=[HTTP]) for n in range(1, 6)),
    ]

    answer = ask(Network(objects, Options()), objects, Options(), all_pairs=True)

    inside = [
        item for item in answer.trials if item.destination.startswith("shop/") and item.source.startswith("shop/")
    ]
    assert len(inside) == 5 * 5 * 2 * len(("TCP 80", "TCP 4000", "UDP 4000", "ICMP"))


def test_a_host_network_pod_is_tried_as_its_node() -> None:
    objects: list[KubeObject] = [*SHOP, pod("proxy", "172.18.0.2", node="n2", host=True, ports=[ContainerPort(10256)])]
    network = Network(objects, Options())

    answer = ask(network, objects, Options())

    assert answer.holds
    assert "TCP 10256" in between(answer, "shop/db", "shop/proxy")
    assert between(answer, "shop/proxy", "shop/db")["TCP 5432"].expected == "denied"
    assert between(answer, "shop/proxy", "shop/api")["TCP 80"].source_group == "shop/proxy on its own node"
    assert {place.name for place, probe in network.asked if probe.source == "172.18.0.2"} == {"proxy", "n2"}


def test_what_is_not_tried_is_said() -> None:
    objects: list[KubeObject] = [
        *SHOP,
        pod("late", ports=[HTTP]),
        Workload(kind="Deployment", namespace="shop", name="soon", template=PodTemplate(ports=(HTTP,))),
        pod("tele", "10.0.0.9", ports=[ContainerPort(7000, "SCTP")]),
        pod("twin", "10.0.0.9"),
        policy("ping", app("web"), ingress=[rule(ports=[PolicyPort("TCP", 80)]), rule(block("10.96.0.0/24"))]),
    ]
    options = Options().with_value("icmp", "depends")
    network = Network(objects, options)
    engine = Engine(ClusterState(objects), options)

    answer = verify(engine, network.probe, network.lifted, reserved=AddressSet.cidr("10.96.0.0/16"))

    said = {item.what: item.why for item in answer.left_out}
    assert said["shop/deploy/soon"] == "it has no pods"
    assert said["shop/late"] == "it has no address"
    assert said["10.0.0.9"] == "it is claimed by shop/tele, shop/twin"
    assert said["10.96.0.0/24"] == "none of its addresses is outside of the cluster"
    assert said["shop/api -> shop/web ICMP"] == "it depends on option icmp"
    assert "10.0.0.9" not in {probe.destination for _, probe in network.asked}


def test_ports_of_sctp_are_left_out_by_name() -> None:
    objects: list[KubeObject] = [space("shop"), pod("tele", "10.0.0.9", ports=[ContainerPort(7000, "SCTP")])]

    answer = ask(Network(objects, Options()), objects, Options())

    assert [(item.what, item.why) for item in answer.left_out] == [("shop/tele SCTP 7000", "SCTP is not tried")]


def test_an_undeclared_port_is_one_that_nobody_declares_or_names() -> None:
    objects: list[KubeObject] = [
        space("shop"),
        pod("a", "10.0.0.1", ports=[ContainerPort(4000), ContainerPort(4001)]),
        policy("p", ingress=[rule(ports=[PolicyPort("TCP", 4002, 4099)])]),
    ]
    answer = ask(Network(objects, Options()), objects, Options())

    assert {item.port for item in answer.trials if item.port_kind == "other TCP"} == {"TCP 4100"}


def test_progress_ends_with_everything_done() -> None:
    network = Network(SHOP, Options())
    told: list[tuple[float, int]] = []

    verify(
        Engine(ClusterState(SHOP), Options()),
        network.probe,
        network.lifted,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told[-1][0] == told[-1][1] == len(network.asked)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_thousands_of_pairs_take_seconds() -> None:
    random = Random(1)
    objects: list[KubeObject] = [space("shop"), *NODES]
    objects += [
        pod(
            f"p{n}",
            f"10.0.{n // 100}.{n % 100 + 1}",
            labels={"app": f"a{n % 10}"},
            node=random.choice(("n1", "n2")),
            ports=[HTTP],
        )
        for n in range(100)
    ]
    objects += [
        policy(f"in{n}", app(f"a{n}"), ingress=[rule(Peer(pod_selector=app(f"a{n - 1}")))]) for n in range(1, 10)
    ]

    def probe(_: Place, probes: Sequence[Probe]) -> list[str]:
        return ["open" if probe.expected else "timeout" for probe in probes]

    engine = Engine(ClusterState(objects), Options())
    begin = time.process_time()
    answer = verify(engine, probe, Network([], Options()).lifted, all_pairs=True)

    assert answer.holds
    assert len(answer.trials) > 40_000
    assert time.process_time() - begin < 60
