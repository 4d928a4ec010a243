# SPDX-License-Identifier: Apache-2.0
"""A change that is proposed admits what was asked, and besides only what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.analysis.pairs import as_ends
from podfence.api import Cluster
from podfence.kube.decode import decode
from podfence.kube.objects import NetworkPolicy, Peer, PolicyPort
from podfence.kube.yaml import parse
from podfence.policy.changes import LabelTemplate, NewPolicy, applied, manifest
from podfence.policy.ends import PodEnd
from podfence.policy.engine import Bound
from podfence.policy.opening import EVERY_DESTINATION, EVERY_SOURCE, end_text
from podfence.policy.remedies import remedies, stable_labels
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from tests.policy.parts import app, pod, policy, rule, space
from tests.twin import strategies
from tests.twin.effort import tried
from tests.twin.question import Answer, Traffic
from tests.twin.question import PodEnd as TwinPod
from tests.twin.twin import Place, Twin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import KubeObject
    from podfence.policy.changes import Remedy
    from podfence.policy.engine import Engine
    from podfence.policy.options import Options

Gains = dict[tuple[str, str], PortSet]


def with_change(objects: Sequence[KubeObject], remedy: Remedy, subject: PodEnd, peer: PodEnd) -> list[KubeObject]:
    """Return the objects as they are after a change."""
    change = remedy.change
    space = subject.member.namespace
    policies = {item.name: item for item in objects if isinstance(item, NetworkPolicy) and item.namespace == space}
    if isinstance(change, LabelTemplate):
        raise TypeError(peer)
    new = applied(change, policies)
    assert new is not None
    kept = [item for item in objects if not (isinstance(item, NetworkPolicy) and item.key == new.key)]
    return [*kept, new]


def gained(direction: Direction, before: Engine, after: Engine) -> Gains:
    """Return what is admitted in a direction between all pods after a change that was not before."""
    found: Gains = {}
    ends = [end for member in before.state.members.values() for end in as_ends(before, member)]
    for source in ends:
        for destination in ends:
            subject, peer = (source, destination) if direction is Direction.EGRESS else (destination, source)
            if not isinstance(subject, PodEnd) or not isinstance(peer, PodEnd):
                continue
            if subject.family != peer.family or subject.member.key == peer.member.key:
                continue
            now, then = (e.admitted(direction, source, destination, Bound.PESSIMISTIC) for e in (after, before))
            if now - then:
                pair = end_text(source), end_text(destination)
                found[pair] = found.get(pair, PortSet.EMPTY) | (now - then)
    return found


@st.composite
def denials(draw: st.DrawFn) -> tuple[list[KubeObject], Options, Direction, PodEnd, PodEnd, int]:
    """Return a random cluster with a connection between two pods that one direction denies on a TCP port."""
    objects = draw(strategies.clusters())
    options = draw(strategies.options()).with_value("world", "closed")
    engine = Cluster.from_objects(objects, options).model.engine
    found = []
    ends = [end for member in engine.state.members.values() for end in as_ends(engine, member)]
    for direction in Direction:
        for subject in ends:
            for peer in ends:
                if not isinstance(subject, PodEnd) or not isinstance(peer, PodEnd) or subject.family != peer.family:
                    continue
                if subject.member.key == peer.member.key:
                    continue
                ways = (subject, peer) if direction is Direction.EGRESS else (peer, subject)
                high = engine.admitted(direction, *ways, Bound.OPTIMISTIC)
                found += [(direction, subject, peer, port) for port in (80, 81, 443) if port not in high_ports(high)]
    if not found:
        return objects, options, Direction.INGRESS, *ends_of_nothing(), 0
    return objects, options, *draw(st.sampled_from(found))


def high_ports(ports: PortSet) -> list[int]:
    return [port for port in (80, 81, 443) if PortSet.single("TCP", port) <= ports]


def ends_of_nothing() -> tuple[PodEnd, PodEnd]:
    engine = Cluster.from_objects([space("x"), pod("x", "10.9.9.9")]).model.engine
    (member,) = engine.state.members.values()
    end = PodEnd(member, None, 4)
    return end, end


@tried(150)
@given(drawn=denials())
def test_each_proposal_admits_what_was_asked_and_what_it_says(
    drawn: tuple[list[KubeObject], Options, Direction, PodEnd, PodEnd, int],
) -> None:
    objects, options, direction, subject, peer, port = drawn
    if not port:
        return
    before = Cluster.from_objects(objects, options).model.engine
    asked = PortSet.single("TCP", port)
    sure, maybe = before.concerned(direction, subject)
    for remedy in remedies(before, direction, subject, peer, asked, (*sure, *maybe)):
        if isinstance(remedy.change, LabelTemplate):
            continue
        changed = with_change(objects, remedy, subject, peer)
        after = Cluster.from_objects(changed, options).model.engine
        assert is_admitted_by_twin(changed, options, direction, subject, peer, port), remedy.text

        found = gained(direction, before, after)
        names = (end_text(subject), end_text(peer))
        mine = names if direction is Direction.EGRESS else names[::-1]
        left = found.pop(mine, PortSet.EMPTY) - asked
        if left:
            found[mine] = left
        every = {EVERY_SOURCE, EVERY_DESTINATION}
        wide = [item for item in remedy.also if item.source in every or item.destination in every]
        if not wide:
            said = {(item.source, item.destination): item.ports for item in remedy.also}
            # Of two pods of one name in the answer the text tells as of one.
            assert said == {pair: str(ports) for pair, ports in found.items()}, remedy.text
        for source, destination in found if wide else ():
            assert any(
                item.source in (source, EVERY_SOURCE) and item.destination in (destination, EVERY_DESTINATION)
                for item in wide
            ), (remedy.text, source, destination)


def is_admitted_by_twin(
    objects: Sequence[KubeObject], options: Options, direction: Direction, subject: PodEnd, peer: PodEnd, port: int
) -> bool:
    twin = Twin(objects, options)
    traffic = Traffic("TCP", port)
    one, other = (place_of(twin, end) for end in (subject, peer))
    if direction is Direction.EGRESS:
        return twin.egress(one, other, traffic) is Answer.YES
    return twin.ingress(other, one, traffic) is Answer.YES


def place_of(twin: Twin, end: PodEnd) -> Place:
    found = twin.places(TwinPod(end.member.namespace, end.member.key.name))
    return next(place for place in found if place.family == end.family)


API, DB = pod("api", "10.0.0.1"), pod("db", "10.0.0.2")
CLOSED = policy("closed", app("db"), ingress=[])
SHARED = policy("shared", ingress=[])


def proposed(*objects: KubeObject, source: str = "shop/api", destination: str = "shop/db") -> list[str]:
    verdict = Cluster.from_objects([space("shop"), *objects]).explain(source, destination, 80)
    return [item.text for reason in (verdict.egress, verdict.ingress) for item in reason.remedies]


TCP_80 = (PolicyPort("TCP", 80),)
FROM_API, FROM_WEB = (Peer(pod_selector=app(name)) for name in ("api", "web"))
ANOTHER_NS = pod("api", "10.0.0.3", namespace="other")


@pytest.mark.parametrize(
    ("objects", "source", "text"),
    [
        ((API, DB, CLOSED), "shop/api", "add to NetworkPolicy shop/closed an ingress rule for TCP 80 from podSelector app=api"),
        ((API, DB, SHARED), "shop/api", "add to namespace shop a NetworkPolicy for app=db with an ingress rule for TCP 80 from podSelector app=api"),
        ((API, DB, policy("p", app("db"), ingress=[rule(FROM_WEB, ports=TCP_80)])), "shop/api", "add to `from` of rule 1 of NetworkPolicy shop/p: podSelector app=api"),
        ((API, DB, policy("p", app("db"), ingress=[rule(FROM_API, ports=(PolicyPort("TCP", 81),))])), "shop/api", "add to the ports of rule 1 of NetworkPolicy shop/p: TCP 80"),
        ((API, DB, policy("p", app("db"), ingress=[rule(FROM_WEB)])), "shop/api", "add to NetworkPolicy shop/p an ingress rule for TCP 80 from podSelector app=api"),
        ((ANOTHER_NS, DB, CLOSED), "other/api", "add to NetworkPolicy shop/closed an ingress rule for TCP 80 from namespaceSelector kubernetes.io/metadata.name=other with podSelector app=api"),
        ((DB, CLOSED), "203.0.113.9", "add to NetworkPolicy shop/closed an ingress rule for TCP 80 from ipBlock 203.0.113.9/32"),
        ((DB, CLOSED), "203.0.113.0/24", "add to NetworkPolicy shop/closed an ingress rule for TCP 80 from ipBlock 203.0.113.0/24"),
        ((pod("bare", "10.0.0.5", labels={}), DB, policy("p", app("db"), ingress=[rule(FROM_API, ports=TCP_80)])), "shop/bare", "label the template of shop/bare with app=api"),
    ],
)  # fmt: skip
def test_the_narrowest_change_comes_first(objects: tuple[KubeObject, ...], source: str, text: str) -> None:
    assert proposed(*objects, source=source) == [text]


def test_what_a_change_opens_besides_is_said() -> None:
    """Without a label of its own a source cannot be told from its neighbours."""
    (text,) = proposed(pod("bare", "10.0.0.5", labels={}), API, DB, CLOSED, source="shop/bare")

    assert text == (
        "add to NetworkPolicy shop/closed an ingress rule for TCP 80 from podSelector {}; "
        "that also opens shop/api -> shop/db TCP 80"
    )


def test_types_that_were_left_out_are_the_cause() -> None:
    """Semantics 2.3."""
    manifest_of = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  egress: [{}]
"""
    documents, _ = parse(manifest_of.encode(), "out.yaml")
    (out,) = decode(documents).objects
    first, second = proposed(API, DB, out)

    assert first.startswith("write `policyTypes: [Egress]` into NetworkPolicy shop/out (out.yaml:")
    assert first.endswith("that also opens every source -> shop/db all ports")
    assert "add to NetworkPolicy shop/out" in second


def test_nothing_is_proposed_for_what_is_allowed() -> None:
    assert proposed(API, DB) == []


def test_labels_that_pass_are_in_no_proposal() -> None:
    labels = {
        "app": "api",
        "app.kubernetes.io/version": "1.2",
        "helm.sh/chart": "api-1.2",
        "pod-template-hash": "5d4f8c7b9f",
        "batch.kubernetes.io/controller-uid": "1a2b",
        "warm-pool": "3884c4c9",
    }
    (member,) = Cluster.from_objects([space("shop"), pod("api", "10.0.0.1", labels=labels)]).state.members.values()

    assert stable_labels(member) == {"app": "api"}


def test_a_new_policy_is_written_as_it_would_be() -> None:
    verdict = Cluster.from_objects([space("shop"), API, DB, SHARED]).explain("shop/api", "shop/db", 80)
    (remedy,) = verdict.ingress.remedies
    assert isinstance(remedy.change, NewPolicy)
    written = applied(remedy.change, {})

    assert written is not None
    assert manifest(written) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "db-ingress", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"protocol": "TCP", "port": 80}]}
            ],
        },
    }
