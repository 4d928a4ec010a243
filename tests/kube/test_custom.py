# SPDX-License-Identifier: Apache-2.0
"""Workloads of other projects' kinds, OpenShift's Templates, and Endpoints are read from what they have in common."""

from __future__ import annotations

from typing import Any

import pytest

from podfence.kube.decode import Decoded, decode
from podfence.kube.objects import Endpoints, Workload
from podfence.kube.yaml import parse

TEMPLATE = "{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}}"


def read(text: str, **options: Any) -> Decoded:  # noqa: ANN401  as decode takes them
    documents, problems = parse(text.encode(), "a.yaml")
    assert not problems
    return decode(documents, validation="answer", **options)


def custom(version: str, kind: str, spec: str = f"{{template: {TEMPLATE}}}") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x, namespace: shop}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("version", "kind", "called"),
    [
        ("argoproj.io/v1alpha1", "Rollout", "Rollout"),
        ("apps.openshift.io/v1", "DeploymentConfig", "DeploymentConfig"),
        ("v1", "DeploymentConfig", "DeploymentConfig"),
        ("apps.kruise.io/v1alpha1", "CloneSet", "CloneSet"),
        ("serving.knative.dev/v1", "Service", "Service.serving.knative.dev"),
        ("example.com/v1", "Deployment", "Deployment.example.com"),
    ],
)
def test_an_object_with_a_pod_template_is_a_workload_of_its_kind(version: str, kind: str, called: str) -> None:
    found = read(custom(version, kind))
    (item,) = found.objects
    assert isinstance(item, Workload)
    assert item.key == (called, "shop", "x")
    assert (item.template.labels, item.template.ports[0].number, item.replicas) == ({"app": "a"}, 80, 1)
    assert (found.problems, dict(found.ignored)) == ([], {})


@pytest.mark.parametrize(
    "spec",
    ["{template: a text}", "{template: {spec: {containers: []}}}", "{template: {spec: {containers: {a: b}}}}",
     "{template: {spec: {containers: [text]}}}", "{template: [1]}", "text", "null", "{}"],
)  # fmt: skip
def test_an_object_without_containers_in_its_template_is_counted_and_no_workload(spec: str) -> None:
    found = read(custom("argoproj.io/v1alpha1", "Rollout", spec))
    assert (found.objects, found.problems, dict(found.ignored)) == ([], [], {"Rollout.argoproj.io": 1})


def test_a_kind_of_kubernetes_that_is_misspelt_is_no_other_projects_kind() -> None:
    found = read(custom("apps/v1", "Deploymemt"))
    assert not found.objects
    assert "did you mean Deployment?" in str(found.problems[0])


def test_any_way_to_say_replicas_is_read() -> None:
    for written, replicas in (("3", 3), ("auto", 1), ("-1", 0), ("{min: 2}", 1)):
        (item,) = read(custom("x.io/v1", "Thing", f"{{replicas: {written}, template: {TEMPLATE}}}")).objects
        assert getattr(item, "replicas", None) == replicas


def test_labels_and_ports_of_another_kinds_template_are_checked() -> None:
    found = read(
        custom("x.io/v1", "Thing", f"{{template: {TEMPLATE}}}".replace("app: a", "app: a b").replace("80", "0"))
    )
    assert [problem.field for problem in found.problems] == [
        "spec.template.metadata.labels",
        "spec.template.spec.containers[0].ports[0].containerPort",
    ]


def test_without_custom_kinds_they_are_counted_as_for_an_api_server() -> None:
    found = read(custom("argoproj.io/v1alpha1", "Rollout"), custom=False)
    assert (found.objects, dict(found.ignored)) == ([], {"Rollout.argoproj.io": 1})


OPENSHIFT = f"""\
apiVersion: template.openshift.io/v1
kind: Template
metadata: {{name: t}}
parameters:
- {{name: NAME, value: api}}
- {{name: COUNT, value: "3"}}
- {{name: OPEN, required: true}}
objects:
- apiVersion: apps.openshift.io/v1
  kind: DeploymentConfig
  metadata: {{name: "${{NAME}}-1", namespace: shop}}
  spec: {{replicas: "${{{{COUNT}}}}", template: {TEMPLATE}}}
"""


def test_a_template_of_openshift_is_its_objects_with_the_values_of_its_parameters() -> None:
    (item,) = read(OPENSHIFT).objects
    assert isinstance(item, Workload)
    assert (item.name, item.replicas) == ("api-1", 3)
    assert item.origin is not None
    assert item.origin.at("metadata", "name").line == 11


def test_a_parameter_that_is_left_open_is_told_where_it_matters() -> None:
    (problem,) = read(OPENSHIFT.replace("${NAME}", "${OPEN}")).problems
    assert (problem.field, problem.position.line) == ("metadata.name", 11)
    assert problem.remedy == "this looks like a template: render it first"
    assert read(OPENSHIFT.replace("${{COUNT}}", "${{OPEN}}")).objects


@pytest.mark.parametrize(
    ("objects", "problem"),
    [("", "objects: Required value"), ("objects: text", "objects: expected a list"), ("objects: [text]", "expected a Kubernetes object"), ("parameters: {a: b}\nobjects: [1]", "expected a Kubernetes object")],
)  # fmt: skip
def test_a_template_that_is_none_is_an_error_with_its_place(objects: str, problem: str) -> None:
    found = read(f"apiVersion: v1\nkind: Template\nmetadata: {{name: t}}\n{objects}\n")
    assert problem in str(found.problems[0])


def test_endpoints_are_slices_of_addresses_with_the_same_ports() -> None:
    (item,) = read(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: db, namespace: shop}\nsubsets:\n"
        "- {addresses: [{ip: 10.0.0.1, nodeName: n1, targetRef: {kind: Pod, name: p}}], notReadyAddresses: [{ip: 10.0.0.2}], ports: [{port: 80}]}\n"
        "- {addresses: [{ip: 10.0.0.3}], ports: [{port: 81, protocol: UDP, name: x}]}\n- null\n"
    ).objects
    assert isinstance(item, Endpoints)
    first, second = item.slices
    assert [(backend.addresses, backend.pod, backend.ready, backend.node) for backend in first.backends] == [
        (("10.0.0.1",), "p", True, "n1"),
        (("10.0.0.2",), "", False, ""),
    ]
    assert [(port.number, port.protocol, port.name) for port in second.ports] == [(81, "UDP", "x")]
    assert first.service == "db"
