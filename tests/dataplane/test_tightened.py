# SPDX-License-Identifier: Apache-2.0
"""After which changes of policies flows are looked at: after all that may forbid something, and few others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.flows import Sides
from podfence.dataplane.tightened import before, tightened
from podfence.kube.objects import Node, Peer, PolicyPort
from podfence.sets.addresses import parse_address
from tests.policy.parts import app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import NetworkPolicy, Rule

NODE = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/28",))
DB = pod("db", "10.0.0.1", node="n1")
WEB = pod("web", "10.0.0.2", node="n1")
PEERS = [pod(f"{name}{number}", f"10.0.1.{place + number}", labels={"app": name}) for name, place in (("a", 10), ("b", 20)) for number in range(3)]  # fmt: skip
A, B = Peer(pod_selector=app("a")), Peer(pod_selector=app("b"))
HIGH = [PolicyPort("TCP", 8000, 9000)]


def db(*rules: Rule, name: str = "p") -> NetworkPolicy:
    """Return a policy for the ingress of db."""
    return policy(name, app("db"), ingress=rules)


@pytest.mark.parametrize("shared_from", [256, 1])
@pytest.mark.parametrize(
    ("old", "new", "less"),
    [
        ((), [db()], True),
        ((), [db(rule())], True),
        ([db()], (), False),
        ([db()], [db(rule())], False),
        ([db(rule())], [db()], True),
        ([db(rule())], [db(rule(A))], True),
        ([db(rule(A))], [db(rule())], False),
        ([db(rule(ports=HIGH))], [db(rule())], False),
        ([db(rule(ports=HIGH))], [db(rule(ports=[PolicyPort("TCP", 8000, 8999)]))], True),
        ([db()], [db(rule(A))], False),
        ([db(rule(A))], [db()], True),
        ([db(rule(A))], [db(rule(A), rule(B))], False),
        ([db(rule(A), rule(B))], [db(rule(A))], True),
        ([db(rule(A, ports=HIGH))], [db(rule(A))], False),
        ([db(rule(A))], [db(rule(A, ports=HIGH))], True),
        ([db(rule(A, ports=HIGH))], [db(rule(ports=[PolicyPort("TCP", 7000, 9000)]))], False),
        ([db(rule(A, ports=HIGH))], [db(rule(ports=[PolicyPort("TCP", 8001, 9000)]))], True),
        ([db(rule(block("192.0.2.0/24")))], [db(rule(block("192.0.0.0/16")))], False),
        ([db(rule(block("192.0.0.0/16")))], [db(rule(block("192.0.2.0/24")))], True),
        ([db(rule(block("192.0.2.0/24")))], [db(rule(block("192.0.2.0/24", "192.0.2.7/32")))], True),
        ([db(rule(block("192.0.2.0/24")))], [db(rule(block("192.0.2.0/24", "192.0.2.0/32")))], True),
        ([db(rule(block("192.0.2.0/24")))], [db(rule(block("192.0.2.0/24", "192.0.2.255/32")))], True),
        ([db(rule(block("192.0.2.0/24", "192.0.2.7/32")))], [db(rule(block("192.0.2.0/24")))], False),
        ([db(rule(block("192.0.2.0/24")))], [db(rule(block("192.0.2.0/25"), block("192.0.2.128/25")))], False),
        ([db(rule(block("192.0.2.0/24")))], [db(rule(block("192.0.2.0/25"), block("192.0.2.129/32")))], True),
        ([db(rule(block("192.0.2.0/24"), ports=HIGH))], [db(rule(ports=HIGH))], False),
        ([db(rule(A), name="p"), db(rule(B), name="q")], [db(rule(A), name="p")], True),
        ([db(rule(A), name="p")], [db(rule(A), name="p"), db(rule(B), name="q")], False),
        ([db(rule(A), name="p")], [db(rule(A), name="p"), policy("q", app("db"), egress=[])], True),
        ([policy("q", app("db"), egress=[rule(A)])], [policy("q", app("db"), egress=[rule(B)])], True),
    ],
)  # fmt: skip
def test_flows_of_a_pod_are_looked_at_where_less_may_be_admitted_than_before(
    old: list[NetworkPolicy], new: list[NetworkPolicy], less: bool, shared_from: int
) -> None:
    cluster = Cluster.from_objects([space("shop"), NODE, DB, WEB, *PEERS, *old])
    compiler = Compiler(cluster.model, "n1", shared_from=shared_from)
    was = before(compiler.program)
    there = {item.key: item for item in old}
    wanted = {item.key: item for item in new}
    events = [Event(EventType.DELETED, item) for key, item in there.items() if key not in wanted]
    events += [Event(EventType.MODIFIED, item) for item in new]
    for event in events:
        compiler.follow(cluster.apply(event))
    both = {parse_address(item.addresses[0]) for item in (DB, WEB)}
    lost = {parse_address("10.0.0.1")} if less else set()
    found = tightened(Sides.both(both), was, compiler.program)
    assert found == (
        Sides(opened=lost) if any("Egress" in item.policy_types for item in new) else Sides(answering=lost)
    )


def test_a_set_that_loses_a_pod_and_a_pod_that_comes_or_goes_count_as_less() -> None:
    cluster = Cluster.from_objects([space("shop"), NODE, DB, *PEERS, db(rule(A))])
    compiler = Compiler(cluster.model, "n1", shared_from=1)
    was = before(compiler.program)
    compiler.follow(cluster.apply(Event(EventType.DELETED, PEERS[0])))
    compiler.follow(cluster.apply(Event(EventType.ADDED, WEB)))
    both = {parse_address(item.addresses[0]) for item in (DB, WEB)}
    opened = {parse_address("10.0.0.2")}
    assert tightened(Sides.both(both), was, compiler.program) == Sides(opened, both)
    was = before(compiler.program)
    compiler.follow(cluster.apply(Event(EventType.DELETED, WEB)))
    assert tightened(Sides.both(both), was, compiler.program) == Sides.both(opened)
