# SPDX-License-Identifier: Apache-2.0
"""Every option with every value: one question for each that it decides, and that no other option does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.api import Cluster, load
from podfence.errors import EndpointError, InputError
from podfence.kube.objects import ContainerPort, Namespace, Node, Peer, PolicyPort, Rule, Service, ServicePort
from podfence.policy.legacy import ANNOTATION
from podfence.policy.options import Options, describe
from podfence.policy.verdict import told
from tests.policy.parts import app, block, pod, policy, rule

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.kube.objects import KubeObject, NetworkPolicy

    Question = tuple[list[KubeObject], str, str, str]

HTTP = ContainerPort(8080, "TCP", "http")
SIDECAR = ContainerPort(9090, "TCP", "http", sidecar=True)
NAMED = PolicyPort("TCP", "http")
DENY_IN, DENY_OUT = policy("deny", ingress=[]), policy("deny", egress=[])
NODE = Node(name="n1", labels={}, addresses=("172.18.0.1",))


def old(item: NetworkPolicy, **changes: object) -> NetworkPolicy:
    from msgspec.structs import replace  # noqa: PLC0415

    return replace(item, api_version="extensions/v1beta1", **changes)


def service(kind: str) -> Service:
    ports = (ServicePort(80, 8080),)
    return Service(namespace="shop", name="me", type=kind, selector={"app": "me"}, ports=ports)


ISOLATED = Namespace(name="shop", labels={}, annotations={ANNOTATION: '{"ingress": {"isolation": "DefaultDeny"}}'})
ME, YOU = pod("me", "10.0.0.1", node="n1"), pod("you", "10.0.0.2", node="n2")
FROM_YOU = policy("p", app("me"), ingress=[rule(block("10.0.0.2/32"))])

QUESTIONS: dict[str, Question] = {
    "self_traffic": ([ME, DENY_IN], "shop/me", "shop/me", "80"),
    "hairpin": ([ME, DENY_IN, service("ClusterIP")], "shop/me", "shop/svc/me", "80"),
    "own_node_egress": ([ME, NODE, DENY_OUT], "shop/me", "node:n1", "80"),
    "host_network": ([pod("me", "172.18.0.1", node="n1", host=True), YOU, policy("p", app("me"), ingress=[])], "shop/you", "shop/me", "80"),
    "named_port_without_peer": ([ME, pod("db", "10.0.1.1", namespace="dev", ports=[HTTP]), policy("p", egress=[rule(ports=[NAMED])])], "shop/me", "dev/db", "8080"),
    "named_port_without_peer in its own namespace": ([ME, pod("db", "10.0.1.1", ports=[HTTP]), policy("p", egress=[rule(block("10.0.0.0/8"), ports=[NAMED])])], "shop/me", "shop/db", "8080"),
    "init_ports": ([YOU, pod("me", "10.0.0.1", ports=[SIDECAR]), policy("p", app("me"), ingress=[rule(ports=[NAMED])])], "shop/you", "shop/me", "9090"),
    "icmp without ports": ([ME, YOU, policy("p", ingress=[Rule()])], "shop/you", "shop/me", "icmp"),
    "icmp with ports": ([ME, YOU, policy("p", ingress=[rule(ports=[PolicyPort("TCP", 80)])])], "shop/you", "shop/me", "icmp"),
    "ip_block_pods": ([ME, YOU, FROM_YOU], "shop/you", "shop/me", "80"),
    "ip_block_nodes": ([pod("me", "10.0.0.1", node="n2"), NODE, policy("p", app("me"), ingress=[rule(block("172.18.0.0/16"))])], "node:n1", "shop/me", "80"),
    "service_source": ([pod("me", "10.0.0.1"), service("NodePort"), policy("p", ingress=[rule(block("203.0.113.0/24"))])], "203.0.113.9", "shop/svc/me", "80"),
    "source_ranges": ([pod("me", "10.0.0.1"), msgspec.structs.replace(service("LoadBalancer"), external_traffic_policy="Local", source_ranges=("203.0.113.0/24",))], "198.51.100.7", "shop/svc/me", "80"),
    "end_port": ([ME, YOU, policy("p", ingress=[rule(ports=[PolicyPort("TCP", 80, 90)])])], "shop/you", "shop/me", "85"),
    "pod_families": ([ME, pod("you"), policy("p", app("me"), ingress=[rule(block("0.0.0.0/0"))])], "shop/you", "shop/me", "80"),
    "pod_families without addresses": ([pod("me"), pod("you"), policy("p", app("me"), ingress=[rule(block("0.0.0.0/0"))])], "shop/you", "shop/me", "80"),
    "world": ([ME, pod("you"), policy("p", app("me"), ingress=[rule(block("10.0.0.0/8"))])], "shop/you", "shop/me", "80"),
    "pod_cidrs": ([ME, pod("you"), policy("p", app("me"), ingress=[rule(block("203.0.113.0/24"))])], "shop/you", "shop/me", "80"),
    "service_cidrs": ([ME, policy("p", egress=[rule(block("198.51.100.0/24"))])], "shop/me", "198.51.100.7", "80"),
    "budget of 600 rules": ([ME, YOU, policy("p", ingress=[Rule()] * 600)], "shop/you", "shop/me", "80"),
    "budget of 6,000 rules": ([ME, YOU, policy("p", ingress=[Rule()] * 6_000)], "shop/you", "shop/me", "80"),
    "legacy with an old policy that has no effect": ([ME, YOU, old(policy("p", app("me"), ingress=[]))], "shop/you", "shop/me", "80"),
    "legacy with the annotation only": ([ME, YOU, ISOLATED], "shop/you", "shop/me", "80"),
    "legacy with both": ([ME, YOU, ISOLATED, old(policy("p", app("you"), ingress=[]))], "shop/you", "shop/me", "80"),
    "legacy_empty_list of peers": ([ME, YOU, ISOLATED, old(policy("p", ingress=[Rule(empty_peers=True)]))], "shop/you", "shop/me", "80"),
    "legacy_empty_list of ports": ([ME, YOU, ISOLATED, old(policy("p", ingress=[Rule(empty_ports=True)]))], "shop/you", "shop/me", "80"),
}  # fmt: skip

ANSWERS = {
    "self_traffic": {"allowed": "allowed", "policy": "denied"},
    "hairpin": {"allowed": "allowed", "policy": "denied", "depends": "depends"},
    "own_node_egress": {"policy": "denied", "allowed": "allowed", "depends": "depends"},
    "host_network": {"node": "allowed", "pod": "denied"},
    "named_port_without_peer": {"any-pod": "allowed", "own-namespace": "denied", "never": "denied"},
    "named_port_without_peer in its own namespace": {"any-pod": "allowed", "own-namespace": "allowed", "never": "denied"},
    "init_ports": {"sidecars": "allowed", "containers": "denied"},
    "icmp without ports": {"portless": "allowed", "allowed": "allowed", "denied": "denied", "depends": "depends"},
    "icmp with ports": {"portless": "denied", "allowed": "allowed", "denied": "denied", "depends": "depends"},
    "ip_block_pods": {"match": "allowed", "never": "denied", "depends": "depends"},
    "ip_block_nodes": {"match": "allowed", "never": "denied", "depends": "depends"},
    "service_source": {"depends": "depends", "client": "allowed", "node": "depends"},
    "source_ranges": {"depends": "depends", "enforced": "denied", "ignored": "allowed"},
    "end_port": {"range": "allowed", "first": "denied"},
    "pod_families": {"ipv4": "allowed", "ipv6": "denied", "dual": "allowed"},
    "pod_families without addresses": {"ipv4": "allowed", "ipv6": "denied", "dual": "depends"},
    "world": {"open": "depends", "closed": "denied", "closed:Node,Pod": "denied", "closed:Node,Namespace": "depends"},
    "pod_cidrs": {"auto": "denied", "any": "depends", "203.0.113.0/25": "allowed", "203.0.112.0/23,fd00::/8": "depends"},
    "service_cidrs": {"auto": "allowed", "198.51.100.0/30": "allowed", "10.0.0.0/8,198.51.100.0/24": "depends"},
    "budget of 600 rules": {"standard": "denied", "tenfold": "allowed", "none": "allowed"},
    "budget of 6,000 rules": {"standard": "denied", "tenfold": "denied", "none": "allowed"},
    "legacy with an old policy that has no effect": {"auto": "allowed", "v1": "denied", "v1beta1": "allowed"},
    "legacy with the annotation only": {"auto": "allowed", "v1": "allowed", "v1beta1": "denied"},
    "legacy with both": {"auto": "denied", "v1": "allowed", "v1beta1": "denied"},
    "legacy_empty_list of peers": {"all": "allowed", "none": "denied"},
    "legacy_empty_list of ports": {"all": "allowed", "none": "denied"},
}  # fmt: skip

ROWS = [(title, value, answer) for title, row in ANSWERS.items() for value, answer in row.items()]
ALSO_DECIDED_BY = {
    "legacy_empty_list of peers": {"legacy"},
    "legacy_empty_list of ports": {"legacy"},
    "pod_families": {"ip_block_pods"},
    "world": {"ip_block_pods", "pod_families"},
    "service_source": {"pod_cidrs"},
    "pod_families without addresses": {"ip_block_pods"},
    "named_port_without_peer in its own namespace": {"ip_block_pods"},
}
"""Options that rightly have a say in a question of another: what it is about would not be there without."""


def option_of(title: str) -> str:
    return title.partition(" ")[0]


def answer_to(title: str, options: Options) -> tuple[str, str]:
    objects, source, destination, port = QUESTIONS[title]
    verdict = Cluster.from_objects(objects, options).check(source, destination, port)
    return verdict.decision.value, told(verdict.depends_on)


@pytest.mark.parametrize(("title", "value", "answer"), ROWS)
def test_value_of_an_option_decides_its_question(title: str, value: str, answer: str) -> None:
    name = option_of(title)
    decision, depends_on = answer_to(title, Options().with_value(name, value))

    assert decision == answer
    if value == "depends":
        assert depends_on == f"option {name.replace('_', '-')}"
    if (name, value) == ("service_source", "node"):
        # The node the pod runs on always reaches it (semantics 7.3), others do as policies say.
        assert depends_on == "the node the connection comes from"
    if title == "pod_families without addresses" and value == "dual":
        assert depends_on == "the address family"


_NOT_LISTED = {"self_traffic", "hairpin", "own_node_egress", "host_network", "ip_block_nodes"}
"""Options about what a pod says to itself, and about nodes, of which a listing has no lines."""


@pytest.mark.parametrize(("title", "value", "answer"), [row for row in ROWS if option_of(row[0]) not in _NOT_LISTED])
def test_a_listing_is_decided_by_an_option_as_a_check_is(title: str, value: str, answer: str) -> None:
    objects, source, destination, port = QUESTIONS[title]
    cluster = Cluster.from_objects(objects, Options().with_value(option_of(title), value))
    if (title, answer) == ("service_cidrs", "depends"):
        with pytest.raises(EndpointError, match="may be the address of a Service that was not read"):
            cluster.connectivity(source=source, destination=destination, port=port)
        return
    found = cluster.connectivity(source=source, destination=destination, port=port).connections

    assert ["depends" if item.depends else "allowed" for item in found] == [answer] * (answer != "denied")


@pytest.mark.parametrize("title", ANSWERS)
def test_no_other_option_has_a_say(title: str) -> None:
    name = option_of(title)
    expected = answer_to(title, Options())
    for other, choice in describe().items():
        if other == name or other in ALSO_DECIDED_BY.get(title, ()):
            continue
        for value in choice.values:
            assert answer_to(title, Options().with_value(other, value)) == expected, (other, value)


def test_every_value_of_every_option_that_the_engine_has_is_in_the_table() -> None:
    told = {(option_of(title), value) for title, value, _ in ROWS}
    there = {(name, value) for name, choice in describe().items() for value in choice.values}

    assert there - told == {("validation", value) for value in ("answer", "strict", "lax")}
    assert all(describe()[name].accepts(value) for name, value in told)


def test_the_default_is_the_first_value() -> None:
    assert all(getattr(Options(), name) == choice.values[0] for name, choice in describe().items())


@pytest.mark.parametrize("legacy", ["auto", "v1", "v1beta1"])
def test_old_cidr_spellings_are_read_by_lax_validation_alone(tmp_path: Path, legacy: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, spec: "
        "{ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/24}}, {ipBlock: {cidr: '::ffff:10.2.0.0/112'}}]}]}}\n---\n"
        "{apiVersion: v1, kind: Pod, metadata: {name: me, namespace: shop}, spec: {containers: [{name: c, image: i}]}}\n"
    )
    for validation in ("answer", "strict"):
        with pytest.raises(InputError, match="must not have bits set beyond the prefix length"):
            load(file, options=Options(legacy=legacy, validation=validation))
    cluster = load(file, options=Options(legacy=legacy, validation="lax"))

    assert cluster.warnings
    assert [cluster.check(text, "shop/me", 80).decision for text in ("10.1.2.9", "10.1.3.0", "10.2.9.9", "10.3.0.0")] == [
        "allowed", "denied", "allowed", "denied"]  # fmt: skip


def test_peers_of_the_own_namespace_are_not_touched_by_any_option() -> None:
    objects: list[KubeObject] = [ME, YOU, policy("p", app("me"), ingress=[rule(Peer(pod_selector=app("you")))])]
    for name, choice in describe().items():
        for value in choice.values:
            options = Options().with_value(name, value)
            assert Cluster.from_objects(objects, options).check("shop/you", "shop/me", 80).allowed is True, (
                name,
                value,
            )


def test_of_old_and_new_policies_the_first_by_name_is_said_to_admit() -> None:
    """What the kernel counts for a connection is the rule that the engine names."""
    rules = [rule(Peer(pod_selector=app("you")))]
    new, earlier = policy("b-new", app("me"), ingress=rules), old(policy("a-old", app("me"), ingress=rules))
    found = Cluster.from_objects([ISOLATED, ME, YOU, new, earlier]).check("shop/you", "shop/me", 80).ingress

    assert found.rule is not None
    assert found.rule.policy.name == "a-old"
    assert [ref.name for ref in found.policies] == ["a-old", "b-new", "shop"]
