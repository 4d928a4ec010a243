# SPDX-License-Identifier: Apache-2.0
"""What is too large admits nothing, says so, and is the same whatever came first (semantics 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.kube.objects import Peer, PolicyPort, Requirement, Rule, Selector
from podfence.policy.budget import Size, refusals, size_of
from tests.policy.parts import app, block, pod, policy, rule, space
from tests.twin import boundaries, strategies
from tests.twin.effort import tried
from tests.twin.limits import limits
from tests.twin.question import Answer, PodEnd
from tests.twin.size import measure
from tests.twin.twin import Twin, is_live

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject, NetworkPolicy
    from podfence.policy.options import Options

ME, YOU = pod("me", "10.0.0.1"), pod("you", "10.0.0.2")
WEB = Peer(pod_selector=app("web"))


SIZES: list[tuple[str, NetworkPolicy, Size]] = [
    ("nothing", policy("p"), Size()),
    ("an empty rule", policy("p", ingress=[Rule()]), Size(rules=1, ports=1)),
    ("both directions", policy("p", ingress=[Rule()], egress=[Rule(), Rule()]), Size(rules=3, ports=3)),
    ("ports", policy("p", ingress=[rule(ports=[PolicyPort("TCP", 1, 9), PolicyPort("UDP")])]), Size(rules=1, ports=2)),
    ("ports with names", policy("p", egress=[rule(ports=[PolicyPort("TCP", "web"), PolicyPort("TCP", "db"), PolicyPort("TCP", 1)])]),
     Size(rules=1, ports=3, names=2)),
    ("a selector", policy("p", ingress=[rule(WEB)]), Size(rules=1, ports=1, selectors=1, values=2, selected=1)),
    ("a peer with two selectors", policy("p", ingress=[rule(Peer(app("a"), Selector((Requirement("k", "Exists"),))))]),
     Size(rules=1, ports=1, selectors=1, values=3, selected=1)),
    ("the subject", policy("p", Selector((Requirement("k", "In", ("a", "b", "c")),))), Size(values=4)),
    ("a block", policy("p", ingress=[rule(block("10.0.0.0/8"))]), Size(rules=1, blocks=1, ports=1, overlaps=1)),
    ("an exception", policy("p", ingress=[rule(block("10.0.0.0/8", "10.1.0.0/16"))]), Size(rules=1, blocks=2, ports=1, overlaps=2)),
    ("blocks side by side", policy("p", ingress=[rule(block("10.0.0.0/25"), block("10.0.0.128/25"))]),
     Size(rules=1, blocks=2, ports=1, overlaps=1)),
    ("one block inside another rule's", policy("p", ingress=[rule(block("10.0.0.0/8"), ports=[PolicyPort("TCP", 1)] * 5), rule(block("10.1.0.0/16"))]),
     Size(rules=2, blocks=2, ports=6, overlaps=16)),
    ("the same block in both directions", policy("p", ingress=[rule(block("::/0"))], egress=[rule(block("::/0"))]),
     Size(rules=2, blocks=2, ports=2, overlaps=2)),
]  # fmt: skip


@pytest.mark.parametrize(("item", "expected"), [row[1:] for row in SIZES], ids=[row[0] for row in SIZES])
def test_the_size_of_a_policy(item: NetworkPolicy, expected: Size) -> None:
    assert size_of(item) == expected
    assert measure(item) == expected


@tried(100)
@given(item=strategies.policies("default", "p"))
def test_sizes_are_those_that_the_twin_counts(item: NetworkPolicy) -> None:
    assert size_of(item) == measure(item)


ROOMY = Size(*[1000] * len(Size._fields))


@pytest.mark.parametrize("name", Size._fields)
def test_each_measure_has_a_limit_and_a_policy_at_it_is_not_refused(name: str) -> None:
    item = policy(
        "p", app("x"), ingress=[rule(WEB, block("10.0.0.0/8", "10.1.0.0/16"), ports=[PolicyPort("TCP", "w")] * 2)] * 2
    )
    size = size_of(item)
    for most, is_refused in ((getattr(size, name), False), (getattr(size, name) - 1, True)):
        with limits(ROOMY._replace(**{name: most}), ROOMY):
            assert bool(refusals([(item, size)], "standard")) is is_refused
        with limits(ROOMY, ROOMY._replace(**{name: most})):
            assert bool(refusals([(item, size)], "standard")) is is_refused


def test_a_policy_that_is_too_large_isolates_and_admits_nothing_and_the_answer_says_so() -> None:
    large = policy("p", app("me"), ingress=[rule(block("10.0.0.0/8"))] * 501)
    cluster = Cluster.from_objects([ME, YOU, large])
    verdict = cluster.check("shop/you", "shop/me", "80")
    sentence = "NetworkPolicy shop/p is too large: 501 rules, at most 500; it admits nothing"

    assert verdict.decision.value == "denied"
    assert sentence in str(verdict.ingress.summary)
    assert any(note.startswith(sentence) for note in cluster.notes)
    assert cluster.check("shop/me", "shop/you", "80").decision.value == "allowed"


def test_what_another_policy_admits_is_admitted_still() -> None:
    large = policy("p", ingress=[rule(WEB)] * 501)
    other = policy("q", ingress=[rule(Peer(pod_selector=app("you")))])
    assert Cluster.from_objects([ME, YOU, large, other]).check("shop/you", "shop/me", "80").decision.value == "allowed"


def test_the_policies_of_a_namespace_add_up_by_name_and_what_fits_after_one_that_does_not_counts() -> None:
    sizes = {"a": 3, "b": 9, "c": 6, "d": 1, "e": 1}
    items = [policy(name, ingress=[Rule()] * count) for name, count in sizes.items()]
    with limits(ROOMY._replace(rules=8), ROOMY._replace(rules=10)):
        found = refusals([(item, size_of(item)) for item in reversed(items)], "standard")
    assert found.keys() == {"b", "e"}
    assert found["b"] == "is too large: 9 rules, at most 8; it admits nothing"
    assert found["e"] == (
        "is too much for namespace shop: with the policies before it, by name, 11 rules, at most 10; it admits nothing"
    )


def test_a_policy_has_room_again_when_another_one_goes() -> None:
    first, second = (policy(name, ingress=[Rule()] * 6) for name in "ab")
    with limits(ROOMY, ROOMY._replace(rules=10)):
        cluster = Cluster.from_objects([space("shop"), ME, YOU, second])
        assert not cluster.notes
        change = cluster.apply(Event(EventType.ADDED, first))
        assert change.policies == {first.key, second.key}
        assert [note.partition(" is ")[0] for note in cluster.notes] == ["NetworkPolicy shop/b"]
        change = cluster.apply(Event(EventType.DELETED, first))
        assert change.policies == {first.key, second.key}
        assert not cluster.notes


@tried(150)
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_answers_are_those_of_the_twin_however_little_room_there_is(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    few = st.integers(0, 6)
    one, together = (Size(*data.draw(st.tuples(*[few] * len(Size._fields)))) for _ in range(2))
    options = options.with_value("budget", "standard")
    history = data.draw(strategies.events(objects, max_size=4))
    with limits(one, together):
        followed = Cluster.from_objects(objects, options)
        for kind, item in history:
            followed.apply(Event(EventType(kind), item))
        now = strategies.replay(objects, history)
        twin = Twin(now, options)
        pods = [PodEnd(item.namespace, item.name) for item in twin.pods if is_live(item)]
        for source in pods:
            for destination in pods:
                for traffic in boundaries.traffic(now)[:6]:
                    if traffic.port is None or not twin.share_family(source, destination):
                        continue
                    found = followed.check(
                        f"{source.namespace}/{source.name}", f"{destination.namespace}/{destination.name}",
                        f"{traffic.port}/{traffic.protocol.lower()}",
                    )  # fmt: skip
                    expected = twin.allowed(source, destination, traffic)
                    if expected is not Answer.MAYBE:
                        assert found.decision.value == {Answer.YES: "allowed", Answer.NO: "denied"}[expected]
