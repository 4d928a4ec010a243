# SPDX-License-Identifier: Apache-2.0
"""What the kernel would do is what the engine answers: for random clusters, and after random events."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from podfence.api import Cluster
from podfence.cluster.nodes import node_addresses
from podfence.cluster.state import Event, EventType
from podfence.dataplane.compiler import AT_ONCE
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.groups import MOST_LISTED
from podfence.dataplane.ruleset import TABLE, Ruleset, read_back
from podfence.kube.objects import NetworkPolicy
from podfence.policy.budget import Size, size_of
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet, family_of, format_address, parse_address
from tests.dataplane import dense
from tests.dataplane.simulate import forwarded, taken_in
from tests.nft.fake import FakeRunner
from tests.twin import boundaries, strategies
from tests.twin.addresses import parse_address as parse_twin
from tests.twin.effort import part, tried
from tests.twin.limits import limits
from tests.twin.question import AddressEnd as TwinAddress
from tests.twin.question import Answer
from tests.twin.twin import Twin, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import KubeObject
    from podfence.nft.transaction import Transaction
    from podfence.policy.ends import End
    from podfence.policy.options import Options
    from tests.twin.addresses import Address
    from tests.twin.question import Traffic

MANY = tried(150)
NODES = ("n1", "n2", "")

ENFORCEABLE = {
    "ip_block_pods": "match",
    "ip_block_nodes": "match",
    "host_network": "node",
    "self_traffic": "allowed",
}


@st.composite
def enforceable(draw: st.DrawFn) -> Options:
    options = draw(strategies.options())
    for name, value in ENFORCEABLE.items():
        options = options.with_value(name, value)
    return options


SHARED_FROM = st.sampled_from((256, 1, 2, 3))


class Recording(FakeRunner):
    """A fake that refuses to make the table anew: a difference must do."""

    def run(self, transaction: Transaction) -> None:
        assert "delete table" not in transaction.counts
        super().run(transaction)


def started(cluster: Cluster, shared_from: int) -> dict[str, Enforcer]:
    """Return an enforcer for each node; with small sets, what is out of use is given up at once too.

    With small sets, some list hardly any pods, and some take changes in many slices.
    """
    listed = {1: 0, 2: 3}.get(shared_from, MOST_LISTED)
    at_once = {2: 1, 3: 3}.get(shared_from, AT_ONCE)
    cluster.model.index.looks.patience = 64 if shared_from == 256 else 0
    found = {}
    for node in NODES:
        found[node] = enforcer = Enforcer(
            Recording(), node, cluster.model, shared_from=shared_from, most_listed=listed, at_once=at_once
        )
        enforcer.start()
    return found


def programmed(enforcer: Enforcer) -> Ruleset:
    while enforcer.is_behind:
        enforcer.catch_up()
    return read_back(enforcer._runner.contents(TABLE))


def numbers(objects: Sequence[KubeObject]) -> list[int]:
    found = {parse_address(text) for text in boundaries.addresses(objects)}
    return sorted(number for number in found if number not in AddressSet.LOOPBACK)


def end_at(cluster: Cluster, address: int) -> End:
    claims = [member for member in cluster.state.members.values() if address in member.addresses and not member.host]
    if claims:
        names = {member.name: member for member in claims}
        pods = [member.pod for member in claims if member.pod]
        owner = owner_of(boundary(address), pods)
        assert owner
        return PodEnd(names[f"{owner.namespace}/{owner.name}"], address, family_of(address))
    for name, known in node_addresses(cluster.state).items():
        if address in known:
            return NodeEnd(name, address, family_of(address))
    return AddressEnd(address)


def boundary(address: int) -> Address:
    return parse_twin(format_address(address))


def passed(rulesets: dict[str, Ruleset], source: int, destination: int, left: End, right: End) -> PortSet | None:
    """Return the ports that pass all nodes on the way; None for what no node forwards."""
    if isinstance(right, PodEnd) and isinstance(left, NodeEnd) and left.name == right.member.node:
        return None
    if isinstance(left, PodEnd) and isinstance(right, NodeEnd) and left.member.node == right.name:
        return taken_in(rulesets[right.name], source, destination) if right.name in rulesets else None
    found = PortSet.ALL
    for ruleset in rulesets.values():
        found &= forwarded(ruleset, source, destination)
    return found


def pairs(objects: Sequence[KubeObject]) -> Iterator[tuple[int, int]]:
    known = numbers(objects)
    for source in known:
        for destination in known:
            if family_of(source) == family_of(destination):
                yield source, destination


def assert_as_the_engine_says(cluster: Cluster, objects: Sequence[KubeObject], rulesets: dict[str, Ruleset]) -> None:
    ends = {number: end_at(cluster, number) for number in numbers(objects)}
    for source, destination in pairs(objects):
        left, right = ends[source], ends[destination]
        if isinstance(left, NodeEnd | AddressEnd) and isinstance(right, NodeEnd | AddressEnd):
            continue
        same = isinstance(left, PodEnd) and isinstance(right, PodEnd) and left.member is right.member
        if same and isinstance(right, PodEnd):
            # What a pod sends to itself passes its node only through a Service.
            right = replace(right, through_service=True)
        found = passed(rulesets, source, destination, left, right)
        if found is not None:
            expected = cluster.model.engine.allowed(left, right, Bound.OPTIMISTIC)
            assert found == expected, (left, right)


@MANY
@given(objects=strategies.clusters(), options=enforceable(), shared_from=SHARED_FROM)
def test_the_program_of_all_nodes_admits_exactly_what_the_engine_allows(
    objects: list[KubeObject], options: Options, shared_from: int
) -> None:
    cluster = Cluster.from_objects(objects, options)
    rulesets = {node: programmed(enforcer) for node, enforcer in started(cluster, shared_from).items()}

    assert_as_the_engine_says(cluster, objects, rulesets)


@tried(40)
@given(data=st.data(), objects=strategies.clusters(), options=enforceable(), shared_from=SHARED_FROM)
def test_the_program_admits_exactly_what_the_twin_allows(
    data: st.DataObject, objects: list[KubeObject], options: Options, shared_from: int
) -> None:
    cluster = Cluster.from_objects(objects, options)
    rulesets = {node: programmed(enforcer) for node, enforcer in started(cluster, shared_from).items()}
    twin = Twin(objects, options)
    everything = [pair for pair in pairs(objects) if pair[0] != pair[1]]
    some = st.lists(st.sampled_from(everything), max_size=40) if everything else st.just([])
    for source, destination in data.draw(some):
        left, right = end_at(cluster, source), end_at(cluster, destination)
        if not isinstance(left, PodEnd) and not isinstance(right, PodEnd):
            continue
        if isinstance(left, PodEnd) and isinstance(right, PodEnd) and left.member is right.member:
            continue
        found = passed(rulesets, source, destination, left, right)
        if found is None:
            continue
        for traffic in boundaries.traffic(objects):
            answer = twin.allowed(TwinAddress(str(boundary(source))), TwinAddress(str(boundary(destination))), traffic)
            assert answer is (Answer.YES if ports_of(traffic) <= found else Answer.NO), (left, right, traffic)


def ports_of(traffic: Traffic) -> PortSet:
    return PortSet.OTHER if traffic.port is None else PortSet.single(traffic.protocol, traffic.port)


@MANY
@given(data=st.data(), objects=strategies.clusters(), options=enforceable(), shared_from=SHARED_FROM)
def test_differences_after_events_amount_to_a_fresh_start(
    data: st.DataObject, objects: list[KubeObject], options: Options, shared_from: int
) -> None:
    cluster = Cluster.from_objects(objects, options)
    enforcers = started(cluster, shared_from)
    history = data.draw(strategies.events(objects))
    for kind, item in history:
        change = cluster.apply(Event(EventType(kind), item))
        for enforcer in enforcers.values():
            enforcer.apply(change)

    now = strategies.replay(objects, history)
    fresh = started(Cluster.from_objects(now, options), shared_from)
    rulesets = {node: programmed(enforcer) for node, enforcer in enforcers.items()}
    for node, ruleset in rulesets.items():
        assert_same(ruleset, fresh[node].wanted)
        assert enforcers[node].verify() == ()
    assert_as_the_engine_says(cluster, now, rulesets)


def followed(
    cluster: Cluster, enforcers: dict[str, Enforcer], objects: list[KubeObject], history: list[Event]
) -> Iterator[list[KubeObject]]:
    """Yield the objects at first and after each event, when the cluster and its enforcers have followed it."""
    yield objects
    for number, event in enumerate(history, 1):
        change = cluster.apply(event)
        for enforcer in enforcers.values():
            enforcer.apply(change)
        yield dense.after(objects, history[:number])


@pytest.mark.parametrize("start", range(0, part(400), 20))
def test_dense_clusters_are_enforced_as_the_engine_answers_after_every_event(start: int) -> None:
    for seed in range(start, start + 20):
        random = Random(seed)
        objects, options = dense.cluster(random), dense.options(random)
        shared_from = random.choice((256, 1, 2, 3))
        cluster = Cluster.from_objects(objects, options)
        enforcers = started(cluster, shared_from)
        history = dense.events(random, objects, 6)
        for now in followed(cluster, enforcers, objects, history):
            rulesets = {node: programmed(enforcer) for node, enforcer in enforcers.items()}
            assert_as_the_engine_says(cluster, now, rulesets)
        fresh = started(Cluster.from_objects(now, options), shared_from)
        for node, ruleset in rulesets.items():
            assert_same(ruleset, fresh[node].wanted)


def near(random: Random, sizes: Sequence[Size]) -> Size:
    """Return limits at, just above or just below what there is of each measure in one of some policies."""
    found = random.choice(sizes)
    return Size(*(max(0, figure + random.choice((-1, 0, 0, 0, 1, 5))) for figure in found))


@pytest.mark.parametrize("start", range(0, part(300), 20))
def test_policies_near_the_budget_are_enforced_as_engine_and_twin_answer(start: int) -> None:
    refused = admitted = 0
    for seed in range(start, start + 20):
        random = Random(seed)
        objects, options = dense.cluster(random), dense.options(random)
        sizes = [size_of(item) for item in objects if isinstance(item, NetworkPolicy)]
        one, other = near(random, sizes), near(random, sizes)
        with limits(one, one.plus(other) if random.random() < 0.5 else one.times(20)):
            cluster = Cluster.from_objects(objects, options)
            enforcers = started(cluster, random.choice((256, 1, 2, 3)))
            history = dense.policy_events(random, objects, 3)
            for now in followed(cluster, enforcers, objects, history):
                rulesets = {node: programmed(enforcer) for node, enforcer in enforcers.items()}
                assert_as_the_engine_says(cluster, now, rulesets)
                assert_as_the_twin_says(random, cluster, Twin(now, options), now, rulesets)
            for name in cluster.state.namespaces:
                for policy in cluster.model.engine.policies(name):
                    refused += bool(policy.refused)
                    admitted += not policy.refused
    assert refused
    assert admitted


def assert_as_the_twin_says(
    random: Random, cluster: Cluster, twin: Twin, objects: list[KubeObject], rulesets: dict[str, Ruleset]
) -> None:
    """Compare some connections, between pods that are not the same."""
    known = [number for number in numbers(objects) if isinstance(end_at(cluster, number), PodEnd)]
    everything = [pair for pair in pairs(objects) if pair[0] != pair[1] and {*pair} & {*known}]
    for source, destination in random.sample(everything, min(8, len(everything))):
        left, right = end_at(cluster, source), end_at(cluster, destination)
        if isinstance(left, PodEnd) and isinstance(right, PodEnd) and left.member is right.member:
            continue
        found = passed(rulesets, source, destination, left, right)
        if found is None:
            continue
        traffic = list(boundaries.traffic(objects))
        for item in random.sample(traffic, min(6, len(traffic))):
            answer = twin.allowed(TwinAddress(str(boundary(source))), TwinAddress(str(boundary(destination))), item)
            assert answer is (Answer.YES if ports_of(item) <= found else Answer.NO), (left, right, item)


def assert_same(one: Ruleset, other: Ruleset) -> None:
    assert one.chains.keys() == other.chains.keys()
    for name, body in one.chains.items():
        assert body.same_as(other.chains[name]), name
    assert {name: dict(body.elements) for name, body in one.sets.items()} == {
        name: dict(body.elements) for name, body in other.sets.items()
    }
