# SPDX-License-Identifier: Apache-2.0
"""That the old meaning of a policy decided is told, as an option that decides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from podfence.api import Cluster
from podfence.kube.objects import Namespace, Rule
from podfence.policy.legacy import ANNOTATION
from tests.policy.parts import app, pod, policy

ME, YOU = pod("me", "10.0.0.1"), pod("you", "10.0.0.2")
DENY = policy("p", app("me"), ingress=[])
OLD_OF_YOU = replace(policy("p", app("you"), ingress=[]), api_version="extensions/v1beta1")
EMPTY = replace(policy("p", ingress=[Rule(empty_peers=True)]), api_version="extensions/v1beta1")
ISOLATED = Namespace(name="shop", labels={}, annotations={ANNOTATION: '{"ingress": {"isolation": "DefaultDeny"}}'})


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([DENY], set()),
        ([ISOLATED, DENY], set()),
        ([ISOLATED, OLD_OF_YOU], {"legacy"}),
        ([ISOLATED, EMPTY], {"legacy-empty-list"}),
    ],
)
def test_an_old_policy_or_annotation_that_decides_is_told(objects: list[Namespace], expected: set[str]) -> None:
    reason = Cluster.from_objects([*objects, ME, YOU]).check("shop/you", "shop/me", 80).ingress

    assert {item for item in reason.options if item.startswith("legacy")} == expected
