# SPDX-License-Identifier: Apache-2.0
"""Worlds to try things in: applied texts, and a supervisor that does at once what it is told."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from podfence.kube import yaml
from podfence.kube.objects import Key
from podfence.lab.addresses import Plan
from podfence.lab.objects.statuses import ContainerReport
from podfence.lab.objects.world import World
from podfence.lab.rest import resource
from podfence.lab.store.errors import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from podfence.kube.objects import Pod
    from podfence.kube.positions import SourceDocument
    from podfence.kube.source import Document
    from podfence.lab.objects.containers import PodSpec
    from podfence.lab.objects.world import Steps
    from podfence.sets.addresses import Family


NOW = 1_795_000_000.0


def world(nodes: int = 2, families: Sequence[Family] = (4,), **settings: str) -> World:
    """Return a world whose first steps are taken."""
    made = World(Plan(tuple(families)), nodes, legacy=settings.get("legacy", "auto"), clock=lambda: NOW)
    settle(made)
    return made


def documents(text: str, name: str = "app.yaml") -> list[SourceDocument]:
    found, problems = yaml.parse(text.encode(), name)
    assert not problems
    return found


def apply(into: World, text: str, namespace: str = "default") -> list[str]:
    """Apply a text and return kubectl's lines, which must not be errors."""
    outcomes = into.apply(documents(text), namespace)
    assert not [item.error for item in outcomes if item.error]
    return [str(item) for item in outcomes]


def errors(into: World, text: str) -> list[str]:
    return [item.error for item in into.apply(documents(text)) if item.error]


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
