# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent, the server answers with a Status and goes on: no request is a fault of the server."""

from __future__ import annotations

import contextlib
import json
import random
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.lab.addresses import Plan
from podfence.lab.apiserver import reading
from podfence.lab.apiserver.admission import complete
from podfence.lab.apiserver.bodies import read
from podfence.lab.apiserver.fields import Type, kind_type
from podfence.lab.apiserver.objects import Objects
from podfence.lab.apiserver.options import WriteOptions
from podfence.lab.apiserver.paths import Target
from podfence.lab.apiserver.scaling import scale_of
from podfence.lab.apiserver.tables import table
from podfence.lab.objects.world import World
from podfence.lab.store.errors import RefusedError
from podfence.lab.store.resources import RESOURCES as RESOURCE_ROWS
from podfence.lab.store.resources import Resource
from podfence.lab.store.store import Store
from tests.lab.apiserver.serving import Served, served
from tests.twin.effort import part, tried

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALARS = st.sampled_from(
    [None, True, 0, -1, 2**31, 1.5, "", "a", "a b", "x" * 300, "10.0.0.0/8", "2026-01-01T00:00:00Z", "\ud800"]
)
KEYS = st.sampled_from(
    [
        *("metadata", "spec", "status", "name", "namespace", "labels", "kind", "apiVersion", "generateName", "uid"),
        *("podSelector", "ingress", "from", "ports", "port", "matchLabels", "matchExpressions", "policyTypes", "key"),
        *("containers", "image", "template", "selector", "replicas", "data", "resourceVersion", "finalizers", "type"),
        *("$patch", "$retainKeys", "$setElementOrder/containers", "op", "path", "value", "dryRun", "annotations"),
        *("strategy", "rollingUpdate", "roleRef", "subjects", "ownerReferences", "involvedObject", "jobTemplate"),
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
NEAR_OBJECTS = st.fixed_dictionaries(
    {"metadata": st.dictionaries(KEYS, VALUES, max_size=3) | st.just({"name": "a"}), "spec": VALUES}
)
JSON_PATCHES = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy"]), "value": VALUES},
        optional={"path": st.sampled_from(["", "/", "/spec", "/metadata/labels", "/spec/ingress/-", "/metadata/name"])},
    ),
    max_size=3,
)
RESOURCES = st.sampled_from(
    [
        *("api/v1/namespaces/default/pods", "api/v1/namespaces/default/services", "api/v1/namespaces", "api/v1/nodes"),
        *("apis/networking.k8s.io/v1/namespaces/default/networkpolicies", "api/v1/pods", "api/v1/events"),
        *("apis/extensions/v1beta1/namespaces/default/networkpolicies", "apis/batch/v1/namespaces/default/cronjobs"),
        *("apis/apps/v1/namespaces/default/deployments", "apis/apps/v1/namespaces/default/statefulsets"),
        *("apis/apps/v1/namespaces/default/daemonsets", "apis/batch/v1/namespaces/default/jobs"),
        *("api/v1/namespaces/default/secrets", "apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"),
        *(
            "api/v1/namespaces/default/replicationcontrollers",
            "apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        ),
        *("apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "openapi/v3", "apis/nope/v1", "api", "apis/apps"),
    ]
)
ENDS = st.sampled_from(["", "", "/a", "/a", "/a/status", "/a/scale", "/a/nope", "/", "/a/b/c"])
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *(
                "limit",
                "continue",
                "labelSelector",
                "fieldSelector",
                "resourceVersion",
                "resourceVersionMatch",
                "dryRun",
            ),
            *("fieldValidation", "fieldManager", "force", "propagationPolicy", "gracePeriodSeconds", "includeObject"),
        ]
    ),
    st.sampled_from(
        [
            *("", "1", "-1", "x", "All", "Strict", "a=b", "a in (b,c),!d", "a===", "((", "metadata.name=a", "spec.x=1"),
            *("Exact", "NotOlderThan", "true", "99999999999999999999", "Object", "eyJ2IjoxfQ", "\u0660", "!", "a,"),
        ]
    ),
    max_size=3,
)
TYPES = st.sampled_from(
    [
        *("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", ""),
        *("application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json"),
        *("application/merge-patch+json", "application/apply-patch+yaml", "application/strategic-merge-patch+json"),
    ]
)
ACCEPTS = st.sampled_from(
    ["application/json", "*/*", "application/yaml", "text/html", "application/json;as=Table;v=v1;g=meta.k8s.io", ";,"]
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    # That of a lab, so that what a lab has against objects is asked too.
    with served(World(Plan(), 1).store, as_lab=True) as found:
        yield found


@tried(1500)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    path=RESOURCES,
    end=ENDS,
    query=QUERIES,
    body=VALUES | NEAR_OBJECTS | NEAR_OBJECTS | JSON_PATCHES | st.binary(max_size=40),
    content_type=TYPES,
    accept=ACCEPTS,
)
def test_no_request_is_a_fault_of_the_server(
    server: Served,
    method: str,
    path: str,
    end: str,
    query: dict[str, str],
    body: object,
    content_type: str,
    accept: str,
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = server.client.send(
        method, f"/{path}{end}?{urlencode(query)}", data, headers={"Content-Type": content_type, "Accept": accept}
    )
    # A revision that has not come yet is answered with 504, as Kubernetes does.
    assert reply.code < 500 or (reply.code == 504 and "resourceVersion" in query), reply.body
    assert server.faults == []
    if reply.code >= 400 and isinstance(reply.body, dict):
        assert reply.body["kind"] == "Status"
        assert reply.body["message"]


def some_value(rng: random.Random, of: Type, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value of a type, now and then an empty one."""
    if rng.random() < 0.1:
        return None
    match of.form:
        case "struct":
            return some_object(rng, of, depth - 1)
        case "list":
            return [some_value(rng, of.held, depth) for _ in range(rng.randrange(3) if depth > 0 else 0)]
        case "map":
            count = rng.randrange(3) if depth > 0 else 0
            return {rng.choice(["a", "b", ""]): some_value(rng, of.held, depth) for _ in range(count)}
        case "bool":
            return rng.random() < 0.5
        case "int":
            return rng.choice([0, 1, -1, 80, 70000])
        case "intstr":
            return rng.choice([0, 80, "http", "25%", ""])
        case "quantity":
            return rng.choice(["1", "100m", "1Gi"])
        case "time" | "micro":
            return "2026-01-01T00:00:00Z"
        case "bytes":
            return "YQ=="
        case "fields":
            return {}
    return rng.choice(["", "a", "Always", "In", "TCP", "10.0.0.0/8", "NodePort", "RollingUpdate", "LoadBalancer"])


def some_object(rng: random.Random, of: Type, depth: int) -> dict[str, Any]:
    fields = of.struct.fields
    if depth <= 0:
        return {}
    names = rng.sample(sorted(fields), min(len(fields), rng.randrange(6)))
    names += [name for name in ("spec", "containers", "template", "selector", "ports") if name in fields]
    return {name: some_value(rng, fields[name].type, depth) for name in names}


@pytest.mark.parametrize("key", [key for key, row in RESOURCE_ROWS.items() if not row.stored_as])
def test_objects_of_the_right_types_are_stored_or_refused_and_can_be_shown(key: str) -> None:
    row = RESOURCE_ROWS[key]
    of = kind_type(row.group, row.kind)
    complete(store := Store())
    store.create("namespaces", {"metadata": {"name": "default"}})
    objects = Objects(store)
    for seed in range(part(250)):
        rng = random.Random(f"{key}/{seed}")
        value = some_object(rng, of, 7)
        value["metadata"] = {"name": "a", "labels": {"x": "y"}}
        body = json.dumps(value).encode()
        how = rng.choice(["merge", "strategic"])
        for write in (
            partial(create, objects, row, body),
            partial(update, objects, row, body),
            partial(objects.patch, target(row), body, how, WARN, unheard),
        ):
            with contextlib.suppress(RefusedError):
                write()
        # Others write into the store too, and what they write has to be shown.
        shown = [reading.Reader().read(value, of), *store.list(key)[0]]
        table(row.kind, shown, {}, "Object", 2e9)
        if row.has_scale:
            scale_of(row, {**shown[0], "metadata": {**dict.fromkeys(META, ""), **shown[0]["metadata"]}})


WARN = WriteOptions(dry_run=False, validation="Warn", force=False)


def unheard(_warning: str) -> None:
    """Take a warning that nobody reads."""


def target(row: Resource) -> Target:
    return Target(row, "default" if row.namespaced else "", "a")


def create(objects: Objects, row: Resource, body: bytes) -> None:
    objects.create(row, target(row).namespace, read(body, "", row), WARN, unheard)


def update(objects: Objects, row: Resource, body: bytes) -> None:
    objects.update(target(row), read(body, "", row), WARN, unheard)


META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
