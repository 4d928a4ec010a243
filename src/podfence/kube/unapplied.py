# SPDX-License-Identifier: Apache-2.0
"""Where kustomizations that are not applied would turn answers: other namespaces, and other labels.

Files are read as they are written. A kustomization that names them may put a policy, or the pods that it is about,
into another namespace, or give both more labels, and then what is read is not what runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from podfence.kube.objects import NetworkPolicy, Pod, Workload
from podfence.kube.omissions import Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from podfence.kube.foreign import Kustomization
    from podfence.kube.objects import KubeObject, Peer


def unapplied(objects: Iterable[KubeObject], kustomizations: Sequence[Kustomization]) -> Iterator[Gap]:
    """Yield one gap for each kustomization that would change where policies or pods are, or what selects them.

    Without a policy, no namespace and no label turns an answer, and there is no gap. Neither is there one where
    everything of a namespace would only be called another (semantics 1.5, 3.4).
    """
    told = [item for item in objects if isinstance(item, NetworkPolicy | Pod | Workload)]
    if not any(isinstance(item, NetworkPolicy) for item in told):
        return
    read: dict[str, list[KubeObject]] = {}
    for item in told:
        if item.origin is not None:
            read.setdefault(item.origin.document.file, []).append(item)
    by_file = {os.path.realpath(file): items for file, items in read.items()}
    by_folder = {os.path.realpath(item.folder): item for item in kustomizations}
    asked = {key for item in told for key in _asked_labels(item)}
    for kustomization in kustomizations:
        if not (kustomization.namespace or kustomization.labels):
            continue
        found = [item for file in _files(kustomization, by_folder) for item in by_file.get(file, ())]
        remedy = f"-k {kustomization.folder} applies it"
        moved = _moved(kustomization.namespace, found)
        if moved and not _only_renames(kustomization.namespace, found, told):
            what = f"puts objects into namespace {kustomization.namespace}"
            yield Gap(f"kustomization {kustomization.folder} {what} and is not applied", remedy, moved)
        if labelled := _labelled(kustomization.labels, found, asked):
            what = "adds labels to selectors or pods"
            yield Gap(f"kustomization {kustomization.folder} {what} and is not applied", remedy, labelled)


def _moved(namespace: str, found: Iterable[KubeObject]) -> frozenset[str]:
    """Return the namespaces about whose pods an answer may be another one once objects are put into a namespace."""
    spaces: set[str] = set()
    for item in found:
        if namespace not in ("", item.key.namespace):
            spaces |= {item.key.namespace, namespace} if isinstance(item, NetworkPolicy) else {item.key.namespace}
    return frozenset(spaces)


def _labelled(labels: frozenset[str], found: Iterable[KubeObject], asked: set[str]) -> frozenset[str]:
    """Return the same for labels that are added; to pods, those matter that a selector asks for."""
    matters = not labels.isdisjoint(asked)
    return frozenset(item.key.namespace for item in found if labels and (matters or isinstance(item, NetworkPolicy)))


def _asked_labels(item: KubeObject) -> Iterator[str]:
    if isinstance(item, NetworkPolicy):
        selectors = (item.pod_selector, *(peer.pod_selector for peer in _peers(item)))
        yield from (one.key for selector in selectors if selector is not None for one in selector.requirements)


def _peers(policy: NetworkPolicy) -> Iterator[Peer]:
    return (peer for rule in (*policy.ingress, *policy.egress) for peer in rule.peers)


def _only_renames(namespace: str, found: Sequence[KubeObject], told: Iterable[KubeObject]) -> bool:
    """Return whether what would be put into a namespace is all of one other, and no policy asks for namespaces."""
    before = {item.key.namespace for item in found}
    both = {*before, namespace}
    alone = len(before) == 1 and {item.key for item in told if item.key.namespace in both} == {i.key for i in found}
    return alone and not any(_asks_for_namespaces(item) for item in told)


def _asks_for_namespaces(item: KubeObject) -> bool:
    selectors = (peer.namespace_selector for peer in _peers(item)) if isinstance(item, NetworkPolicy) else ()
    return any(selector is not None and selector.requirements for selector in selectors)


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
