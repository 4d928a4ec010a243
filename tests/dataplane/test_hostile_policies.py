# SPDX-License-Identifier: Apache-2.0
"""What one tenant writes costs a node about as much as it is long, however it is written.

Times are of the processor, and the limits far above what it takes, also where it is slow or coverage is measured; what
was once wrong took many times as long.
"""

from __future__ import annotations

import time

import pytest

from bench.hostile import NAMESPACE, NODE, SHAPES
from podfence.api import Cluster
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.settings import Settings
from podfence.kube.objects import PolicyPort
from podfence.sets import PortSet
from podfence.sets.addresses import parse_address
from tests.dataplane.simulate import forwarded
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, rule, space


@pytest.mark.parametrize(
    ("shape", "rules", "count"),
    [
        ("nested", 1500, 1500),
        ("excepts", 100, 100),
        ("same-port", 100, 100),
        ("overlapping-ports", 60, 60),
        ("cut-up", 240, 1600),
        ("many-ports", 20, 1000),
        ("selectors", 10, 20),
        ("different-selectors", 10, 20),
        ("random-pods", 100, 2),
        ("values", 50, 50),
        ("port-names", 200, 50),
        ("groups", 40, 40),
        ("groups-of-blocks", 40, 40),
        ("many-policies", 60, 60),
    ],
)
def test_a_hostile_policy_is_compiled_in_seconds(shape: str, rules: int, count: int) -> None:
    objects = SHAPES[shape](rules, count)
    begin = time.process_time()
    Enforcer(FakeRunner(), NODE, Cluster.from_objects(objects).model)
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("shape", "rules", "count"),
    [
        ("nested", 40, 40),
        ("excepts", 20, 20),
        ("same-port", 20, 20),
        ("subsets", 20, 30),
        ("overlapping-ports", 20, 20),
        ("cut-up", 40, 200),
        ("many-ports", 10, 50),
        ("groups", 12, 20),
        ("many-policies", 20, 20),
    ],
)
def test_what_is_in_the_table_is_bounded_by_what_the_budget_counts(shape: str, rules: int, count: int) -> None:
    """An element is about ten letters, and a port with its verdict is in as many ranges as the budget counts it."""
    follower = Cluster.from_objects(SHAPES[shape](rules, count))
    wanted = Enforcer(FakeRunner(), NODE, follower.model).wanted
    counted = sum(policy.size.overlaps + policy.size.ports for policy in follower.model.engine.policies(NAMESPACE))
    letters = sum(len(item.text) for chain in wanted.chains.values() for item in chain.rules)
    elements = sum(len(body.elements) for body in wanted.sets.values())
    assert letters + 10 * elements < 60 * counted


@pytest.mark.parametrize("shape", ["groups", "groups-of-blocks"])
def test_groups_with_the_same_large_policy_share_its_table(shape: str) -> None:
    wanted = Enforcer(FakeRunner(), NODE, Cluster.from_objects(SHAPES[shape](20, 20)).model).wanted
    large = [body for body in wanted.sets.values() if len(body.elements) > 400]
    assert len(large) == 1


def test_a_lookup_of_many_ports_is_cut_into_pages_that_groups_share_and_admits_the_same() -> None:
    many = policy("many", ingress=[rule(ports=[PolicyPort("TCP", 2 * number) for number in range(1, 600)])])
    more = policy("more", app("web"), ingress=[rule(ports=[PolicyPort("TCP", 601)])])
    pods = [pod("db", "10.0.0.1", node="n1"), pod("web", "10.0.0.2", node="n1")]
    lookups: list[set[str]] = []
    for policies in ([many], [many, more]):
        program = Compiler(Cluster.from_objects([space("shop"), *pods, *policies]).model, "n1").program
        ruleset = Builder(Settings()).build(program)
        lookups.append({item.text for chain in ruleset.chains.values() for item in chain.rules if "dport vmap" in item.text})  # fmt: skip
    assert max(text.count(" : ") for text in lookups[1]) < 128
    assert 600 / 127 < len(lookups[0]) < 50
    assert len(lookups[1] - lookups[0]) <= 4
    even = PortSet.union(PortSet.single("TCP", 2 * number) for number in range(1, 600))
    passes = [forwarded(ruleset, *map(parse_address, ("192.0.2.1", f"10.0.0.{number}"))) for number in (1, 2)]
    assert passes == [even, even | PortSet.single("TCP", 601)]
