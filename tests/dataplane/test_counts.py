# SPDX-License-Identifier: Apache-2.0
"""What a table counted, by policy, however long the names of policies are."""

from __future__ import annotations

import pytest

from podfence.api import Cluster
from podfence.dataplane import counts
from podfence.dataplane.counts import Count
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import KubeObject, NetworkPolicy, Peer
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, rule, space

FROM_WEB = rule(Peer(pod_selector=app("web")))


def counted(*policies: NetworkPolicy, known: bool = True, others: tuple[NetworkPolicy, ...] = ()) -> set[Count]:
    objects: list[KubeObject] = [space("shop"), pod("web", "10.0.0.1", node="n1"), pod("db", "10.0.0.2", node="n1")]
    runner = FakeRunner()
    Enforcer(runner, "n1", Cluster.from_objects([*objects, *policies]).model).start()
    return set(counts.read(runner, [item.key for item in (*others, *(policies if known else ()))]))


@pytest.mark.parametrize("length", [1, 80, 110, 253])
def test_rules_and_denials_of_a_policy_are_counted_however_long_its_name_is(length: int) -> None:
    name = "a" * length
    assert counted(policy(name, app("db"), ingress=[FROM_WEB])) == {
        Count("ingress", "shop", (name,), 1, 0),
        Count("ingress", "shop", (name,), None, 0),
    }


def test_a_short_name_needs_nobody_who_knows_it() -> None:
    assert counted(policy("p", app("db"), ingress=[rule()]), known=False) == {Count("ingress", "shop", ("p",), 1, 0)}


def test_of_two_names_that_are_alike_for_long_none_is_given_what_may_be_the_others() -> None:
    alike = [policy("a" * 200 + end, app("db"), ingress=[FROM_WEB]) for end in "xy"]
    assert all(count.policies == () for count in counted(*alike))


def test_a_long_name_is_not_that_of_another_policy_of_its_namespace() -> None:
    other = policy("b", app("db"), ingress=[])
    assert all(count.policies == () for count in counted(policy("a" * 200, app("db"), ingress=[FROM_WEB]), known=False, others=(other,)))  # fmt: skip
