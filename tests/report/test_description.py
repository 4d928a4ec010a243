# SPDX-License-Identifier: Apache-2.0
"""Objects of labs are described as a real kubectl did; tests/lab/apiserver/README.md says how that was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podfence.report import description

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "lab" / "apiserver" / "describe.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("row", ROWS, ids=[row["object"]["metadata"]["name"] for row in ROWS])
def test_policies_are_described_in_the_words_of_kubectl(row: dict[str, Any]) -> None:
    assert "".join(f"{line}\n" for line in description.lines(row["object"])) == row["describe"]


def test_other_objects_are_described_with_all_their_fields() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"b": "2", "a": "1"}, "uid": "8"},
        "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "targetPort": "http"}], "type": "ClusterIP"},
        "status": {"ready": True, "reason": None},
    }
    assert list(description.lines(service)) == [
        "Name:         web",
        "Namespace:    shop",
        "Labels:       a=1",
        "              b=2",
        "Annotations:  <none>",
        "API Version:  v1",
        "Kind:         Service",
        "Metadata:",
        "  UID:  8",
        "Spec:",
        "  Cluster I Ps:",
        "    10.96.0.1",
        "  Ports:",
        "    Port:         80",
        "    Target Port:  http",
        "  Type:  ClusterIP",
        "Status:",
        "  Ready:   true",
        "  Reason:  <none>",
    ]
