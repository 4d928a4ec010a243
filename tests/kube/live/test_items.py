# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from podfence.kube.live.items import Reader
from podfence.kube.live.resources import RESOURCES
from podfence.kube.objects import Requirement, Selector

WEB = {"matchLabels": {"app": "web"}}
ONLY_WEB = Selector((Requirement("app", "In", ("web",)),))
BOTH = ("Ingress", "Egress")


@pytest.mark.parametrize(
    ("spec", "selector", "types"),
    [
        ({"podSelector": WEB, "ingress": [{"from": [{"moon": {}}]}]}, ONLY_WEB, ("Ingress",)),
        ({"podSelector": WEB, "ingress": 5, "policyTypes": ["Ingress"]}, ONLY_WEB, ("Ingress",)),
        ({"podSelector": WEB, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": -1}]}]}, ONLY_WEB, ("Egress",)),
        ({"podSelector": WEB, "egress": [{"to": [{"moon": {}}]}]}, ONLY_WEB, BOTH),
        ({"podSelector": WEB, "policyTypes": ["Sideways"]}, Selector(), BOTH),
        ({"podSelector": {"matchPhase": "full"}, "policyTypes": ["Ingress"]}, Selector(), BOTH),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, Selector(), BOTH),
        ("all", Selector(), BOTH),
    ],
    ids=[
        "unknown peer",
        "rules of another type",
        "port that is none",
        "egress without types",
        "unknown type",
        "unknown selector",
        "unknown operator",
        "no spec",
    ],
)
def test_a_policy_that_cannot_be_read_is_stood_for_by_one_that_admits_nothing(
    spec: Any,  # noqa: ANN401  as JSON
    selector: Selector,
    types: tuple[str, ...],
) -> None:
    data = {"metadata": {"name": "p", "namespace": "shop", "resourceVersion": "7"}, "spec": spec}

    item = Reader(RESOURCES["NetworkPolicy"]).item(json.dumps(data).encode())

    assert (item.object, item.revision) == (None, "7")
    assert item.reason
    assert item.closed is not None
    assert item.closed.pod_selector == selector
    assert item.closed.policy_types == types
    assert (item.closed.ingress, item.closed.egress) == ((), ())


def test_other_objects_that_cannot_be_read_have_nothing_that_stands_for_them() -> None:
    data = {"metadata": {"name": "p", "namespace": "shop"}, "spec": 3}

    assert Reader(RESOURCES["Pod"]).item(json.dumps(data).encode()).closed is None
