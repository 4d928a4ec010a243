# SPDX-License-Identifier: Apache-2.0
"""Properties that the specification states in so many words, through the public interface."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podfence.api import Cluster
from podfence.kube.decode import decode
from podfence.kube.objects import Namespace, NetworkPolicy, Peer, Pod, PolicyPort, Requirement, Rule, Selector
from podfence.kube.yaml import parse
from podfence.policy.engine import Bound
from podfence.policy.options import Options
from podfence.policy.verdict import Direction
from tests.policy.parts import block, decision, pod, policy, rule, space
from tests.twin import strategies
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import IPBlock, Key, KubeObject
    from podfence.sets import PortSet

MANY = tried(60)
TO_A_NAME = rule(Peer(Selector((Requirement("app", "In", ("nobody",)),))), ports=[PolicyPort("TCP", "http")])


def answers(objects: Iterable[KubeObject], options: Options | None = None) -> dict[tuple[str, str, str], set[str]]:
    """Return every port of every pair that the listing has, one range at a time."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for item in Cluster.from_objects(objects, options).pod_connections():
        found.setdefault((item.source, item.destination, item.depends), set()).add(str(item.ports))
    return found


def admitted(objects: Iterable[KubeObject], options: Options) -> dict[tuple[Key, Key, Direction], PortSet]:
    """Return what each direction admits between pods, in the pessimistic bound."""
    from podfence.analysis.pairs import as_ends  # noqa: PLC0415

    cluster = Cluster.from_objects(objects, options)
    engine = cluster.model.engine
    found: dict[tuple[Key, Key, Direction], PortSet] = {}
    for one in cluster.state.members.values():
        for other in cluster.state.members.values():
            source, destination = as_ends(engine, one)[0], as_ends(engine, other)[0]
            for direction in Direction:
                ports = engine.admitted(direction, source, destination, Bound.PESSIMISTIC)
                found[one.key, other.key, direction] = ports
    return found


def without_old(objects: Iterable[KubeObject]) -> list[KubeObject]:
    """Leave out policies of the old form, which have other laws."""
    return [item for item in objects if not isinstance(item, NetworkPolicy) or item.api_version != "extensions/v1beta1"]


# 1.6: rules are united


@MANY
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_neither_the_order_nor_the_names_of_policies_matter(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    """Semantics 1.6 (a)."""
    shuffled = data.draw(st.permutations(objects))
    renamed = [
        msgspec.structs.replace(item, name=f"z{9 - number}") if isinstance(item, NetworkPolicy) else item
        for number, item in enumerate(shuffled)
    ]

    assert answers(objects, options) == answers(shuffled, options) == answers(renamed, options)


@MANY
@given(objects=strategies.clusters(), options=strategies.options())
def test_a_policy_split_rule_by_rule_changes_nothing(objects: list[KubeObject], options: Options) -> None:
    """Semantics 1.6 (b)."""
    split: list[KubeObject] = []
    for item in objects:
        if not isinstance(item, NetworkPolicy):
            split.append(item)
            continue
        bare = msgspec.structs.replace(item, ingress=(), egress=())
        split.append(bare)
        for side in ("ingress", "egress"):
            for number, one in enumerate(getattr(item, side)):
                split.append(msgspec.structs.replace(bare, name=f"{item.name}-{side}-{number}", **{side: (one,)}))

    assert answers(objects, options) == answers(split, options)


@MANY
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_a_further_rule_never_takes_anything_away(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    """Semantics 1.6 (c)."""
    policies = [item for item in objects if isinstance(item, NetworkPolicy)]
    if not policies:
        return
    chosen = data.draw(st.sampled_from(policies))
    more = data.draw(strategies.rules(strategies.peers(), strategies.policy_ports("TCP", "UDP")))
    wider = msgspec.structs.replace(chosen, ingress=(*chosen.ingress, more), egress=(*chosen.egress, more))
    before = admitted(objects, options)
    after = admitted([wider if item is chosen else item for item in objects], options)

    assert all(ports <= after[place] for place, ports in before.items())


@MANY
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_a_further_policy_takes_away_only_from_pods_that_it_newly_isolates(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    """Semantics 1.6 (d)."""
    objects = without_old(objects)
    new = data.draw(strategies.policies("default", "new").filter(lambda item: item.api_version != "extensions/v1beta1"))
    before = admitted(objects, options)
    after = admitted([*objects, new], options)
    engine = Cluster.from_objects(objects, options).model.engine
    for (source, destination, direction), ports in before.items():
        subject = source if direction is Direction.EGRESS else destination
        if not ports <= after[source, destination, direction]:
            assert subject.namespace == new.namespace
            assert not engine.applicable(direction, engine.state.members[subject])


@MANY
@given(objects=strategies.clusters(), options=strategies.options(), direction=st.sampled_from(("Ingress", "Egress")))
@example(objects=[pod("me"), policy("named", egress=[TO_A_NAME])], options=Options(), direction="Egress")
def test_a_policy_that_allows_all_makes_the_others_of_its_direction_moot(
    objects: list[KubeObject], options: Options, direction: str
) -> None:
    """Semantics 1.6 (e)."""
    objects = without_old(objects)
    options = options.with_value("icmp", "portless").with_value("legacy", "auto")
    names = {item.namespace for item in objects if isinstance(item, Pod)}
    allow = [
        policy("allow", ingress=[Rule()], namespace=name)
        if direction == "Ingress"
        else policy("allow", egress=[Rule()], namespace=name)
        for name in names
    ]
    without = [
        msgspec.structs.replace(item, policy_types=tuple(kind for kind in item.policy_types if kind != direction))
        if isinstance(item, NetworkPolicy)
        else item
        for item in objects
    ]

    assert answers([*objects, *allow], options) == answers(without, options)


# 2.6: which directions a policy isolates

ISOLATION = [
    ("{}", "deny-all", "none"),
    ("{ingress: [{}]}", "allow-all", "none"),
    ("{egress: [{}]}", "left out", "allow-all"),
    ("{egress: []}", "deny-all", "none"),
    ("{egress: null}", "deny-all", "none"),
    ("{ingress: []}", "deny-all", "none"),
    ("{policyTypes: []}", "deny-all", "none"),
    ("{policyTypes: [Ingress], egress: [{}]}", "deny-all", "none"),
    ("{policyTypes: [Egress], ingress: [{}]}", "none", "deny-all"),
    ("{policyTypes: [Ingress, Egress]}", "deny-all", "deny-all"),
    ("{policyTypes: [Egress, Egress]}", "none", "deny-all"),
    ("{policyTypes: [Egress], egress: [{}]}", "none", "allow-all"),
]
EFFECTS = {
    "deny-all": ("denied", "2.2"),
    "left out": ("denied", "2.3"),
    "allow-all": ("allowed", "2.2"),
    "none": ("allowed", "2.1"),
}


def written(spec: str, api_version: str = "networking.k8s.io/v1") -> list[KubeObject]:
    text = f"{{apiVersion: {api_version}, kind: NetworkPolicy, metadata: {{name: p, namespace: shop}}, spec: {spec}}}"
    documents, problems = parse(text.encode(), "p.yaml")
    objects, more = decode(documents)[:2]
    assert [problem for problem in (*problems, *more) if problem.severity == "error"] == []
    return list(objects)


@pytest.mark.parametrize(("spec", "ingress", "egress"), ISOLATION)
def test_effects_of_policy_types_and_rules(spec: str, ingress: str, egress: str) -> None:
    """Semantics 2.6; `none` leaves the decision to the default."""
    cluster = Cluster.from_objects([*written(spec), pod("me", "10.0.0.1"), pod("you", "10.0.0.2", namespace="dev")])
    into, out = cluster.check("dev/you", "shop/me", 80), cluster.check("shop/me", "dev/you", 80)

    assert (into.ingress.decision, into.ingress.semantics) == EFFECTS[ingress]
    assert (out.egress.decision, out.egress.semantics) == EFFECTS[egress]


# 3.2: empty and missing forms

PEERS = {"own": "shop/own", "other": "dev/other", "host": "dev/host", "node": "node:n2", "v4": "203.0.113.9", "v6": "2001:db8::9"}  # fmt: skip
EVERY = "host node other own v4 v6"
FORMS = [
    ("{}", EVERY, "icmp sctp tcp udp"),
    ("{from: []}", EVERY, "icmp sctp tcp udp"),
    ("{from: null, ports: null}", EVERY, "icmp sctp tcp udp"),
    ("{ports: []}", EVERY, "icmp sctp tcp udp"),
    ("{ports: [{}]}", EVERY, "tcp"),
    ("{ports: [{protocol: UDP}]}", EVERY, "udp"),
    ("{from: [{podSelector: {}}]}", "own", "icmp sctp tcp udp"),
    ("{from: [{namespaceSelector: {}}]}", "other own", "icmp sctp tcp udp"),
    ("{from: [{namespaceSelector: {}, podSelector: {}}]}", "other own", "icmp sctp tcp udp"),
    ("{from: [{podSelector: {}}, {ipBlock: {cidr: 0.0.0.0/0}}]}", "host node other own v4", "icmp sctp tcp udp"),
    ("{from: [{ipBlock: {cidr: '::/0'}}]}", "v6", "icmp sctp tcp udp"),
]


@pytest.mark.parametrize(("form", "peers", "protocols"), FORMS)
def test_meaning_of_empty_and_missing_forms(form: str, peers: str, protocols: str) -> None:
    """Semantics 3.2."""
    me = pod("me", "10.0.0.1", "fd00::1")
    cluster = Cluster.from_objects(
        [*written(f"{{ingress: [{form}]}}"), me, pod("own", "10.0.0.2"), pod("other", "10.0.0.3", namespace="dev"),
         pod("host", "172.18.0.2", namespace="dev", node="n2", host=True), space("dev")]
    )  # fmt: skip
    found = {name: {word: cluster.check(text, "shop/me", port).decision for word, port in
                    (("tcp", "80"), ("udp", "80/udp"), ("sctp", "80/sctp"), ("icmp", "icmp"))}
             for name, text in PEERS.items()}  # fmt: skip

    assert " ".join(sorted(name for name, row in found.items() if "allowed" in row.values())) == peers
    for name in peers.split():
        assert " ".join(sorted(word for word, answer in found[name].items() if answer == "allowed")) == protocols


# 4.3: requirements

TRUTH = {
    "In": ("denied", "allowed", "denied"),
    "NotIn": ("allowed", "denied", "allowed"),
    "Exists": ("denied", "allowed", "allowed"),
    "DoesNotExist": ("allowed", "denied", "denied"),
}


@pytest.mark.parametrize("operator", TRUTH)
@pytest.mark.parametrize("value", ["x", ""])
@pytest.mark.parametrize("where", ["pod", "namespace"])
def test_truth_table_of_requirements_in_check_and_listing(operator: str, value: str, where: str) -> None:
    """Semantics 4.3: the label absent, one of the values, another value; 4.4: the empty value is a value."""
    values = (value,) if operator in ("In", "NotIn") else ()
    selector = Selector((msgspec.convert({"key": "k", "operator": operator, "values": values}, Requirement),))
    peer = Peer(pod_selector=selector) if where == "pod" else Peer(namespace_selector=selector)
    kinds: list[dict[str, str]] = [{}, {"k": value}, {"k": "other"}]
    objects: list[KubeObject] = [pod("me", "10.0.0.1"), policy("p", pod_named("me"), ingress=[rule(peer)])]
    names = [f"shop/p{number}" if where == "pod" else f"ns{number}/p" for number in range(3)]
    for name, labels in zip(names, kinds, strict=True):
        namespace, _, own = name.partition("/")
        objects.append(pod(own, namespace=namespace, labels=labels if where == "pod" else {}))
        if where == "namespace":
            objects.append(space(namespace, **labels))
    cluster = Cluster.from_objects(objects)
    listed = {item.source for item in cluster.pod_connections(destination="shop/me", port=80)}

    assert tuple(cluster.check(name, "shop/me", 80).decision for name in names) == TRUTH[operator]
    assert [name in listed for name in names] == [answer == "allowed" for answer in TRUTH[operator]]


def pod_named(name: str) -> Selector:
    return Selector((Requirement("app", "In", (name,)),))


# 6.7: blocks at the boundaries of every except


@MANY
@given(one=strategies.blocks())
def test_blocks_admit_exactly_their_addresses(one: IPBlock) -> None:
    """Semantics 6.7, asked as people ask: on and beside both ends of the block and of each except."""
    whole = ipaddress.ip_network(one.cidr)
    excepts = [ipaddress.ip_network(text) for text in one.excepts]
    cluster = Cluster.from_objects(
        [pod("me", "fd00::99" if whole.version == 6 else "10.99.0.1"), policy("p", ingress=[rule(Peer(ip_block=one))])]
    )
    for item in (whole, *excepts):
        for edge in (item.network_address, item.broadcast_address):
            for step in (-1, 0, 1):
                number = int(edge) + step
                if not 0 < number < 2**edge.max_prefixlen:
                    continue
                address = type(edge)(number)
                if address.is_loopback or getattr(address, "ipv4_mapped", None):
                    continue
                inside = address in whole and not any(address in hole for hole in excepts)
                expected = "allowed" if inside else "denied"
                assert cluster.check(str(address), "shop/me", 80).decision == expected, address


# 10.10: the old form

OLD = [
    ("extensions/v1beta1", yes, selects, matches, ("allowed" if not yes or (selects and matches) else "denied"))
    for yes in (False, True)
    for selects in (True, False)
    for matches in (True, False)
]
NEW = [
    ("networking.k8s.io/v1", yes, selects, matches, ("allowed" if not selects or matches else "denied"))
    for yes in (False, True)
    for selects in (True, False)
    for matches in (True, False)
]


@pytest.mark.parametrize(("api_version", "annotated", "selects", "matches", "expected"), OLD + NEW)
def test_matrix_of_the_old_and_the_new_form(
    api_version: str, annotated: bool, selects: bool, matches: bool, expected: str
) -> None:
    """Semantics 10.10."""
    text = '{"ingress": {"isolation": "DefaultDeny"}}'
    annotations = {"net.beta.kubernetes.io/network-policy": text} if annotated else {}
    subject, peer = "me" if selects else "nobody", "you" if matches else "nobody"
    spec = f"{{podSelector: {{matchLabels: {{app: {subject}}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {peer}}}}}}}]}}]}}"  # fmt: skip
    objects = [
        *written(spec, api_version), pod("me"), pod("you"), Namespace(name="shop", labels={}, annotations=annotations),
    ]  # fmt: skip

    assert decision(objects, "shop/you", "shop/me", 80) == expected
    assert ("shop/you", "shop/me", "") in answers(objects) or expected == "denied"
    unread = "allowed" if not selects or matches else "denied"
    assert decision(objects, "shop/you", "shop/me", 80, "legacy=v1") == unread


def test_a_rule_with_ports_never_matches_other_protocols() -> None:
    """Semantics 7.12."""
    every = [PolicyPort("TCP"), PolicyPort("UDP"), PolicyPort("SCTP")]
    objects: list[KubeObject] = [pod("me"), policy("p", ingress=[rule(block("0.0.0.0/0"), ports=every)])]

    assert decision(objects, "203.0.113.9", "shop/me", "1-65535/sctp") == "allowed"
    assert decision(objects, "203.0.113.9", "shop/me", "icmp") == "denied"
