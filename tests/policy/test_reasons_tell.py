# SPDX-License-Identifier: Apache-2.0
"""What a reason tells: the item of a rule that admits, and every option that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.kube.objects import ContainerPort, Peer, PolicyPort, Rule, Selector
from podfence.policy.options import Options, describe
from tests.policy.parts import app, block, label, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

HTTP = ContainerPort(8080, "TCP", "http")
ME = pod("me", "10.0.0.1", node="n1", ports=[HTTP, ContainerPort(9090, "TCP", "http", sidecar=True)])
YOU = pod("you", "10.0.0.2", node="n2")
EDGE = space("shop", team="edge")
ALONE = Peer(namespace_selector=label("team", "edge"))
MATCHES: list[tuple[str, Rule, str]] = [
    ("a lone dash makes two items", rule(ALONE, Peer(pod_selector=app("proxy"))), "item 1 of `from`: every pod of namespaces team=edge"),
    ("the second item", rule(Peer(pod_selector=app("proxy")), ALONE), "item 2 of `from`: every pod of namespaces team=edge"),
    ("an item of the own namespace", rule(Peer(pod_selector=Selector())), "item 1 of `from`: every pod of namespace shop"),
    ("a block", rule(block("10.0.0.0/8")), "item 1 of `from`: 10.0.0.0/8"),
    ("no item", rule(ports=[PolicyPort("TCP", 80)]), "`from` is empty: every source (3.2)"),
]  # fmt: skip


@pytest.mark.parametrize(("admitting", "expected"), [case[1:] for case in MATCHES], ids=[case[0] for case in MATCHES])
def test_a_rule_that_admits_says_by_which_item(admitting: Rule, expected: str) -> None:
    cluster = Cluster.from_objects([EDGE, ME, YOU, policy("p", app("me"), ingress=[rule(Peer(pod_selector=app("x"))), admitting])])  # fmt: skip
    reason = cluster.check("shop/you", "shop/me", 80).ingress

    assert reason.rule is not None
    assert (reason.rule.index, reason.match) == (1, expected)


def test_egress_says_so_of_its_destinations() -> None:
    cluster = Cluster.from_objects([ME, YOU, policy("p", app("you"), egress=[rule(ports=[PolicyPort("TCP", 80)])])])

    assert cluster.check("shop/you", "shop/me", 80).egress.match == "`to` is empty: every destination (3.2)"


NAME = "kubernetes.io/metadata.name"
WRONG_NAMESPACES: list[tuple[str, list[KubeObject], Selector, str]] = [
    ("one that is given", [EDGE], label("team", "ops"), "namespace shop has team=edge"),
    ("one that is only mentioned", [], label("team", "ops"), "label team of namespace shop is not known"),
    ("the name of one that is only mentioned", [], label(NAME, "ops"), f"namespace shop has {NAME}=shop"),
]


@pytest.mark.parametrize(("given", "selector", "expected"), [case[1:] for case in WRONG_NAMESPACES], ids=[case[0] for case in WRONG_NAMESPACES])  # fmt: skip
def test_a_miss_says_of_namespaces_only_what_is_known(given: list[KubeObject], selector: Selector, expected: str) -> None:  # fmt: skip
    """Semantics 13.3."""
    admitting = rule(Peer(namespace_selector=selector, pod_selector=app("other")))
    found = Cluster.from_objects([*given, ME, YOU, policy("p", app("me"), ingress=[admitting])])
    nearest = found.check("shop/you", "shop/me", 80).ingress.nearest

    assert nearest is not None
    assert nearest.gap == f"{expected} and the source has app=you"


NAMED = PolicyPort("TCP", "http")
OPTIONS: list[tuple[str, list[KubeObject], tuple[str, str, str], str, tuple[str, ...]]] = [
    ("a named port without a peer", [ME, YOU, policy("p", app("you"), egress=[rule(ports=[NAMED])])], ("shop/you", "shop/me", "8080"), "egress", ("named-port-without-peer",)),
    ("a named port of a selected pod", [ME, YOU, policy("p", app("you"), egress=[rule(Peer(pod_selector=app("me")), ports=[NAMED])])], ("shop/you", "shop/me", "8080"), "egress", ()),
    ("a sidecar's port", [ME, YOU, policy("p", app("me"), ingress=[rule(ports=[NAMED])])], ("shop/you", "shop/me", "9090"), "ingress", ("init-ports",)),
    ("inside of a range", [ME, YOU, policy("p", app("me"), ingress=[rule(ports=[PolicyPort("TCP", 80, 90)])])], ("shop/you", "shop/me", "85"), "ingress", ("end-port",)),
    ("the first port of a range", [ME, YOU, policy("p", app("me"), ingress=[rule(ports=[PolicyPort("TCP", 80, 90)])])], ("shop/you", "shop/me", "80"), "ingress", ()),
    ("a pod in a block", [ME, YOU, policy("p", app("me"), ingress=[rule(block("10.0.0.0/8"))])], ("shop/you", "shop/me", "80"), "ingress", ("ip-block-pods",)),
    ("an address in a block", [ME, policy("p", app("me"), ingress=[rule(block("203.0.113.0/24"))])], ("203.0.113.9", "shop/me", "80"), "ingress", ()),
    ("ICMP", [ME, YOU, policy("p", app("me"), ingress=[rule()])], ("shop/you", "shop/me", "icmp"), "ingress", ("icmp",)),
    ("nothing but labels and ports", [ME, YOU, policy("p", app("me"), ingress=[rule(Peer(pod_selector=app("you")), ports=[PolicyPort("TCP", 80)])])], ("shop/you", "shop/me", "80"), "ingress", ()),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=[case[0] for case in OPTIONS])
def test_an_option_that_decides_is_named_whatever_it_decides(case: tuple[str, list[KubeObject], tuple[str, str, str], str, tuple[str, ...]]) -> None:  # fmt: skip
    _, objects, question, direction, expected = case
    assert getattr(Cluster.from_objects(objects).check(*question), direction).options == expected
    for name in expected:
        for value in describe()[name.replace("-", "_")].values:
            if value == "depends":
                continue
            options = Options().with_value(name.replace("-", "_"), value)
            verdict = Cluster.from_objects(objects, options).check(*question)
            assert getattr(verdict, direction).options == expected, value
