# SPDX-License-Identifier: Apache-2.0
"""The twin reads the old API as section 10 of the specification says; answers combine as Kleene's logic says."""

from __future__ import annotations

import pytest

from podfence.kube.objects import (
    IPBlock,
    KubeObject,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Requirement,
    Rule,
    Selector,
)
from podfence.policy.options import Options

from .boundaries import addresses, ports
from .question import Answer, PodEnd, Traffic, all_of, any_of
from .twin import ISOLATION_ANNOTATION, OLD_API, Twin, is_default_deny

YES, NO, MAYBE = Answer.YES, Answer.NO, Answer.MAYBE
TCP80 = Traffic("TCP", 80)
CLOSED = {ISOLATION_ANNOTATION: '{"ingress": {"isolation": "DefaultDeny"}}'}
TARGET, GOOD, BAD = (PodEnd("default", name) for name in ("target", "good", "bad"))
PODS = tuple(
    Pod(namespace="default", name=name, template=PodTemplate(labels={"app": name}), addresses=(f"10.0.0.{number}",))
    for number, name in enumerate(("target", "good", "bad"), 1)
)


def on_label(value: str) -> Selector:
    return Selector((Requirement("app", "In", (value,)),))


def namespace(*, annotated: bool) -> Namespace:
    return Namespace(name="default", labels={}, annotations=CLOSED if annotated else {})


def policy(api: str, selected: str, *rules: Rule) -> NetworkPolicy:
    return NetworkPolicy(
        namespace="default", name="p", pod_selector=on_label(selected), ingress=rules, egress=rules, api_version=api
    )


@pytest.mark.parametrize(
    ("legacy", "annotated", "selected", "from_good", "from_bad"),
    [
        ("auto", False, "target", YES, YES),
        ("auto", False, "elsewhere", YES, YES),
        ("auto", True, "elsewhere", NO, NO),
        ("auto", True, "target", YES, NO),
        ("v1beta1", False, "target", YES, YES),
        ("v1beta1", True, "elsewhere", NO, NO),
        ("v1beta1", True, "target", YES, NO),
        ("v1", False, "elsewhere", YES, YES),
        ("v1", False, "target", YES, NO),
        ("v1", True, "elsewhere", YES, YES),
        ("v1", True, "target", YES, NO),
    ],
)
def test_an_old_policy_has_the_effects_of_matrix_10_10(
    legacy: str, annotated: bool, selected: str, from_good: Answer, from_bad: Answer
) -> None:
    old = policy(OLD_API, selected, Rule((Peer(pod_selector=on_label("good")),)))
    twin = Twin([namespace(annotated=annotated), *PODS, old], Options(legacy=legacy))
    assert [twin.allowed(source, TARGET, TCP80) for source in (GOOD, BAD)] == [from_good, from_bad]


@pytest.mark.parametrize(("legacy", "expected"), [("auto", YES), ("v1", YES), ("v1beta1", NO)])
def test_the_annotation_without_old_policies_counts_only_by_option(legacy: str, expected: Answer) -> None:
    twin = Twin([namespace(annotated=True), *PODS], Options(legacy=legacy))
    assert twin.allowed(GOOD, TARGET, TCP80) is expected


@pytest.mark.parametrize(("annotated", "good", "bad"), [(True, YES, YES), (False, NO, YES)])
def test_old_and_new_policies_of_a_namespace_are_joined(annotated: bool, good: Answer, bad: Answer) -> None:
    old = policy(OLD_API, "target", Rule((Peer(pod_selector=on_label("good")),)))
    new = NetworkPolicy(
        namespace="default",
        name="new",
        pod_selector=on_label("target"),
        ingress=(Rule((Peer(pod_selector=on_label("bad")),)),),
    )
    twin = Twin([namespace(annotated=annotated), *PODS, old, new], Options())
    assert [twin.allowed(source, TARGET, TCP80) for source in (GOOD, BAD)] == [good, bad]


def test_an_old_policy_never_isolates_egress() -> None:
    old = NetworkPolicy(
        namespace="default", name="p", policy_types=("Ingress", "Egress"), ingress=(Rule(),), api_version=OLD_API
    )
    objects: list[KubeObject] = [namespace(annotated=True), *PODS, old]
    assert Twin(objects, Options()).egress_allowed(TARGET, GOOD, TCP80) is YES
    assert Twin(objects, Options(legacy="v1")).egress_allowed(TARGET, GOOD, TCP80) is NO


@pytest.mark.parametrize(
    ("api", "rule", "empty_list", "expected"),
    [
        (OLD_API, Rule(), "none", YES),
        (OLD_API, Rule(empty_peers=True), "none", NO),
        (OLD_API, Rule(empty_ports=True), "none", NO),
        (OLD_API, Rule(empty_peers=True), "all", YES),
        ("networking.k8s.io/v1", Rule(empty_peers=True, empty_ports=True), "none", YES),
    ],
)
def test_an_empty_list_matches_nothing_only_in_the_old_reading_of_10_5(
    api: str, rule: Rule, empty_list: str, expected: Answer
) -> None:
    twin = Twin([namespace(annotated=True), *PODS, policy(api, "target", rule)], Options(legacy_empty_list=empty_list))
    assert twin.ingress_allowed(GOOD, TARGET, TCP80) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"ingress": {"isolation": "DefaultDeny"}}', True),
        ('\n{ "ingress":{"isolation":"DefaultDeny","x":1},"egress":[] }', True),
        ('{"ingress": {"isolation": "defaultdeny"}}', False),
        ('{"ingress": {"isolation": null}}', False),
        ('{"ingress": {}}', False),
        ('{"ingress": null}', False),
        ('{"ingress": "DefaultDeny"}', False),
        ("{}", False),
        ("null", False),
        ('["DefaultDeny"]', False),
        ("DefaultDeny", False),
        ("", False),
    ],
)
def test_only_default_deny_isolates(text: str, expected: bool) -> None:
    assert is_default_deny({ISOLATION_ANNOTATION: text}) is expected


def test_the_misspelt_annotation_has_no_effect() -> None:
    assert not is_default_deny({"net.beta.kubernetes.io/networkpolicy": CLOSED[ISOLATION_ANNOTATION]})


@pytest.mark.parametrize(
    ("left", "right", "either", "both"),
    [
        (YES, YES, YES, YES),
        (YES, NO, YES, NO),
        (NO, NO, NO, NO),
        (MAYBE, YES, YES, MAYBE),
        (MAYBE, NO, MAYBE, NO),
        (MAYBE, MAYBE, MAYBE, MAYBE),
    ],
)
def test_answers_combine_as_in_kleenes_logic(left: Answer, right: Answer, either: Answer, both: Answer) -> None:
    assert any_of([left, right]) is any_of([right, left]) is either
    assert all_of([left, right]) is all_of([right, left]) is both


def test_answers_have_no_truth_value() -> None:
    with pytest.raises(TypeError, match="compare an Answer with `is`"):
        bool(MAYBE)


def test_boundaries_are_around_every_cut_of_blocks_and_ports() -> None:
    rule = Rule(
        (Peer(ip_block=IPBlock("10.1.0.0/16", ("10.1.2.0/24",))), Peer(ip_block=IPBlock("::/0"))),
        (PolicyPort("TCP", 1), PolicyPort("UDP", 100, 200), PolicyPort("TCP", "http"), PolicyPort("SCTP", 65535)),
    )
    objects: list[KubeObject] = [*PODS[:1], policy("networking.k8s.io/v1", "target", rule)]
    assert addresses(objects) == [
        "10.0.0.1",
        "10.0.255.255",
        "10.1.0.0",
        "10.1.1.255",
        "10.1.2.0",
        "10.1.2.255",
        "10.1.3.0",
        "10.1.255.255",
        "10.2.0.0",
        "203.0.113.99",
        "::",
        "2001:db8:ffff::99",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]
    assert ports(objects) == [1, 2, 80, 99, 100, 101, 200, 201, 65534, 65535]
