# SPDX-License-Identifier: Apache-2.0
"""Worlds to try things in: applied texts, and a supervisor that does at once what it is told."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from podfence.errors import InputError
from podfence.kube import yaml
from podfence.kube.decode import decode
from podfence.kube.findings import Severity
from podfence.kube.objects import Key
from podfence.lab import applying, manifests
from podfence.lab.addresses import Plan
from podfence.lab.apiserver import bodies
from podfence.lab.apiserver.objects import PATCHES, Objects, shown
from podfence.lab.apiserver.options import write_options
from podfence.lab.apiserver.paths import Target, target_of
from podfence.lab.apiserver.rules import CURRENT, Policies
from podfence.lab.objects.statuses import ContainerReport
from podfence.lab.objects.world import World
from podfence.lab.rest import JSON, RefusedError, Rest, resource
from podfence.lab.store import errors as refusals
from podfence.lab.store.errors import ForbiddenError, NotFoundError
from podfence.lab.store.resources import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podfence.kube.objects import Pod
    from podfence.kube.origin import Document
    from podfence.kube.positions import SourceDocument
    from podfence.lab.objects.containers import PodSpec
    from podfence.lab.objects.world import Steps
    from podfence.lab.store.store import Store
    from podfence.sets.addresses import Family


NOW = 1_795_000_000.0


def world(nodes: int = 2, families: Sequence[Family] = (4,), *, old: bool = False) -> World:
    """Return a world whose first steps are taken."""
    made = World(Plan(tuple(families)), nodes, old=old, clock=lambda: NOW)
    settle(made)
    return made


class Server(Rest):
    """Does with a request what the API server of a lab does with it, and needs no connection for that."""

    def __init__(self, store: Store, policies: Policies = CURRENT) -> None:
        self._objects = Objects(store, policies)

    def send(
        self, method: str, path: str, body: object = None, *, accept: str = JSON, content: str = JSON, during: str = ""
    ) -> dict[str, Any]:
        whole = urlsplit(path)
        target = target_of([unquote(part) for part in whole.path.split("/") if part])
        assert isinstance(target, Target)
        row, where, name = target[:3]
        asked = write_options(dict(parse_qsl(whole.query)), [], "CreateOptions")
        data, warnings = json.dumps(body).encode(), list[str]()
        objects = self._objects
        try:
            if method == "GET":
                found = shown(row, objects.store.get(row.table, where, name))
            elif method == "POST":
                found = objects.create(row, where, bodies.read(data, content, row), asked, warnings.append).body
            else:
                found = objects.patch(target, data, PATCHES[content], asked, warnings.append).body
        except refusals.RefusedError as refusal:
            text = f"Error from server ({refusal.reason}): {during}{refusal}"
            raise RefusedError(text, refusal.body) from refusal
        # A client gets a copy.
        copy: dict[str, Any] = json.loads(json.dumps(found))
        return copy


def documents(text: str, name: str = "app.yaml") -> list[SourceDocument]:
    found, problems = yaml.parse(text.encode(), name)
    assert not problems
    return found


def applied(
    into: World, documents: Iterable[Document], namespace: str = "default", *, legacy: str = "auto"
) -> applying.Applied:
    """Apply documents as a client of the lab does."""
    decoded = decode(documents, legacy=legacy, custom=False, kept=KEPT)
    wrong = [problem for problem in decoded.problems if problem.severity is Severity.ERROR]
    if wrong:
        raise InputError(wrong)
    batch = manifests.written(decoded.objects, namespace)
    files = manifests.files(batch)

    def done(written: manifests.Written) -> None:
        if place := manifests.place(written, files):
            into.came_from(place.key, place.origin(list(files)))
        into.follow()

    state, plan = into.state, into.plan
    blocks = [plan.service_range(family) for family in plan.families]
    labels = {name: node.labels for name, node in state.nodes.items()}
    cluster = applying.Cluster(legacy, blocks, labels)
    return applying.apply(batch, Server(into.store, Policies(legacy=legacy == "v1beta1")), cluster, done)


def apply(into: World, text: str, namespace: str = "default") -> list[str]:
    """Apply a text and return kubectl's lines, which must not be errors."""
    found = applied(into, documents(text), namespace)
    assert not found.problems
    return found.outcomes


def errors(into: World, text: str) -> list[str]:
    """Apply a text and return what is wrong with it, a line each."""
    try:
        return applied(into, documents(text)).problems
    except InputError as error:
        return str(error).splitlines()


def delete(of: World, word: str, *names: str, namespace: str = "default") -> None:
    """Delete objects as a client does."""
    row = resource(word)
    for name in names:
        of.store.delete(row.key, namespace if row.namespaced else "", name)
    of.follow()


def delete_written(of: World, documents: Iterable[Document], namespace: str = "default") -> None:
    """Delete what documents name, if it is there and may go."""
    for document in documents:
        value: Any = document.value
        for item in value.get("items", [value]):
            meta = item["metadata"]
            with suppress(NotFoundError, ForbiddenError):
                delete(of, item["kind"], meta["name"], namespace=meta.get("namespace", namespace))


def label(of: World, word: str, name: str, changes: Mapping[str, str | None], *, namespace: str = "default") -> None:
    """Change labels of an object as a client does; None takes one away."""
    row = resource(word)
    live = of.store.get(row.key, namespace if row.namespaced else "", name)
    labels = {**(live["metadata"].get("labels") or {}), **changes}
    kept = {key: value for key, value in labels.items() if value is not None}
    of.store.update(row.key, {**live, "metadata": {**live["metadata"], "labels": kept}})
    of.follow()


def settle(into: World) -> list[Steps]:
    """Do what a supervisor does until there is nothing to do."""
    done: list[Steps] = []
    while True:
        steps = into.take()
        if not (steps.start or steps.stop or steps.changed):
            return done
        done.append(steps)
        into.pod_stopped(*steps.stop)
        for spec in steps.start:
            runs(into, spec)


def runs(into: World, spec: PodSpec) -> None:
    """Report that all containers of a pod run."""
    into.pod_reported(spec.key, {item.name: ContainerReport(1, None, NOW, NOW) for item in spec.containers})


def finish(into: World, name: str, *, succeeded: bool, container: str = "main", namespace: str = "default") -> None:
    """Report that the only container of a pod has ended."""
    report = ContainerReport(1, 0 if succeeded else 1, NOW, NOW)
    into.pod_reported(Key("Pod", namespace, name), {container: report})


def pods(of: World, namespace: str = "default") -> dict[str, Pod]:
    return {key.name: pod for key, pod in sorted(of.state.pods.items()) if key.namespace == namespace}


def pod_key(name: str, namespace: str = "default") -> Key:
    return Key("Pod", namespace, name)


def started(steps: Sequence[Steps]) -> dict[str, PodSpec]:
    return {spec.name: spec for step in steps for spec in step.start}


def stopped(steps: Sequence[Steps]) -> set[str]:
    return {key.name for step in steps for key in step.stop}


def pod(name: str, image: str = "nginx", labels: str = "", more: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  containers: [{{name: main, image: {image}}}]
{more}
---
"""


def workload(
    kind: str = "Deployment", name: str = "web", replicas: int | None = 2, image: str = "nginx", more: str = ""
) -> str:
    """Return an apps/v1 workload (or a ReplicationController) of pods with the label app=NAME."""
    count = f"replicas: {replicas}" if replicas is not None else ""
    labels = f"{{app: {name}}}"
    old = kind == "ReplicationController"
    return f"""
apiVersion: {"v1" if old else "apps/v1"}
kind: {kind}
metadata: {{name: {name}}}
spec:
  {count}
  selector: {labels if old else f"{{matchLabels: {labels}}}"}
  template:
    metadata: {{labels: {labels}}}
    spec:
      containers: [{{name: main, image: {image}, ports: [{{name: http, containerPort: 80}}]}}]
{more}
---
"""


def job(name: str = "once", more: str = "", restart: str = "Never") -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  template:
    spec:
      restartPolicy: {restart}
      containers: [{{name: main, image: busybox}}]
{more}
---
"""


def service(name: str = "web", more: str = "", ports: str = "[{port: 80}]") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: {ports}
{more}
---
"""


def namespace(name: str, labels: str = "") -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n"


def policy(name: str = "web", ingress: str = "[]") -> str:
    return f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}}}
spec: {{podSelector: {{}}, ingress: {ingress}}}
---
"""
