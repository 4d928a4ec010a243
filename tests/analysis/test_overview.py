# SPDX-License-Identifier: Apache-2.0
"""The listing for people says the connections of the JSON, neither more nor fewer, in no more lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.analysis.answers import Ports
from podfence.api import Cluster
from podfence.cluster.addresses import known_addresses
from podfence.kube.objects import Peer, PolicyPort, Selector
from podfence.policy.options import Options
from podfence.sets.addresses import AddressSet, parse_address
from tests.policy.parts import app, block, pod, policy, rule, space
from tests.report.samples import as_overview
from tests.twin import boundaries, strategies, supposed
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.analysis.overview import Ends, Overview, OverviewLine
    from podfence.kube.objects import KubeObject

Point = tuple[str, str, str, int | None, str]


class Shown:
    """What the lines of an overview stand for."""

    def __init__(self, answer: Overview, pods: set[str], several: set[str], outside: dict[str, bool]) -> None:
        """`several` are those of the `pods` that stand for more than one.

        `outside` are addresses to look at, and whether each is a part of the internet.
        """
        self.answer = answer
        self.pods = pods
        self.several = several
        self.outside = outside
        self.groups = dict(answer.groups)

    def names(self, ends: Ends, opened: Ends) -> set[str]:
        found = {name for item in ends.items for name in self.item(item, opened)}
        return found - {name for item in ends.excepts for name in self.item(item, opened)}

    def item(self, item: str, opened: Ends) -> Iterator[str]:
        if item in ("everything", "all pods"):
            yield from self.pods
        if item in ("everything", "any address"):
            yield from self.outside
        if item == "open pods":
            yield from self.names(opened, opened)
        elif item in self.groups:
            yield from self.names(self.groups[item], opened)
        elif item.endswith("/*"):
            yield from (pod for pod in self.pods if pod.startswith(item[:-1]))
        elif item == "internet":
            yield from (address for address, public in self.outside.items() if public)
        elif item[0].isdigit() or ":" in item:
            cidr, _, excepts = item.partition(" except ")
            block = AddressSet.block(cidr, tuple(filter(None, excepts.split(", "))))
            yield from (address for address in self.outside if parse_address(address) in block)
        elif item not in ("everything", "all pods", "any address"):
            yield item

    def lines(self) -> list[tuple[OverviewLine, Ports]]:
        """Return the lines about peers that are here, whose ports have numbers."""
        return [(line, line.ports) for line in self.answer.lines if isinstance(line.ports, Ports)]

    def points(self, ports: Sequence[tuple[str, int | None]], *, with_itself: bool) -> Iterator[Point]:
        for line, line_ports in self.lines():
            for source in self.names(line.sources, self.answer.open_sources):
                for destination in self.names(line.destinations, self.answer.open_destinations):
                    if with_itself or source != destination or source in self.several:
                        yield from points(source, destination, line_ports, line.depends, ports)


def points(
    source: str, destination: str, found: Ports, depends: str, ports: Sequence[tuple[str, int | None]]
) -> Iterator[Point]:
    for protocol, number in ports:
        if found.everything or any(
            item.protocol == protocol and (number is None or (item.first or 0) <= number <= (item.last or 0))
            for item in found.ranges
        ):
            yield source, destination, protocol, number, depends


@st.composite
def questions(draw: st.DrawFn, objects: list[KubeObject]) -> dict[str, Any]:
    """Return a question about one end, one namespace, or everything."""
    pods = [f"{item.namespace}/po/{item.name}" for item in boundaries.pod_ends(objects)]
    end = draw(st.sampled_from([*pods, "default/a=x", "203.0.113.0/24", "internet"]))
    about_end = {draw(st.sampled_from(("source", "destination"))): end}
    return draw(st.sampled_from(({}, about_end, about_end, {"namespaces": ("default",)})))


@tried(120)
@given(data=st.data(), objects=supposed.clusters(), options=strategies.options())
def test_the_lines_for_people_are_the_connections(
    data: st.DataObject, objects: list[KubeObject], options: Options
) -> None:
    cluster = Cluster.from_objects(objects, options.with_value("world", "open"))
    question: dict[str, Any] = {}
    if any(item.namespace == "default" for item in boundaries.pod_ends(objects)):
        question = data.draw(questions(objects))
        hosts = {f"{m.namespace}/po/{m.key.name}" for m in cluster.state.members.values() if m.host}
        if hosts & {str(value) for value in question.values()} and options.host_network == "node":
            question = {}
    check_lines(objects, options, question)


@pytest.mark.parametrize("legacy", ["auto", "v1beta1"])
def test_the_lines_for_people_are_the_connections_also_of_pods_that_policies_select(legacy: str) -> None:
    check_lines(supposed.FINISHED_ONLY, Options.parse([f"legacy={legacy}"]), {})


def check_lines(objects: list[KubeObject], options: Options, question: dict[str, Any]) -> None:
    """Assert that the lines for people are the connections of the JSON."""
    cluster = Cluster.from_objects(objects, options.with_value("world", "open"))
    judged = options.self_traffic == "policy"
    several = supposed.supposed_pods(objects, options)
    pods = several | {
        f"{m.namespace}/{m.key.name}"
        for m in cluster.state.members.values()
        if not (m.host and options.host_network == "node")
    }
    pods |= {text for text in question.values() if isinstance(text, str) and "=" in text}
    ports = [(item.protocol if item.port else "other", item.port) for item in boundaries.traffic(objects)]
    internet = AddressSet.ALL - AddressSet.PRIVATE - known_addresses(cluster.state)
    outside = {address: parse_address(address) in internet for address in boundaries.addresses(objects)}
    apart, together = cluster.connectivity(**question), cluster.overview(**question)
    expected = Shown(as_overview(apart), pods, several, outside)
    shown = Shown(together, pods, several, outside)

    assert set(shown.points(ports, with_itself=judged)) == set(expected.points(ports, with_itself=judged))
    assert len(shown.lines()) <= len(apart.connections)


EVERYONE = [space("a"), space("b"), space("c")]
PLACES: list[KubeObject] = [
    *EVERYONE,
    pod("hook", namespace="a", labels={"app": "hook"}),
    pod("other", namespace="a"),
    pod("p1", namespace="b"),
    pod("p2", namespace="c"),
]
OWN_NAMESPACE = policy("same-namespace", namespace="a", ingress=[rule(Peer(pod_selector=Selector()))])
LINES: list[tuple[str, list[KubeObject], list[str]]] = [
    (
        "a port for everyone, and every port for the own namespace",
        [*PLACES, OWN_NAMESPACE, policy("hook", app("hook"), namespace="a", ingress=[rule(ports=[PolicyPort("TCP", 4443)])])],
        [
            "a/* -> a/* all ports",
            "everything -> a/hook TCP 4443",
            "all pods -> any address all ports",
            "everything -> b/p1, c/p2 all ports",
        ],
    ),
    (
        "all namespaces but one",
        [
            *(space(name) for name in "abcdef"),
            *(pod(f"{name}{number}", namespace=name) for name in "abcdef" for number in range(2)),
            policy("own", namespace="a", egress=[rule(Peer(pod_selector=Selector()))]),
        ],
        ["everything -> a/* all ports", "everything except a/* -> all pods all ports", "all pods except a/* -> any address all ports"],
    ),
    (
        "one port for all and another for some",
        [
            pod("db", labels={"app": "db"}),
            pod("other"),
            *(pod(f"p{number}", labels={"app": "p", "n": str(number)}) for number in range(5)),
            policy("metrics", app("db"), ingress=[rule(Peer(pod_selector=Selector()), ports=[PolicyPort("TCP", 9090)])]),
            policy("data", app("db"), ingress=[rule(Peer(pod_selector=app("p")), ports=[PolicyPort("TCP", 5432)])]),
        ],
        [
            "everything -> all pods except shop/db all ports",
            "all pods -> any address all ports",
            "all pods -> shop/db TCP 9090",
            "all pods except shop/other -> shop/db TCP 5432",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "expected"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_a_line_says_what_a_rule_says(objects: list[KubeObject], expected: list[str]) -> None:
    found = Cluster.from_objects(objects).overview()

    assert [f"{line.sources} -> {line.destinations} {line.ports}" for line in found.lines] == expected


def test_what_depends_and_what_does_not_are_never_one_line() -> None:
    dual = [pod("web", "10.0.0.1", "fd00::1"), pod("db", "10.0.0.2", "fd00::2"), pod("x", "10.0.0.3", "fd00::3")]
    only = policy("p", app("db"), ingress=[rule(block("10.0.0.1/32")), rule(block("10.0.0.3/32")), rule(block("fd00::3/128"))])  # fmt: skip
    found = Cluster.from_objects([*dual, only])

    assert [
        (str(line.sources), line.depends)
        for name in ("web", "x")
        for line in found.overview(source=f"shop/{name}", destination="shop/db").lines
    ] == [
        ("shop/web", "IPv4 only"),
        ("shop/x", ""),
    ]
