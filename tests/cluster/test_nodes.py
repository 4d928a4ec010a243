# SPDX-License-Identifier: Apache-2.0
"""Nodes and their addresses: as loaded, and as the pods on them tell."""

from __future__ import annotations

import pytest

from podfence.cluster.nodes import node_addresses
from podfence.cluster.state import ClusterState
from podfence.kube.objects import KubeObject, Node
from podfence.sets.addresses import parse_address
from tests.cluster.parts import pod

N1 = Node(name="n1", labels={}, addresses=("172.18.0.9", "172.18.0.1", "fd00::1", "host.example"))
ON_N1 = pod("h1", "172.18.0.77", node="n1", host=True)
ON_N2 = pod("h2", "172.18.0.2", "fd00::2", node="n2", host=True)

CASES: list[tuple[str, list[KubeObject], dict[str, list[str]]]] = [
    ("addresses in ascending order, names left out", [N1], {"n1": ["172.18.0.1", "172.18.0.9", "fd00::1"]}),
    ("a loaded Node knows best", [N1, ON_N1], {"n1": ["172.18.0.1", "172.18.0.9", "fd00::1"]}),
    ("a Node that is not loaded, told of by hostIPs", [ON_N2, pod("p", "10.0.0.1", node="n2")], {"n2": ["172.18.0.2", "fd00::2"]}),
    ("a Node without addresses", [Node(name="n1", labels={}), ON_N1], {"n1": []}),
    ("a Node of which only the name is known", [pod("p", "10.0.0.1", node="n3")], {"n3": []}),
    ("no node", [pod("p", "10.0.0.1")], {}),
    ("names in order", [ON_N2, ON_N1], {"n1": ["172.18.0.77"], "n2": ["172.18.0.2", "fd00::2"]}),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_addresses_of_nodes(objects: list[KubeObject], expected: dict[str, list[str]]) -> None:
    found = node_addresses(ClusterState(objects))

    assert found == {name: tuple(map(parse_address, texts)) for name, texts in expected.items()}
    assert list(found) == sorted(expected)
