# SPDX-License-Identifier: Apache-2.0
"""A cluster as it would be if manifests were applied to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from podfence.cluster.ownership import top_workload, workload_of
from podfence.cluster.state import ClusterState
from podfence.kube.objects import Namespace, Pod, Workload

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podfence.kube.objects import Key, KubeObject


def objects_of(state: ClusterState) -> Iterator[KubeObject]:
    """Yield all objects of a state that were read."""
    yield from (item for name, item in state.namespaces.items() if name not in state.implied)
    for table in (state.workloads, state.pods, state.services, state.slices, state.endpoints, state.nodes):
        yield from table.values()
    for policies in state.policies.values():
        yield from policies.values()


def applied(state: ClusterState, given: Collection[KubeObject], *, prune: bool = False) -> ClusterState:
    """Return the state after ``kubectl apply`` of the objects `given`.

    An object replaces the one of its name. A namespace keeps the labels and annotations that it has besides those
    given, because others put them on too. A workload whose pods would be others loses those that it has, and stands
    for the new ones itself.

    With `prune` objects are deleted that are not given: those of the kinds given, in the namespaces of objects given,
    that nothing owns.
    """
    new = {item.key: item for item in given}
    gone = _pruned(state, new) if prune else set()
    replaced = {
        key
        for key, item in new.items()
        if isinstance(item, Workload) and key in state.workloads and state.workloads[key].template != item.template
    }
    kept: list[KubeObject] = []
    for item in objects_of(state):
        if item.key in gone or _top(state, item) in gone:
            continue
        if isinstance(item, Pod) and workload_of(item, state.workloads) in replaced:
            continue
        other = new.get(item.key)
        if isinstance(item, Namespace) and isinstance(other, Namespace):
            new[item.key] = _merged(item, other)
        elif other is None:
            kept.append(item)
    return ClusterState([*kept, *new.values()])


def _pruned(state: ClusterState, given: Collection[Key]) -> set[Key]:
    kinds = {key.kind for key in given}
    namespaces = {key.namespace for key in given} - {""}
    return {
        item.key
        for item in objects_of(state)
        if item.key not in given
        and item.key.kind in kinds
        and item.key.namespace in namespaces
        and not (isinstance(item, Pod | Workload) and item.owner is not None)
    }


def _top(state: ClusterState, item: KubeObject) -> Key | None:
    """Return the topmost workload above a pod or a workload, None for others."""
    if isinstance(item, Pod):
        return workload_of(item, state.workloads)
    return top_workload(item, state.workloads) if isinstance(item, Workload) else None


def _merged(old: Namespace, new: Namespace) -> Namespace:
    return replace(new, labels={**old.labels, **new.labels}, annotations={**old.annotations, **new.annotations})
