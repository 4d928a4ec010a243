# SPDX-License-Identifier: Apache-2.0
"""What is measured on a node is what the tables say: rules are there, packets pass, the kernel is told of events."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from bench import kernel
from bench.pod_policies import cluster
from bench.size import Size
from podfence.api import Cluster
from podfence.kube.objects import NetworkPolicy

if TYPE_CHECKING:
    from pathlib import Path

in_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="rules are measured in network namespaces of their own, as root and with nft",
)
SMALL = Size(200, 5, 60, per_node=50)


@in_namespaces
def test_every_kind_of_rules_lets_connections_pass_at_a_rate() -> None:
    samples = kernel.measure("connections", 1, 0.05, 0, 20, limit=600)

    assert list(samples) == [
        *("no rules 0", "connection tracking alone 0", "podfence 0", "podfence 20"),
        *("podfence, links bound 0", "podfence, links bound 20"),
        "a chain per policy 20",
        *("bridge: no rules 0", "bridge: connection tracking alone 0", "bridge: podfence 0", "bridge: podfence 20"),
        *("bridge: podfence, links bound 0", "bridge: podfence, links bound 20"),
    ]
    assert all(rate > 0 and 0 < spent < 1 for ((rate, spent),) in samples.values())


@in_namespaces
def test_new_pods_connect_under_every_kind_of_rules() -> None:
    samples = kernel.measure("first", 1, 2, 20, limit=600)

    kinds = ("no rules", "podfence", "podfence, links bound")
    assert list(samples) == [*kinds, *(f"bridge: {kind}" for kind in kinds)]
    assert all(len(found) == 2 for found in samples.values())


@in_namespaces
def test_a_flow_is_answered_under_rules_and_timed() -> None:
    samples = kernel.measure("latency", 1, 200, 20, limit=600)

    assert all(0 < median <= slow for ((median, slow),) in samples.values())


@in_namespaces
def test_changes_that_follow_each_other_take_time_of_the_processor_for_each_number_of_flows() -> None:
    samples = kernel.measure("changing", 1, 2, 3, limit=600)

    assert list(samples) == [
        f"{name} {many}" for name in ("another", "their own", "something else") for many in (3, "ended")
    ]
    assert all(0 < spent < 1 for ((spent,),) in samples.values())


@in_namespaces
def test_events_of_every_kind_reach_the_kernel_and_it_holds_what_it_should_in_the_end() -> None:
    samples = kernel.measure("events", 1, *SMALL.arguments(), limit=600)

    kinds = {name for name in samples if name not in {"memory", "look"}}
    assert kinds == {
        *("local pod relabelled", "local pod deleted", "local pod added"),
        *("pod elsewhere relabelled", "pod elsewhere deleted", "pod elsewhere added"),
        *("policy changed", "policy deleted", "policy added", "namespace relabelled"),
    }


@in_namespaces
def test_a_cold_start_is_timed_beside_a_flow_that_goes_on() -> None:
    samples = kernel.measure("start", 1, *SMALL.arguments(), limit=600)

    assert all(seconds > 0 for ((seconds,),) in samples.values())
    assert samples.keys() == {"start", "delay", "delay, no start"}


def test_without_the_tools_a_sentence_stands_where_numbers_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = kernel.section(tmp_path, quick=True)

    assert found.text == "Not measured: nft, ip, unshare, nsenter not found."
    assert not found.missed


@pytest.mark.parametrize("policies", [1, 2, 7])
def test_of_all_policies_on_the_pod_one_admits_the_client(policies: int) -> None:
    objects = list(cluster(policies))
    loaded = Cluster.from_objects(objects)

    assert sum(isinstance(item, NetworkPolicy) for item in objects) == policies
    assert loaded.check("shop/client", "shop/server", 8000).allowed
    assert not loaded.check("shop/peer-0", "shop/server", 9999).allowed
