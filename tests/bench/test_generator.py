# SPDX-License-Identifier: Apache-2.0
"""The generated clusters: the same for the same numbers, as large as asked, and as real as claimed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest

from bench import manifests
from bench.generator import generate
from bench.size import Size
from podfence.kube.load import load
from podfence.kube.objects import KubeObject, Namespace, NetworkPolicy, Pod, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIZES = [
    Size(10, 3, 0),
    Size(50, 4, 20),
    Size(300, 12, 1),
    Size(500, 20, 125, seed=7),
    Size(200, 60, 900),
    Size(10, 3, 5, mode="workloads"),
    Size(500, 20, 125, mode="workloads"),
]
EVERY_KIND_OF_POLICY = Size(200, 20, 400)


def plain(objects: Iterable[KubeObject]) -> list[object]:
    """Return objects as values that can be compared, without where they came from."""
    return [(item.key, msgspec.to_builtins(msgspec.structs.replace(item, origin=None))) for item in objects]


def replicas(item: KubeObject) -> int:
    return item.replicas if isinstance(item, Workload) else int(isinstance(item, Pod))


@pytest.fixture(scope="module")
def policies() -> list[NetworkPolicy]:
    return [item for item in generate(EVERY_KIND_OF_POLICY) if isinstance(item, NetworkPolicy)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_same_size_gives_the_same_cluster_and_the_same_manifests(size: Size) -> None:
    assert plain(generate(size)) == plain(generate(size))
    assert manifests.text(generate(size)) == manifests.text(generate(size))


def test_another_seed_gives_another_cluster() -> None:
    assert manifests.text(generate(Size(50, 4, 20, seed=1))) != manifests.text(generate(Size(50, 4, 20, seed=2)))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_counts_are_as_asked(size: Size) -> None:
    objects = generate(size)

    assert sum(replicas(item) for item in objects) == size.pods
    assert sum(isinstance(item, Namespace) for item in objects) == size.namespaces
    assert sum(isinstance(item, NetworkPolicy) for item in objects) == size.policies


@pytest.mark.parametrize("size", [Size(9, 3, 0), Size(10, 2, 0)], ids=str)
def test_a_cluster_too_small_for_its_system_is_refused(size: Size) -> None:
    with pytest.raises(ValueError, match="at least 10 pods and 3 namespaces"):
        generate(size)


def test_workloads_are_deployments_only() -> None:
    kinds = {item.key.kind for item in generate(Size(100, 5, 20, mode="workloads"))}

    assert kinds == {"Namespace", "Deployment", "Service", "NetworkPolicy"}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_object_has_its_own_name(size: Size) -> None:
    assert [key for key, count in Counter(item.key for item in generate(size)).items() if count > 1] == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_manifests_are_valid_and_say_what_the_objects_say(size: Size, tmp_path: Path) -> None:
    objects = generate(size)

    manifests.write(objects, tmp_path / "cluster")
    loaded = load([str(tmp_path / "cluster")])

    assert loaded.warnings == ()
    assert loaded.ignored == {}
    assert sorted(plain(loaded.objects), key=repr) == sorted(plain(objects), key=repr)


def test_pods_of_a_live_cluster_run_have_owners_and_addresses_of_their_own() -> None:
    pods = [item for item in generate(Size(500, 20, 0)) if isinstance(item, Pod)]
    addresses = Counter(pod.addresses[0] for pod in pods if not pod.template.host_network)

    assert {pod.phase for pod in pods} == {"Running"}
    assert {pod.owner.kind for pod in pods if pod.owner} == {"ReplicaSet", "StatefulSet", "DaemonSet"}
    assert all(pod.template.node and pod.node_addresses for pod in pods)
    assert set(addresses.values()) == {1}


def test_of_five_namespaces_two_are_denied_both_ways_two_ingress_and_one_is_open() -> None:
    size = Size(500, 52, 1000)
    objects = generate(size)
    denied: dict[str, tuple[str, ...]] = {
        item.namespace: item.policy_types
        for item in objects
        if isinstance(item, NetworkPolicy) and item.name.startswith("default-deny")
    }
    with_policies = {item.namespace for item in objects if isinstance(item, NetworkPolicy)}

    assert Counter(denied.values()) == {("Ingress", "Egress"): 20, ("Ingress",): 20}
    assert with_policies == set(denied)


def test_namespaces_denied_both_ways_may_ask_the_cluster_dns(policies: list[NetworkPolicy]) -> None:
    by_name = {(policy.namespace, policy.name): policy for policy in policies}
    both = [item.namespace for item in policies if item.name == "default-deny" and len(item.policy_types) == 2]

    assert both
    for namespace in both:
        (rule,) = by_name[namespace, "allow-dns"].egress
        assert {(port.protocol, port.port) for port in rule.ports} == {("UDP", 53), ("TCP", 53)}


@pytest.mark.parametrize(
    ("feature", "pattern"),
    [
        ("a port range", '"end_port":8999'),
        ("a named port", '"port":"metrics"'),
        ("UDP", '"protocol":"UDP"'),
        ("SCTP", '"protocol":"SCTP"'),
        ("a block with exceptions", '"excepts":["10.0.0.0/8"'),
        ("a namespace by team", '"key":"team","operator":"In"'),
        ("a namespace by name", '"key":"kubernetes.io/metadata.name","operator":"In","values":["monitoring"]'),
        ("In with several values", '"values":["backend","frontend"]'),
        ("NotIn", '"operator":"NotIn"'),
        ("Exists", '"operator":"Exists"'),
        ("DoesNotExist", '"operator":"DoesNotExist"'),
        ("all egress", '"egress":[{"peers":[],"ports":[],'),
    ],
)
def test_policies_use_every_feature_that_people_use(feature: str, pattern: str, policies: list[NetworkPolicy]) -> None:
    assert any(pattern in msgspec.json.encode(policy).decode() for policy in policies), feature
