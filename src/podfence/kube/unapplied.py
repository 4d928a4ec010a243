# SPDX-License-Identifier: Apache-2.0
"""Where kustomizations that are not applied would turn answers: other namespaces, and other labels.

Files are read as they are written. A kustomization that names them may put a policy, or the pods that it is about,
into another namespace, or give policies, Services, pods and namespaces more labels, and then what is read is not what
runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from podfence.kube.objects import Labels, Namespace, NetworkPolicy, Pod, Service, Workload
from podfence.kube.omissions import Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from podfence.kube.foreign import Kustomization
    from podfence.kube.objects import Key, KubeObject, Selector

_Told = Namespace | NetworkPolicy | Pod | Service | Workload


class _Asked(NamedTuple):
    """The keys of labels that policies ask pods and namespaces for."""

    pods: frozenset[str]
    namespaces: frozenset[str]


class _Place(NamedTuple):
    """Where a Service or a pod is, and the labels that it selects by or has."""

    namespace: str
    labels: Labels


def unapplied(objects: Iterable[KubeObject], kustomizations: Sequence[Kustomization]) -> Iterator[Gap]:
    """Yield one gap for each kustomization that would change where policies or pods are, or what selects them.

    Without a policy and a Service, no namespace and no label turns an answer, and there is no gap. Neither is there
    one where everything of a namespace would only be called another (semantics 1.5, 3.4).
    """
    told = [item for item in objects if isinstance(item, _Told)]
    policies = [item for item in told if isinstance(item, NetworkPolicy)]
    asked = _Asked(
        frozenset(key for item in policies for key in _keys(_pod_selectors(item))),
        frozenset(key for item in policies for key in _keys(peer.namespace_selector for peer in item.peers())),
    )
    read: dict[str, list[_Told]] = {}
    for item in told:
        if item.origin is not None:
            read.setdefault(item.origin.document.file, []).append(item)
    by_file = {os.path.realpath(file): items for file, items in read.items()}
    by_folder = {os.path.realpath(item.folder): item for item in kustomizations}
    for kustomization in kustomizations:
        if not (kustomization.namespace or kustomization.labels.own):
            continue
        found = [item for file in _files(kustomization, by_folder) for item in by_file.get(file, ())]
        remedy = f"-k {kustomization.folder} applies it"
        moved = _moved(kustomization.namespace, found, told, asked) if policies else frozenset()
        if moved:
            what = f"puts objects into namespace {kustomization.namespace}"
            yield Gap(f"kustomization {kustomization.folder} {what} and is not applied", remedy, moved)
        labelled = _labelled(kustomization, found, asked) | _served_otherwise(kustomization, found, told) - moved
        if labelled:
            what = "changes what selectors mean"
            yield Gap(f"kustomization {kustomization.folder} {what} and is not applied", remedy, labelled)


def _moved(namespace: str, found: Sequence[_Told], told: Iterable[_Told], asked: _Asked) -> frozenset[str]:
    """Return the namespaces about whose pods an answer may be another one once objects are put into a namespace."""
    spaces: set[str] = set()
    for item in found:
        if namespace in ("", _space(item)):
            continue
        if isinstance(item, NetworkPolicy) or (isinstance(item, Namespace) and asked.namespaces):
            spaces |= {_space(item), namespace}
        elif isinstance(item, Pod | Workload):
            spaces.add(_space(item))
    return frozenset() if spaces and _only_renames(namespace, found, told, asked) else frozenset(spaces)


def _only_renames(namespace: str, found: Sequence[_Told], told: Iterable[_Told], asked: _Asked) -> bool:
    """Return whether what would be put into a namespace is all of one other, and no policy asks for namespaces."""
    names = {item.key for item in found if isinstance(item, NetworkPolicy | Pod | Workload)}
    before = {key.namespace for key in names}
    there = {item.key for item in told if isinstance(item, NetworkPolicy | Pod | Workload)}
    alone = len(before) == 1 and {key for key in there if key.namespace in {*before, namespace}} == names
    return alone and not asked.namespaces


def _labelled(kustomization: Kustomization, found: Iterable[_Told], asked: _Asked) -> frozenset[str]:
    """Return the namespaces of what gets labels that turn answers: of policies, or labels that a policy asks for."""
    spaces: set[str] = set()
    for item in found:
        new = _new_labels(kustomization, item)
        if isinstance(item, NetworkPolicy):
            matters = bool(new)
        elif isinstance(item, Namespace):
            matters = not asked.namespaces.isdisjoint(new)
        else:
            matters = not isinstance(item, Service) and not asked.pods.isdisjoint(new)
        if matters:
            # Where the namespace itself gets another name, that is its new one.
            spaces |= {_space(item), kustomization.namespace or _space(item)}
    return frozenset(spaces)


def _new_labels(kustomization: Kustomization, item: _Told) -> dict[str, str]:
    """Return the labels that an object has not, and would get: on it, on its pods, or in what it selects by."""
    labels = kustomization.labels
    match item:
        case NetworkPolicy():
            lacking = (_lacking(labels.selectors, _required(selector)) for selector in _pod_selectors(item))
            return next(filter(None, lacking), {})
        case Service():
            return _lacking(labels.selectors, item.selector or {})
        case Namespace():
            return _lacking(labels.own, item.labels)
        case Workload():
            return _lacking(labels.templates, item.template.labels)
        case Pod():
            return _lacking(labels.own, item.template.labels)


def _lacking(wanted: Labels, has: Labels) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if has.get(key) != value}


def _required(selector: Selector) -> dict[str, str]:
    terms = selector.requirements
    return {term.key: term.values[0] for term in terms if term.operator == "In" and len(term.values) == 1}


def _served_otherwise(kustomization: Kustomization, found: Iterable[_Told], told: Iterable[_Told]) -> frozenset[str]:
    """Return the namespaces of Services that would have other pods, once all are where and what they will be.

    A Service that selects no pod has pods that are not known, of which its namespace and its selector tell something.
    """
    changed = {item.key for item in found}
    now: dict[Key, _Place] = {}
    then: dict[Key, _Place] = {}
    for item in told:
        if isinstance(item, Namespace | NetworkPolicy):
            continue
        labels = item.selector or {} if isinstance(item, Service) else item.template.labels
        now[item.key] = then[item.key] = _Place(item.namespace, labels)
        if item.key in changed:
            new = _new_labels(kustomization, item)
            then[item.key] = _Place(kustomization.namespace or item.namespace, {**labels, **new})
    served_now, served_then = _served(now), _served(then)
    return frozenset(
        space
        for key, pods in served_now.items()
        if pods != served_then[key] or (not pods and then[key].labels and now[key] != then[key])
        for space in (now[key].namespace, then[key].namespace)
    )


def _served(places: Mapping[Key, _Place]) -> dict[Key, set[Key]]:
    """Return the pods that each Service selects, where all have these namespaces and labels; {} selects none."""
    inside: dict[str, list[tuple[Key, Labels]]] = {}
    for key, place in places.items():
        if key.kind != "Service":
            inside.setdefault(place.namespace, []).append((key, place.labels))
    return {
        key: {pod for pod, has in inside.get(asks.namespace, ()) if asks.labels and asks.labels.items() <= has.items()}
        for key, asks in places.items()
        if key.kind == "Service"
    }


def _space(item: _Told) -> str:
    return item.name if isinstance(item, Namespace) else item.namespace


def _pod_selectors(policy: NetworkPolicy) -> Iterator[Selector]:
    yield policy.pod_selector
    yield from (peer.pod_selector for peer in policy.peers() if peer.pod_selector is not None)


def _keys(selectors: Iterable[Selector | None]) -> Iterator[str]:
    return (one.key for selector in selectors if selector is not None for one in selector.requirements)


def _files(kustomization: Kustomization, by_folder: Mapping[str, Kustomization]) -> set[str]:
    """Return the real paths of the files that it is made of, with those of the kustomizations that it names."""
    files: set[str] = set()
    todo = [kustomization]
    while todo:
        one = todo.pop()
        for path in (one.resources | one.patches) - files:
            files.add(path)
            if path in by_folder:
                todo.append(by_folder[path])
    return files
