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

from podfence.api import Cluster
from podfence.kube.objects import Workload
from podfence.policy.options import Options
from tests.analysis.test_check_against_twin import DECISIONS, endpoint_text
from tests.twin import boundaries
from tests.twin.completions import completed, completions
from tests.twin.partial import as_pods, partial_cluster
from tests.twin.question import AddressEnd, Answer, PodEnd, Traffic
from tests.twin.twin import Twin

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


def compared(seed: int, options: Options, seen: Counter[str]) -> None:
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
            seen["without a witness"] += 1
            continue
        assert verdict.decision == wanted, (seed, source, destination, traffic, str(verdict))
        seen.update([wanted, *(item.what for item in verdict.depends_on)])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_verdict_is_that_of_every_completion(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, SEEDS, BATCHES):
        families = ("ipv4", "ipv4", "dual")[seed % 3]
        compared(seed, Options.parse([f"pod-families={families}"]), seen)

    assert seen["depends"] * 50 > seen.total(), "little is unknown, and so little is tried"
    assert seen["without a witness"] * 20 <= seen["depends"]
