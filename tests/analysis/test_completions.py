# SPDX-License-Identifier: Apache-2.0
"""A verdict of a part of a cluster is that of every completion; where it depends, completions differ (semantics 13).

The completions are enumerated by the slow twin, one of each kind that policies can tell apart, so a firm verdict is
compared with all of them, and for one that depends two are found that are decided differently.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from itertools import permutations, product
from random import Random
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from podfence.analysis.effects import MeantPods
from podfence.api import Cluster
from podfence.cluster.selection import Selection
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import (
    ContainerPort,
    Namespace,
    NetworkPolicy,
    Pod,
    PodTemplate,
    PolicyPort,
    Rule,
    Selector,
    Workload,
)
from podfence.policy.options import Options
from podfence.policy.verdict import Matter
from tests.analysis.test_check_against_twin import DECISIONS, endpoint_text
from tests.twin import boundaries
from tests.twin.completions import completed, completions
from tests.twin.effort import part
from tests.twin.partial import SPACES, as_pods, partial_cluster
from tests.twin.question import AddressEnd, Answer, PodEnd, Traffic
from tests.twin.selectors import selects
from tests.twin.twin import Twin
from tests.twin.witnesses import Missed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject
    from tests.twin.question import End

MOST = 400
"""Questions with more completions than this are left out."""


def port_text(traffic: Traffic) -> str:
    return "icmp" if traffic.port is None else f"{traffic.port}/{traffic.protocol.lower()}"


def expected(
    objects: list[KubeObject], source: End, destination: End, traffic: Traffic, options: Options
) -> str | None:
    """Return what all completions say, ``depends`` if they differ; None for questions with too many of them."""
    choices = completions(objects, source, destination, options)
    if math.prod(map(len, choices)) > MOST:
        return None
    found: set[Answer] = set()
    for objects_there in completed(objects, choices):
        twin = Twin(objects_there, options)
        if not twin.share_family(source, destination):
            return None
        found.add(twin.allowed(source, destination, traffic))
        if len(found) > 1:
            return "depends"
    return DECISIONS[found.pop()] if found else None


LONG = os.environ.get("PODFENCE_LONG") == "1"
SEEDS = 4000 if LONG else 240
BATCHES = 8


def asked_of(seed: int, objects: list[KubeObject]) -> Iterator[tuple[End, End, Traffic]]:
    """Yield questions about pods with each other, with nodes and with addresses outside."""
    pods: list[End] = list(dict.fromkeys(PodEnd(end.namespace, end.name) for end in boundaries.pod_ends(objects)))
    others: list[End] = [*boundaries.node_ends(objects), AddressEnd("203.0.113.7"), AddressEnd("10.3.3.3")]
    pairs = [*permutations(pods, 2), *product(pods, others), *product(others, pods)]
    random = Random(seed)
    for source, destination in random.sample(pairs, min(len(pairs), 8)):
        yield source, destination, random.choice((Traffic("TCP", 80), Traffic("TCP", 81), Traffic("ICMP")))


def end_text(objects: list[KubeObject], end: End) -> str:
    """Return an end as people write it; a Deployment is written with its kind."""
    names = {(item.namespace, item.name) for item in objects if isinstance(item, Workload)}
    if isinstance(end, PodEnd) and (end.namespace, end.name) in names:
        return f"{end.namespace}/deploy/{end.name}"
    return endpoint_text(end)


def compared(seed: int, options: Options, seen: Counter[str], missed: Missed) -> None:
    objects = partial_cluster(seed)
    pods = as_pods(objects)
    cluster = Cluster.from_objects(objects, options)
    for source, destination, traffic in asked_of(seed, pods):
        wanted = expected(pods, source, destination, traffic, options)
        if wanted is None:
            continue
        verdict = cluster.check(end_text(objects, source), end_text(objects, destination), port_text(traffic))
        if verdict.decision == "depends" != wanted:
            # Two unknowns may exclude each other: the address of a known node and its being another one.
            missed.add(seed, verdict)
            continue
        assert verdict.decision == wanted, (seed, source, destination, traffic, str(verdict))
        seen.update([wanted, *(item.what for item in verdict.depends_on)])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_verdict_is_that_of_every_completion(batch: int) -> None:
    seen: Counter[str] = Counter()
    missed = Missed()
    for seed in range(batch, SEEDS, BATCHES):
        families = ("ipv4", "ipv4", "dual")[seed % 3]
        compared(seed, Options.parse([f"pod-families={families}"]), seen, missed)

    assert seen["depends"] * 50 > seen.total(), "little is unknown, and so little is tried"
    assert len(missed) * 20 <= seen["depends"], missed.tell()
    missed.tell()


def by_name(item: KubeObject) -> KubeObject:
    """Return an object; a policy with rules for ports of a name only."""
    if not isinstance(item, NetworkPolicy):
        return item
    ports = (PolicyPort("TCP", "http"),)
    rules = {
        side: tuple(Rule(rule.peers, ports if rule.ports else ()) for rule in getattr(item, side))
        for side in ("ingress", "egress")
    }
    return replace(item, **rules)


def test_a_verdict_about_a_pod_that_need_not_exist_is_that_of_every_such_pod() -> None:
    """Its labels are those of the question; the ports that it names are not known (semantics 13.10)."""
    named = [(), (ContainerPort(80, "TCP", "http"),), (ContainerPort(81, "TCP", "http"),)]
    seen: Counter[str] = Counter()
    for seed in range(part(300)):
        objects, random = [by_name(item) for item in partial_cluster(seed)], Random(seed)
        supposed = PodEnd(random.choice(SPACES), "supposed")
        labels = {"a": random.choice(("x", "y"))}
        several = [[*as_pods(objects), Pod(namespace=supposed.namespace, name="supposed",
                    template=PodTemplate(labels=labels, ports=ports))] for ports in named]  # fmt: skip
        other = random.choice([end for end in boundaries.pod_ends(as_pods(objects)) if end.name != "supposed"])
        source, destination = random.choice([(supposed, other), (other, supposed)])
        traffic = Traffic("TCP", random.choice((80, 81)))
        answers = {expected(there, source, destination, traffic, Options()) or "" for there in several}
        cluster = Cluster.from_objects(objects)
        if "" in answers or supposed.namespace not in cluster.state.namespaces:
            continue
        one, two = (f"{supposed.namespace}/a={labels['a']}" if end is supposed else end_text(objects, end)
                    for end in (source, destination))  # fmt: skip
        verdict = cluster.check(one, two, port_text(traffic))
        wanted = answers.pop() if len(answers) == 1 else "depends"
        assert verdict.decision in (wanted, "depends"), (seed, one, two, traffic, str(verdict))
        seen.update([wanted, "without a witness" if verdict.decision != wanted else ""])
        found = [item.what for item in verdict.depends_on]
        seen["by ports alone"] += found == [Matter.PORT_NAMES] and wanted == "depends"
    assert seen["by ports alone"], seen
    assert seen["without a witness"] * 20 <= seen["depends"], seen


def test_a_peer_that_is_said_to_match_no_pod_matches_none_in_any_completion() -> None:
    seen: Counter[bool] = Counter()
    for seed in range(part(200)):
        objects = partial_cluster(seed)
        pods = as_pods(objects)
        engine = Cluster.from_objects(objects).model.engine
        meant = MeantPods(engine)
        ends = [
            PodEnd(item.namespace, item.name)
            for item in pods
            if isinstance(item, Pod) and not item.template.host_network
        ]
        policies = [policy for space in SPACES for policy in engine.policies(space)]
        peers = {grant.peer for policy in policies for grants in policy.grants.values() for grant in grants}
        for peer in peers:
            if not isinstance(peer, Selection):
                continue
            seen[meant.any_meant(peer)] += 1
            if not meant.any_meant(peer):
                assert not any(is_selected(pods, end, peer) for end in ends), (seed, peer)
    assert min(seen.values()) > 20, seen


def is_selected(objects: list[KubeObject], end: PodEnd, peer: Selection) -> bool:
    """Return whether a completion has the pod selected, as far as there are few."""
    choices = completions(objects, end, AddressEnd("203.0.113.7"), Options())
    if math.prod(map(len, choices)) > MOST:
        return False
    for there in completed(objects, choices):
        spaces = {item.name: item.labels for item in there if isinstance(item, Namespace)}
        labels = {**spaces.get(end.namespace, {}), NAME_LABEL: end.namespace}
        pod = next(
            item for item in there if isinstance(item, Pod) and (item.namespace, item.name) == (end.namespace, end.name)
        )
        if (
            peer.namespace in (None, end.namespace)
            and selects(peer.namespaces or Selector(), labels)
            and selects(peer.pods or Selector(), pod.template.labels)
        ):
            return True
    return False
