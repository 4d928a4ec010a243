# SPDX-License-Identifier: Apache-2.0
"""The strategies reach every corner that tests of the engine rely on, and stay away from what is undefined."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podfence.kube.objects import Namespace, NetworkPolicy, Node, Pod
from podfence.policy.options import describe

from .addresses import is_loopback, parse_address, parse_network
from .boundaries import addresses, node_ends, pod_ends, traffic
from .effort import tried
from .question import Answer
from .strategies import blocks, clusters, events, options, replay
from .twin import OLD_API, Twin, is_default_deny

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import IPBlock, KubeObject, Peer, PolicyPort, Rule
    from podfence.policy.options import Options

    from .question import End
    from .strategies import Event

SAMPLES, SOME = (
    settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    for examples in (300, 60)
)
FEW = tried(100)


def peer_form(peer: Peer) -> str:
    if peer.ip_block is not None:
        network = parse_network(peer.ip_block.cidr)
        whole = "whole" if network.prefixlen == 0 else "part"
        return f"peer block v{network.version} {whole}"
    return f"peer pod={peer.pod_selector is not None} namespace={peer.namespace_selector is not None}"


def port_form(port: PolicyPort) -> str:
    form = "none" if port.port is None else "name" if isinstance(port.port, str) else "number"
    return f"port {port.protocol} {'range' if port.end_port else form}"


def rule_features(rule: Rule) -> Iterator[str]:
    yield f"rule peers={bool(rule.peers)} ports={bool(rule.ports)}"
    yield f"rule empty_peers={rule.empty_peers} empty_ports={rule.empty_ports}"
    for peer in rule.peers:
        yield peer_form(peer)
        if peer.ip_block is not None:
            yield f"block with {len(peer.ip_block.excepts)} excepts"
        for selector in (peer.pod_selector, peer.namespace_selector):
            if selector is not None:
                yield from (f"operator {requirement.operator}" for requirement in selector.requirements)
                yield "selector terms" if selector.requirements else "selector empty"
    yield from map(port_form, rule.ports)


def pod_features(pod: Pod) -> Iterator[str]:
    families = sorted({parse_address(text).version for text in pod.addresses})
    yield f"pod families {families}"
    yield f"pod phase {pod.phase!r}"
    yield f"pod terminating {pod.terminating}"
    yield f"pod host network {pod.template.host_network}, addresses {bool(pod.addresses)}"
    yield f"pod node {pod.template.node!r}"
    yield from (f"pod label {value!r}" for value in pod.template.labels.values())
    named = {(port.name, port.protocol, port.number) for port in pod.template.ports if port.name}
    if any(count > 1 for count in Counter(name for name, _, _ in named).values()):
        yield "pod one name, several ports"
    yield from ("pod sidecar port" for port in pod.template.ports if port.sidecar)


def features(objects: list[KubeObject]) -> Iterator[str]:
    known = {item.name for item in objects if isinstance(item, Namespace)}
    for item in objects:
        if isinstance(item, Pod):
            yield from pod_features(item)
            yield f"namespace implied {item.namespace not in known}"
        elif isinstance(item, NetworkPolicy):
            yield f"policy {item.api_version} {item.policy_types}"
            yield f"policy rules {bool(item.ingress)} {bool(item.egress)}"
            for rule in (*item.ingress, *item.egress):
                yield from rule_features(rule)
        elif isinstance(item, Namespace):
            odd = bool(item.annotations) and not is_default_deny(item.annotations)
            yield f"namespace annotated {is_default_deny(item.annotations)}, odd {odd}"
        elif isinstance(item, Node):
            yield f"node addresses {len(item.addresses)}"
    shared = Counter(text for item in objects if isinstance(item, Pod) for text in item.addresses)
    yield f"address shared {any(count > 1 for count in shared.values())}"


PROTOCOLS = ("TCP", "UDP", "SCTP")
V1 = "networking.k8s.io/v1"
EXPECTED = {
    *(f"peer block v{version} {whole}" for version in (4, 6) for whole in ("whole", "part")),
    *(f"block with {count} excepts" for count in range(4)),
    "peer pod=True namespace=False",
    "peer pod=False namespace=True",
    "peer pod=True namespace=True",
    *(f"port {protocol} {form}" for protocol in PROTOCOLS for form in ("none", "name", "number", "range")),
    *(f"rule peers={peers} ports={ports}" for peers in (True, False) for ports in (True, False)),
    *(f"rule empty_peers={peers} empty_ports={ports}" for peers in (True, False) for ports in (True, False)),
    *(f"operator {operator}" for operator in ("In", "NotIn", "Exists", "DoesNotExist")),
    "selector empty",
    "selector terms",
    *(f"pod families {families}" for families in ([], [4], [6], [4, 6])),
    *(f"pod phase {phase!r}" for phase in ("", "Pending", "Running", "Succeeded", "Failed", "Unknown")),
    *(f"pod terminating {terminating}" for terminating in (True, False)),
    *(f"pod host network {host}, addresses {has}" for host in (True, False) for has in (True, False)),
    *(f"pod node {node!r}" for node in ("n1", "n2", "")),
    *(f"pod label {value!r}" for value in ("x", "y", "")),
    "pod one name, several ports",
    "pod sidecar port",
    "namespace implied True",
    "namespace implied False",
    "namespace annotated True, odd False",
    "namespace annotated False, odd True",
    "namespace annotated False, odd False",
    *(f"policy {api} {types}" for api in (V1, OLD_API) for types in (("Ingress",), ("Egress",), ("Ingress", "Egress"))),
    f"policy {V1} ('Egress', 'Ingress')",
    f"policy {V1} ('Egress', 'Egress')",
    *(f"policy rules {ingress} {egress}" for ingress in (True, False) for egress in (True, False)),
    *(f"node addresses {count}" for count in (0, 1, 2)),
    "address shared True",
    *(
        f"option {name}={value}"
        for name, choice in describe().items()
        for value in choice.values
        if value != "depends" and (name, value) not in {("world", "open"), ("pod_cidrs", "any")}
    ),
    *(f"answer {answer}" for answer in Answer),
}  # fmt: skip


def test_samples_have_every_form_every_option_and_every_answer() -> None:
    seen: Counter[str] = Counter()

    @SAMPLES
    @given(clusters(), options())
    def collect(objects: list[KubeObject], chosen: Options) -> None:
        seen.update(set(features(objects)))
        seen.update(f"option {name}={getattr(chosen, name)}" for name in describe())
        if all(f"answer {answer}" in seen for answer in Answer):
            return
        twin = Twin(objects, chosen)
        everyone: list[End] = [*pod_ends(objects), *node_ends(objects)]
        for source, destination, asked in product(everyone, everyone, traffic(objects)[::2]):
            seen[f"answer {twin.allowed(source, destination, asked)}"] += 1

    collect()
    assert set(seen) >= EXPECTED, sorted(EXPECTED - set(seen))


def test_events_are_possible_and_replay_to_their_result() -> None:
    kinds: Counter[str] = Counter()

    @SOME
    @given(clusters(), st.data())
    def follow(objects: list[KubeObject], data: st.DataObject) -> None:
        history: list[Event] = data.draw(events(objects))
        present = {item.key: item for item in objects}
        for kind, item in history:
            kinds[f"{kind} {type(item).__name__}"] += 1
            assert (item.key in present) is (kind != "added")
            if kind == "deleted":
                assert present.pop(item.key) is item
            else:
                present[item.key] = item
        assert replay(objects, history) == list(present.values())

    follow()
    assert set(kinds) == {
        f"{kind} {name}"
        for kind in ("added", "modified", "deleted")
        for name in ("Pod", "NetworkPolicy", "Namespace", "Node")
    }


@FEW
@given(clusters(), st.data())
def test_pods_of_one_name_never_share_an_address(objects: list[KubeObject], data: st.DataObject) -> None:
    final = replay(objects, data.draw(events(objects)))
    claims = Counter((item.name, text) for item in final if isinstance(item, Pod) for text in item.addresses)
    assert all(count == 1 for count in claims.values())


@FEW
@given(clusters())
def test_no_boundary_is_a_loopback_address(objects: list[KubeObject]) -> None:
    assert not any(is_loopback(parse_address(text)) for text in addresses(objects))


@SOME
@given(blocks())
def test_exceptions_are_strictly_inside_their_block(block: IPBlock) -> None:
    cidr = parse_network(block.cidr)
    for text in block.excepts:
        inner = parse_network(text)
        assert inner.prefixlen > cidr.prefixlen
        assert inner.network_address in cidr
