# SPDX-License-Identifier: Apache-2.0
"""Every single connection of random clusters: the engine gives the slow twin's answer.

Asked are pods x pods x nodes x addresses at every cut boundary, on every port at a cut boundary of
every protocol.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from podfence.analysis.pairs import NoCommonFamilyError, pairs
from podfence.analysis.parsing import parse_endpoint
from podfence.api import Cluster
from podfence.cluster.state import ClusterState
from podfence.policy.engine import Bound, Engine
from podfence.sets.ports import OTHER_POINT, PortSet, point
from tests.twin import boundaries, strategies
from tests.twin.effort import tried
from tests.twin.question import AddressEnd, Answer, End, NodeEnd, PodEnd, Traffic
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject
    from podfence.policy.options import Options

MANY = tried(200)

DECISIONS = {Answer.YES: "allowed", Answer.NO: "denied", Answer.MAYBE: "depends"}


def endpoint_text(end: End) -> str:
    match end:
        case PodEnd(namespace=namespace, name=name):
            return f"{namespace}/po/{name}"
        case AddressEnd(address=address):
            return address
        case NodeEnd(name=name):
            return f"node:{name}"


def traffic_point(traffic: Traffic) -> int:
    return OTHER_POINT if traffic.port is None else point(traffic.protocol, traffic.port)


def engine_answer(answers: list[tuple[PortSet, PortSet]], traffic: Traffic) -> Answer:
    """Return what the engine says of one port, from the (surely, possibly) allowed ports of each connection."""
    asked = traffic_point(traffic)
    low = {asked in surely for surely, _ in answers}
    high = {asked in possibly for _, possibly in answers}
    if low == high == {True}:
        return Answer.YES
    return Answer.NO if low == high == {False} else Answer.MAYBE


def whole_pods(ends: list[End]) -> list[End]:
    """Return the ends with each pod once, whatever addresses it has: that is how people ask."""
    return list(dict.fromkeys(replace(end, address=None) if isinstance(end, PodEnd) else end for end in ends))


@MANY
@given(objects=strategies.clusters(), options=strategies.options())
def test_engine_and_twin_agree_on_every_connection(objects: list[KubeObject], options: Options) -> None:
    state = ClusterState(objects)
    engine = Engine(state, options)
    twin = Twin(objects, options)
    ends = whole_pods(boundaries.ends(objects))
    asked = boundaries.traffic(objects)
    for source in ends:
        for destination in ends:
            if isinstance(source, AddressEnd | NodeEnd) and isinstance(destination, AddressEnd | NodeEnd):
                continue
            if not twin.share_family(source, destination):
                continue
            try:
                connections = pairs(
                    engine,
                    parse_endpoint(state, endpoint_text(source), "default"),
                    parse_endpoint(state, endpoint_text(destination), "default"),
                )
            except NoCommonFamilyError:
                continue
            answers = [
                (
                    engine.allowed(pair.source, pair.destination, Bound.PESSIMISTIC),
                    engine.allowed(pair.source, pair.destination, Bound.OPTIMISTIC),
                )
                for pair in connections
            ]
            for traffic in asked:
                expected = twin.allowed(source, destination, traffic)
                assert engine_answer(answers, traffic) == expected, (source, destination, traffic)


@tried(40)
@given(data=st.data(), objects=strategies.clusters(), options=strategies.options())
def test_verdicts_of_the_public_interface_are_the_twins(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    cluster = Cluster.from_objects(objects, options)
    twin = Twin(objects, options)
    ends = whole_pods(boundaries.ends(objects))
    asked = boundaries.traffic(objects)
    for _ in range(12):
        source, destination = data.draw(st.sampled_from(ends)), data.draw(st.sampled_from(ends))
        if not isinstance(source, PodEnd) and not isinstance(destination, PodEnd):
            continue
        if not twin.share_family(source, destination):
            continue
        traffic = data.draw(st.sampled_from(asked))
        port = "icmp" if traffic.port is None else f"{traffic.port}/{traffic.protocol.lower()}"
        verdict = cluster.check(endpoint_text(source), endpoint_text(destination), port)
        expected = twin.allowed(source, destination, traffic)

        assert verdict.decision == DECISIONS[expected], str(verdict)
