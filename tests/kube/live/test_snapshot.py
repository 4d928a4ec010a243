# SPDX-License-Identifier: Apache-2.0
"""A running cluster is read as files are: the same objects, warnings and errors, with names in place of lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from podfence.errors import InputError
from podfence.kube import yaml
from podfence.kube.access.access import Choice
from podfence.kube.access.load import load as load_access
from podfence.kube.decode import decode
from podfence.kube.live.errors import ForbiddenError, NotFoundError, ThrottledError
from podfence.kube.live.fields import WRITTEN
from podfence.kube.live.items import Reader
from podfence.kube.live.resources import RESOURCES
from podfence.kube.live.snapshot import _Threads, load_live
from podfence.kube.registry import Need, needed
from tests.kube.access.kubeconfigs import single
from tests.kube.live.api import PODS, POLICIES, Api, listed, pod, policy, says, status

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.kube.load import Loaded

NAMESPACES = "/api/v1/namespaces"


LISTED = needed(Need.LIVE)


def cluster() -> Api:
    """Return a server with one namespace, one pod and one policy, and no objects of other kinds."""
    api = Api()
    for resource in RESOURCES.values():
        api.lists[resource.path] = listed([], 9)
    api.lists[NAMESPACES] = listed([{"metadata": {"name": "shop", "resourceVersion": "1"}}], 9)
    api.lists[PODS] = listed([pod("web", 2, app="web")], 9)
    api.lists[POLICIES] = listed([policy("db", 3, ingress=[{}])], 9)
    return api


def load(api: Api, folder: Path, **how: Any) -> Loaded:  # noqa: ANN401  as load_live takes them
    choice = Choice(kubeconfig=single(folder / "config", cluster={"server": f"http://127.0.0.1:{api.port}"}))
    return load_live(load_access(choice, {}), {}, **how)


def test_every_kind_is_read_and_has_its_path(tmp_path: Path) -> None:
    api = cluster()
    told: list[tuple[float, int]] = []
    with api.in_thread():
        loaded = load(api, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert [str(item.key) for item in loaded.objects] == [
        "Namespace shop",
        "Pod shop/web",
        "NetworkPolicy shop/db",
    ]
    assert loaded.warnings == ()
    assert loaded.ignored == {}
    assert loaded.listed == set(LISTED)
    assert told == [(number, len(LISTED)) for number in range(1, len(LISTED) + 1)]
    assert {
        kind: RESOURCES[kind].path for kind in ("Node", "EndpointSlice", "CronJob", "NetworkPolicy", "Deployment")
    } == {
        "Node": "/api/v1/nodes",
        "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
        "CronJob": "/apis/batch/v1/cronjobs",
        "NetworkPolicy": POLICIES,
        "Deployment": "/apis/apps/v1/deployments",
    }


def test_places_are_names(tmp_path: Path) -> None:
    api = cluster()
    with api.in_thread():
        origin = load(api, tmp_path).objects[-1].origin
    assert origin is not None
    assert str(origin.at()) == "live"
    assert str(origin.at("spec", "ingress", 0)) == "spec.ingress[0]"
    assert origin.excerpt("spec") == ()


TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "a", "null": None}},
    "spec": {
        "hostNetwork": True,
        "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80}]}],
        "initContainers": [
            {"name": "s", "image": "i", "restartPolicy": "Always", "ports": [{"containerPort": 1, "protocol": "UDP"}]},
            {"name": "t", "image": "i", "ports": [{"containerPort": 2}]},
        ],
    },
}
OWNER: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Service", "name": "o", "uid": "u", "controller": True}]
WORKLOAD: dict[str, Any] = {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}
CONTENTS: dict[str, dict[str, Any]] = {
    "Namespace": {},
    "Pod": {
        "spec": {**TEMPLATE["spec"], "nodeName": "n"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "hostIPs": [{"ip": "10.1.0.1"}], "conditions": [{}]},
    },
    "Deployment": {"spec": WORKLOAD},
    "StatefulSet": {"spec": {**WORKLOAD, "serviceName": "s"}},
    "DaemonSet": {"spec": {key: value for key, value in WORKLOAD.items() if key != "replicas"}},
    "ReplicaSet": {"spec": WORKLOAD},
    "ReplicationController": {"spec": {**WORKLOAD, "selector": {"app": "a"}}},
    "Job": {
        "spec": {"parallelism": 2, "template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
    },
    "CronJob": {
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}},
        }
    },
    "Service": {
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "a"},
            "ports": [{"port": 80, "targetPort": "http", "nodePort": 30000, "name": "p"}],
            "clusterIP": "10.2.0.1",
            "clusterIPs": ["10.2.0.1", "fd00::1"],
            "externalIPs": ["203.0.113.1"],
            "externalTrafficPolicy": "Local",
            "publishNotReadyAddresses": True,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.2"}]}},
    },
    "EndpointSlice": {
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "targetRef": {"kind": "Pod", "name": "p"}}
        ],
        "ports": [{"name": "p", "port": 80, "protocol": "UDP"}],
    },
    "Node": {
        "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.1.0.1"}, {"type": "Hostname", "address": "n"}]},
    },
    "NetworkPolicy": {
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}
            ],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "endPort": 90}]}],
        }
    },
}


@pytest.mark.parametrize("kind", LISTED)
def test_an_object_of_a_server_is_what_the_same_object_of_a_file_is(kind: str) -> None:
    resource = RESOURCES[kind]
    metadata = {
        "name": "x",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": "2026-01-02T00:00:00Z",
        "labels": {"app": "a"},
        "annotations": {"net.beta.kubernetes.io/network-policy": "{}"},
        "ownerReferences": OWNER,
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
        "finalizers": ["kubernetes"],
        "generation": 4,
    }
    if not resource.namespaced:
        del metadata["namespace"]
    text = json.dumps(
        {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, **CONTENTS[kind]}
    ).encode()
    documents, _ = yaml.parse(text, "dump.json", None)
    found, problems = decode(documents)[:2]
    assert [str(problem) for problem in problems] == []
    (written,) = found
    item = Reader(resource).item(text)
    assert item.reason == ""
    assert item.revision == "7"
    assert item.object is not None
    assert item.key == item.object.key == written.key
    assert msgspec.to_builtins(item.object) == msgspec.to_builtins(msgspec.structs.replace(written, origin=None))


def test_all_kinds_have_their_fields() -> None:
    assert tuple(WRITTEN) == LISTED


@pytest.mark.parametrize("kind", ["Namespace", "Pod", "NetworkPolicy"])
def test_without_what_decides_there_is_no_answer(tmp_path: Path, kind: str) -> None:
    api, path = cluster(), RESOURCES[kind].path
    with api.in_thread():
        api.script[path] = deque(
            [says(status(403, f'User "j" cannot list resource "{RESOURCES[kind].plural}" in API group ""'), 403)]
        )
        with pytest.raises(ForbiddenError, match="grant it with a ClusterRole rule"):
            load(api, tmp_path)
        del api.lists[path]
        with pytest.raises(NotFoundError):
            load(api, tmp_path)


def test_without_other_kinds_the_answer_knows_less_and_says_so(tmp_path: Path) -> None:
    api = cluster()
    api.script["/api/v1/nodes"] = deque([says(status(403, "no"), 403)])
    del api.lists[RESOURCES["CronJob"].path]
    with api.in_thread():
        loaded = load(api, tmp_path)
    (warning,) = loaded.warnings
    assert (
        str(warning) == "nodes: warning: may not be listed, so the answer knows nothing of them "
        '(grant it with a ClusterRole rule: {apiGroups: [""], resources: ["nodes"], verbs: ["list"]})'
    )
    assert len(loaded.objects) == 3
    assert set(LISTED) - loaded.listed == {"Node", "CronJob"}


def test_a_version_that_is_not_served_is_read_in_an_older_one(tmp_path: Path) -> None:
    api = cluster()
    old = policy("old", 3, ingress=[{"from": []}])
    del api.lists[POLICIES]
    api.lists["/apis/extensions/v1beta1/networkpolicies"] = listed([old], 9)
    with api.in_thread():
        policies = [load(api, tmp_path, legacy=legacy).objects[-1] for legacy in ("auto", "v1")]
    assert [item.api_version for item in policies if hasattr(item, "api_version")] == ["extensions/v1beta1"] * 2


def test_what_cannot_be_read_is_an_error_where_it_decides(tmp_path: Path) -> None:
    api = cluster()
    api.lists[POLICIES]["items"] += [
        policy("unknown", 4, ingres=[]),
        policy("lax", 5, egress=[{"to": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]}]),
    ]
    api.lists["/api/v1/nodes"] = listed([{"metadata": {"name": "n", "resourceVersion": "1", "labels": []}}], 9)
    with api.in_thread(), pytest.raises(InputError) as caught:
        load(api, tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [
        'NetworkPolicy shop/lax: warning: spec.egress[0].to[0].ipBlock.cidr: non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"',
        "NetworkPolicy shop/unknown: error: cannot be read: object contains unknown field `ingres` - at `$.spec`",
        "Node n: warning: left out: expected `object | null`, got `array` - at `$.metadata.labels`",
    ]


def test_policies_of_other_kinds_are_counted(tmp_path: Path) -> None:
    api = cluster()
    groups = [
        ("cilium.io", "cilium.io/v2"),
        ("policy.networking.k8s.io", "policy.networking.k8s.io/v1alpha2"),
        ("apps", "apps/v1"),
    ]
    api.lists["/apis"] = {
        "groups": [{"name": name, "preferredVersion": {"groupVersion": version}} for name, version in groups]
    }
    api.lists["/apis/cilium.io/v2"] = {
        "resources": [
            {"name": "ciliumnetworkpolicies", "kind": "CiliumNetworkPolicy"},
            {"name": "ciliumnetworkpolicies/status", "kind": "CiliumNetworkPolicy"},
            {"name": "ciliumendpoints", "kind": "CiliumEndpoint"},
        ]
    }
    api.lists["/apis/cilium.io/v2/ciliumnetworkpolicies"] = {"metadata": {"remainingItemCount": 6}, "items": [{}]}
    api.lists["/apis/policy.networking.k8s.io/v1alpha2"] = {
        "resources": [{"name": "clusternetworkpolicies", "kind": "ClusterNetworkPolicy"}]
    }
    api.script["/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"] = deque([says(status(403, "no"), 403)])
    with api.in_thread():
        loaded = load(api, tmp_path)
    assert Counter(loaded.ignored) == {"CiliumNetworkPolicy.cilium.io": 7}
    assert [problem.position.file for problem in loaded.warnings] == ["clusternetworkpolicies.policy.networking.k8s.io"]


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    api = cluster()
    api.script[PODS] = deque([says(status(429, "slow"), 429)])
    with api.in_thread():
        assert len(load(api, tmp_path).objects) == 3
        api.script[PODS] = deque([says(status(429, "slow"), 429) for _ in range(5)])
        with pytest.raises(ThrottledError, match="try again"):
            load(api, tmp_path)


def test_a_call_that_runs_in_a_thread_ends_although_nobody_waits_for_it_any_more() -> None:
    runs, may_end = threading.Event(), threading.Event()

    def call() -> int:
        runs.set()
        may_end.wait()
        return 3

    future = _Threads().submit(call)
    runs.wait()

    assert not future.cancel()
    may_end.set()
    assert future.result() == 3


INTERRUPTED = """
import sys
from podfence.kube.access.access import Choice
from podfence.kube.access.load import load
from podfence.kube.live.snapshot import load_live
environ = {"PATH": "/bin:/usr/bin"}
try:
    load_live(load(Choice(kubeconfig=sys.argv[1]), environ), environ)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("waits_for", ["server", "plugin"])
def test_an_interrupt_ends_at_once(tmp_path: Path, waits_for: str) -> None:
    waiting = tmp_path / "waiting"
    api = Api()

    async def wait(_request: object) -> Any:  # noqa: ANN401  never one
        waiting.touch()
        await api.events.get()

    api.script[NAMESPACES] = deque([wait])
    user: dict[str, object] = {}
    with api.in_thread():
        server = f"http://127.0.0.1:{api.port}"
        if waits_for == "plugin":
            # It does not end by the interrupt, as one that a terminal does not reach.
            command = f"trap '' INT; touch {waiting}; sleep 60"
            exec_ = {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "sh",
                "args": ["-c", command],
                "interactiveMode": "Never",
            }
            user, server = {"exec": exec_}, "https://127.0.0.1:1"
        config = single(tmp_path / "config", user=user, cluster={"server": server})
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, config], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            while not waiting.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGINT)
            assert process.communicate(timeout=60)[0] == "interrupted\n"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
