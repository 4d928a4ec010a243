# SPDX-License-Identifier: Apache-2.0
"""Random clusters with policies in all three tiers: single connections, listings and bounds are the slow twin's."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.analysis.asked import ListQuestion
from podfence.analysis.connectivity import pod_connections
from podfence.analysis.pairs import NoCommonFamilyError, pairs
from podfence.analysis.parsing import parse_endpoint
from podfence.analysis.ports import parse_port
from podfence.cluster.state import ClusterState
from podfence.kube.objects import IPBlock, PolicyPort, Requirement, Selector
from podfence.policy.engine import Bound, Engine
from podfence.policy.extent import extent
from podfence.policy.model import Model
from podfence.policy.options import KINDS, Options
from podfence.policy.reasons import reason
from podfence.policy.verdict import Direction
from podfence.policy.world import World
from podfence.sets import PortSet
from tests.analysis.test_check_against_twin import DECISIONS, endpoint_text, engine_answer, traffic_point, whole_pods
from tests.analysis.test_completions import MOST, asked_of, end_text
from tests.analysis.test_list_against_twin import is_block, judged_pods, listed
from tests.dataplane import dense
from tests.policy.clusterwide import compiled
from tests.twin import boundaries
from tests.twin.clusterwide import Parts, drawn, says, shown
from tests.twin.completions import completed, completions
from tests.twin.effort import part
from tests.twin.partial import as_pods, partial_cluster
from tests.twin.question import AddressEnd, Answer, NodeEnd, PodEnd, Traffic
from tests.twin.twin import Side, Twin

if TYPE_CHECKING:
    from podfence.analysis.answers import PodConnection
    from podfence.kube.objects import KubeObject
    from tests.twin.clusterwide import ClusterPolicy

AT_ONCE = 10
DENSE = Parts(dense.selector, dense.selector, dense.BLOCKS, dense.PORTS)


def cluster(seed: int) -> tuple[list[KubeObject], Options, list[ClusterPolicy]]:
    random = Random(seed)
    objects, options = dense.cluster(random), dense.options(random)
    if random.random() < 0.3:
        options = options.with_value("ip_block_pods", "never")
    return objects, options, drawn(random, DENSE)


@pytest.mark.parametrize("start", range(0, part(400), AT_ONCE))
def test_engine_and_twin_agree_on_every_connection_in_all_tiers(start: int) -> None:
    for seed in range(start, start + AT_ONCE):
        objects, options, policies = cluster(seed)
        state = ClusterState(objects)
        engine = Engine(state, options, clusterwide=compiled(policies))
        twin = Twin(objects, options, policies)
        ends = whole_pods(boundaries.ends([*objects, *shown(policies)]))
        asked = boundaries.traffic([*objects, *shown(policies)])
        random = Random(seed)
        for source, destination in random.sample([(one, other) for one in ends for other in ends], 60):
            if isinstance(source, AddressEnd | NodeEnd) and isinstance(destination, AddressEnd | NodeEnd):
                continue
            if not twin.share_family(source, destination):
                continue
            one, other = (parse_endpoint(state, endpoint_text(end), "default") for end in (source, destination))
            try:
                connections = pairs(engine, one, other)
            except NoCommonFamilyError:
                continue
            low, high = ([engine.allowed(pair.source, pair.destination, bound) for pair in connections]
                         for bound in Bound)  # fmt: skip
            for traffic in random.sample(asked, min(8, len(asked))):
                expected = twin.allowed(source, destination, traffic)
                found = engine_answer(list(zip(low, high, strict=True)), traffic)
                assert found == expected, (seed, source, destination, traffic)


@pytest.mark.parametrize("start", range(0, part(200), AT_ONCE))
def test_a_listing_has_what_the_twin_connects_in_all_tiers(start: int) -> None:
    for seed in range(start, start + AT_ONCE):
        objects, options, policies = cluster(seed)
        model = Model(Engine(ClusterState(objects), options, clusterwide=compiled(policies)))
        twin = Twin(objects, options, policies)
        pods = judged_pods(objects, options)
        found: dict[tuple[str, str], list[PodConnection]] = defaultdict(list)
        for item in pod_connections(model, ListQuestion(None, None, parse_port(None), None)):
            found[item.source, item.destination].append(item)
        traffic = boundaries.traffic([*objects, *shown(policies)])
        random = Random(seed)
        for one in pods:
            for other in pods:
                source, destination = (PodEnd(pod.namespace, pod.name) for pod in (one, other))
                if one is other or not twin.share_family(source, destination):
                    continue
                lines = found[f"{one.namespace}/{one.name}", f"{other.namespace}/{other.name}"]
                for asked in random.sample(traffic, min(8, len(traffic))):
                    assert listed(lines, asked) == twin.allowed(source, destination, asked), (seed, one, other, asked)
        assert_addresses_are_the_twins(seed, objects, policies, options, found)


def assert_addresses_are_the_twins(
    seed: int,
    objects: list[KubeObject],
    policies: list[ClusterPolicy],
    options: Options,
    found: dict[tuple[str, str], list[PodConnection]],
) -> None:
    """Compare what is listed for addresses that are nobody's, at the bounds of blocks."""
    import ipaddress  # noqa: PLC0415

    everything = [*objects, *shown(policies)]
    twin = Twin(objects, options, policies)
    blocks = {name for ends in found for name in ends if is_block(name)}
    random = Random(seed)
    taken = {text for item in objects for text in getattr(item, "addresses", ())}
    for text in set(boundaries.addresses(everything)) - taken:
        address = ipaddress.ip_address(text)
        holding = [name for name in blocks if address in ipaddress.ip_network(name)]
        for pod in judged_pods(objects, options):
            end = PodEnd(pod.namespace, pod.name)
            if address.is_loopback or not twin.share_family(end, AddressEnd(text)):
                continue
            name = f"{pod.namespace}/{pod.name}"
            into = [item for block in holding for item in found.get((block, name), ())]
            out = [item for block in holding for item in found.get((name, block), ())]
            for traffic in random.sample(boundaries.traffic(everything), 2):
                assert listed(into, traffic) == twin.allowed(AddressEnd(text), end, traffic), (
                    seed,
                    text,
                    name,
                    traffic,
                )
                assert listed(out, traffic) == twin.allowed(end, AddressEnd(text), traffic), (seed, name, text, traffic)


def tier_of(twin: Twin, policies: list[ClusterPolicy], side: Side) -> str:
    """Return the tier that decides one direction; what is exempt none decides."""
    pod = side.subject.pod
    exempt = pod is None or twin.is_own_node(pod, side.other) or twin.is_exempt_self(pod, side.other)
    if pod is None or exempt:
        return "Default"
    said = {
        "Admin": says(twin, policies, "Admin", pod, side),
        "NetworkPolicy": twin.network_policies_say(pod, side),
        "Baseline": says(twin, policies, "Baseline", pod, side),
    }
    return next((tier for tier, answer in said.items() if answer is not None), "Default")


def test_a_reason_names_the_tier_that_decides_and_a_rule_of_it() -> None:
    seen: Counter[str] = Counter()
    for seed in range(part(100)):
        objects, _, policies = cluster(seed)
        state, options = ClusterState(objects), Options()
        engine, twin = Engine(state, options, clusterwide=compiled(policies)), Twin(objects, options, policies)
        pods = [PodEnd(pod.namespace, pod.name) for pod in judged_pods(objects, options)]
        random = Random(seed)
        asked = [(source, destination) for source in pods for destination in pods if source != destination]
        for source, destination in random.sample(asked, min(12, len(asked))):
            one, other = (parse_endpoint(state, endpoint_text(end), "default") for end in (source, destination))
            routes, traffic = twin.routes(source, destination), random.choice((Traffic("TCP", 80), Traffic("UDP", 53)))
            if len(routes) != 1 or not twin.share_family(source, destination):
                continue
            ((start, end),), (pair,) = routes, pairs(engine, one, other)
            for side in (Side("Egress", start, end, traffic), Side("Ingress", end, start, traffic)):
                direction = Direction(side.direction.lower())
                found = reason(engine, direction, pair.source, pair.destination, traffic_point(traffic))
                where = (seed, source, destination, traffic, str(found))
                assert found.decision.value == DECISIONS[twin.judge(side)], where
                assert found.tier == tier_of(twin, policies, side), where
                if found.tier in ("Admin", "Baseline"):
                    assert found.rule is not None, where
                    assert found.rule.policy.name in {item.name for item in policies if item.tier == found.tier}, where
                seen[found.tier] += 1
    assert set(seen) == {"Admin", "NetworkPolicy", "Baseline", "Default"}, seen


# What is not known


def _selector(random: Random) -> Selector:
    operator = random.choice(("In", "NotIn", "Exists", "DoesNotExist"))
    values = (random.choice(("x", "y")),) if operator in ("In", "NotIn") else ()
    return Selector((Requirement(random.choice(("a", "b")), operator, values),))  # type: ignore[arg-type]


UNKNOWN = Parts(
    _selector,
    _selector,
    (IPBlock("10.0.0.0/8"), IPBlock("10.0.0.0/9"), IPBlock("0.0.0.0/0"), IPBlock("203.0.113.0/24"), IPBlock("::/0")),
    (PolicyPort("TCP", 80), PolicyPort("TCP", "http"), PolicyPort("TCP", 81), PolicyPort("TCP")),
)


@pytest.mark.parametrize("start", range(0, part(400), AT_ONCE))
def test_what_depends_in_all_tiers_is_what_completions_decide_differently(start: int) -> None:
    """A firm answer is that of every completion; few that depend are without two that differ."""
    seen: Counter[str] = Counter()
    for seed in range(start, start + AT_ONCE):
        objects, policies, options = partial_cluster(seed), drawn(Random(seed), UNKNOWN), Options()
        pods = as_pods(objects)
        state = ClusterState(objects)
        engine = Engine(state, options, World(state, options, KINDS), compiled(policies))
        for source, destination, traffic in asked_of(seed, pods):
            choices = completions([*pods, *shown(policies)], source, destination, options)
            if math.prod(map(len, choices)) > MOST:
                continue
            one, other = (parse_endpoint(state, end_text(objects, end), "default") for end in (source, destination))
            asked = PortSet(((traffic_point(traffic),) * 2,))
            try:
                extents = [extent(engine, pair.source, pair.destination, asked) for pair in pairs(engine, one, other)]
            except NoCommonFamilyError:
                continue
            answers = {
                Twin(there, options, policies).allowed(source, destination, traffic)
                for there in completed(pods, choices)
                if Twin(there, options).share_family(source, destination)
            }
            low = all(asked <= item.low for item in extents)
            high = any(asked <= item.high for item in extents)
            where = (seed, source, destination, traffic)
            if low:
                assert answers <= {Answer.YES}, where
            if not high:
                assert answers <= {Answer.NO}, where
            seen["depends" if high and not low else "firm"] += 1
            seen["without a witness"] += high and not low and len(answers) == 1
    assert seen["depends"]
    assert seen["without a witness"] * 8 <= seen["depends"], seen
