# SPDX-License-Identifier: Apache-2.0
"""Policies in all three tiers are enforced as engine and twin answer; the kind of the outer tiers is the tests' own."""

from __future__ import annotations

from random import Random

import pytest

from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.flows import Judge, Sides
from podfence.dataplane.settings import Settings
from podfence.dataplane.tightened import before, tightened
from podfence.dataplane.tracing import side
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from podfence.sets.addresses import family_of
from tests.dataplane import dense
from tests.dataplane.simulate import forwarded
from tests.dataplane.test_against_engine import (
    assert_as_the_engine_says,
    assert_as_the_twin_says,
    assert_same,
    followed,
    programmed,
    started,
)
from tests.dataplane.test_flows import ENDS, FLOWS, OWN, TRAFFIC, flow
from tests.policy.clusterwide import TieredCluster
from tests.twin.clusterwide import Parts, drawn, shown
from tests.twin.effort import part
from tests.twin.twin import Twin

DENSE = Parts(dense.selector, dense.selector, dense.BLOCKS, dense.PORTS)


@pytest.mark.parametrize("start", range(0, part(300), 10))
def test_policies_in_all_tiers_are_enforced_as_engine_and_twin_answer_after_every_event(start: int) -> None:
    for seed in range(start, start + 10):
        random = Random(seed)
        objects, options, policies = dense.cluster(random), dense.options(random), drawn(random, DENSE)
        shared_from = random.choice((256, 1, 2, 3))
        cluster = TieredCluster(objects, options, policies)
        enforcers = started(cluster, shared_from)
        history = dense.events(random, objects, 3)
        for now in followed(cluster, enforcers, objects, history):
            everything = [*now, *shown(policies)]
            rulesets = {node: programmed(enforcer) for node, enforcer in enforcers.items()}
            assert_as_the_engine_says(cluster, everything, rulesets)
            assert_as_the_twin_says(random, cluster, Twin(now, options, policies), everything, rulesets)
        fresh = started(TieredCluster(now, options, policies), shared_from)
        for node, ruleset in rulesets.items():
            assert_same(ruleset, fresh[node].wanted)


@pytest.mark.parametrize("start", range(0, part(100), 10))
def test_a_program_of_all_tiers_admits_and_credits_what_its_table_does(start: int) -> None:
    for seed in range(start, start + 10):
        random = Random(seed)
        cluster = TieredCluster(dense.cluster(random), dense.options(random), drawn(random, DENSE))
        found = Compiler(cluster.model, "n1", shared_from=random.choice((256, 1, 2))).program
        ruleset = Builder(Settings()).build(found)
        judge = Judge(found, {OWN})
        for source, destination in random.sample([(one, other) for one in ENDS for other in ENDS], 60):
            if OWN in (source, destination) or source == destination or family_of(source) != family_of(destination):
                continue
            passes = forwarded(ruleset, source, destination)
            sides = (
                side(found, Direction.EGRESS, source, destination),
                side(found, Direction.INGRESS, destination, source),
            )
            assert passes == sides[0].admitted & sides[1].admitted, (seed, source, destination)
            for protocol, port in TRAFFIC:
                wanted = PortSet.OTHER if protocol == "ICMP" else PortSet.single(protocol, port)
                case = (seed, source, destination, protocol, port)
                assert judge.admits(flow(source, destination, protocol, port)) is (wanted <= passes), case


@pytest.mark.parametrize("start", range(0, part(100), 10))
def test_flows_of_addresses_for_which_nothing_was_tightened_in_any_tier_stay_admitted(start: int) -> None:
    spared = 0
    for seed in range(start, start + 10):
        random = Random(seed)
        objects = dense.cluster(random)
        cluster = TieredCluster(objects, dense.options(random), drawn(random, DENSE))
        compiler = Compiler(cluster.model, "n1", shared_from=random.choice((256, 1)))
        for event in dense.policy_events(random, objects, 4):
            old, judge = before(compiler.program), Judge(compiler.program, {OWN})
            flows = [item for item in random.sample(FLOWS, 300) if judge.admits(item)]
            compiler.follow(cluster.apply(event))
            local = {address for address in ENDS if address in compiler.program.known}
            lost = tightened(Sides.both(local), old, compiler.program)
            looked_at = lost.union(Sides.both(old.known - local))
            judge = Judge(compiler.program, {OWN})
            for item in flows:
                if not looked_at.has(item):
                    assert judge.admits(item), (seed, event, item)
            spared += len(local - lost.opened) + len(local - lost.answering)
    assert spared
