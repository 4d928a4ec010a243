# SPDX-License-Identifier: Apache-2.0
"""The pods that a list is about if policies were read and no pods: what policies select, and all others."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from msgspec.structs import replace

from podfence.kube.objects import Namespace, NetworkPolicy, Peer, Pod, Requirement, Rule, Selector

from . import strategies
from .selectors import selects
from .twin import ISOLATION_ANNOTATION, NAME_LABEL, Twin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.strategies import SearchStrategy

    from podfence.kube.objects import KubeObject, Labels
    from podfence.policy.options import Options


def supposed_pods(objects: Sequence[KubeObject], options: Options) -> set[str]:
    """Return the names of these pods, none if a pod was read that counts; finished ones do not (semantics 8.4)."""
    twin = Twin(objects, options)
    if twin.pods:
        return set()
    found = {f"{name}/other-pods" for name in twin.namespaces if twin.is_closed(name)}
    for policy in twin.policies:
        if twin.reading(policy) != "no effect":
            found.add(f"{policy.namespace}/other-pods")
            found.update(f"{policy.namespace}/{_name(labels)}" for labels in labels_asked_for(policy.pod_selector))
    return found


def labels_asked_for(selector: Selector) -> Iterator[Labels]:
    """Yield the labels with the fewest keys that the selector matches; a star where any value will do."""
    asked = [item for item in selector.requirements if item.operator in {"In", "Exists"}]
    keys = sorted({item.key for item in asked})
    values = [{value for item in asked if item.key == key for value in item.values} or {"*"} for key in keys]
    for chosen in product(*values) if keys else ():
        labels = dict(zip(keys, chosen, strict=True))
        if selects(selector, labels):
            yield labels


def _name(labels: Labels) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def without_pods(objects: Sequence[KubeObject]) -> list[KubeObject]:
    """Return the objects after all pods have finished."""
    return [replace(item, phase="Succeeded") if isinstance(item, Pod) else item for item in objects]


@cache
def clusters() -> SearchStrategy[list[KubeObject]]:
    """Return the objects of a cluster, every third time of one without pods."""
    some = strategies.clusters()
    return st.one_of(some, some, some.map(without_pods))


SOME_A = Selector((Requirement("a", "In", ("x", "y")), Requirement("a", "Exists")))
CLOSED = {ISOLATION_ANNOTATION: '{"ingress": {"isolation": "DefaultDeny"}}'}
FINISHED_ONLY: list[KubeObject] = [
    Namespace(name="default", labels={NAME_LABEL: "default"}),
    Namespace(name="dev", labels={NAME_LABEL: "dev"}, annotations=CLOSED),
    Pod(namespace="default", name="web", addresses=("10.0.0.1",), phase="Succeeded"),
    NetworkPolicy(namespace="default", name="closed", policy_types=("Ingress",)),
    NetworkPolicy(namespace="default", name="open", pod_selector=SOME_A, ingress=(Rule((Peer(Selector()),)),)),
]
"""A cluster with policies, of which the only pod has finished."""
