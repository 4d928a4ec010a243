# SPDX-License-Identifier: Apache-2.0
"""A verdict of a part of a cluster is that of every completion; where it depends, completions differ (semantics 13).

The completions are enumerated by the slow twin, one of each kind that policies can tell apart, so a firm verdict is
compared with all of them, and for one that depends two are found that are decided differently.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from podfence.api import Cluster
from tests.analysis.test_check_against_twin import DECISIONS, endpoint_text, whole_pods
from tests.twin import boundaries, strategies
from tests.twin.completions import completed, completions
from tests.twin.effort import tried
from tests.twin.question import Answer, PodEnd
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject
    from podfence.policy.options import Options
    from tests.twin.question import End, Traffic

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
    return DECISIONS[found.pop()]


@tried(60)
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_a_verdict_is_that_of_every_completion(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    cluster = Cluster.from_objects(objects, options.with_value("world", "open"))
    ends = whole_pods(boundaries.ends(objects))
    pods = [end for end in ends if isinstance(end, PodEnd)]
    asked = boundaries.traffic(objects)
    for _ in range(6 if pods else 0):
        pod, other = data.draw(st.sampled_from(pods)), data.draw(st.sampled_from(ends))
        source, destination = (pod, other) if data.draw(st.booleans()) else (other, pod)
        traffic = data.draw(st.sampled_from(asked))
        wanted = expected(objects, source, destination, traffic, options)
        if wanted is not None:
            verdict = cluster.check(endpoint_text(source), endpoint_text(destination), port_text(traffic))
            assert verdict.decision == wanted, (source, destination, traffic, str(verdict))
