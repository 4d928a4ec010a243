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
    from podfence.kube.objects import KubeObject


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
    for kustomization in kustomizations:
        if kustomization.namespace or kustomization.selects:
            found = [item for file in _files(kustomization, by_folder) for item in by_file.get(file, ())]
            spaces = _changed(kustomization, found)
            if spaces and (kustomization.selects or not _only_renames(kustomization.namespace, found, told)):
                what = f"kustomization {kustomization.folder} {_task(kustomization)} and is not applied"
                yield Gap(what, f"-k {kustomization.folder} applies it", spaces)


def _task(kustomization: Kustomization) -> str:
    if not kustomization.namespace:
        return "adds labels to selectors or pods"
    return f"puts objects into namespace {kustomization.namespace}"


def _changed(kustomization: Kustomization, found: Iterable[KubeObject]) -> frozenset[str]:
    """Return the namespaces about whose pods an answer may be another one once it is applied."""
    spaces: set[str] = set()
    for item in found:
        here = item.key.namespace
        there = kustomization.namespace or here
        if kustomization.selects or there != here:
            spaces |= {here, there} if isinstance(item, NetworkPolicy) else {here}
    return frozenset(spaces)


def _only_renames(namespace: str, found: Sequence[KubeObject], told: Iterable[KubeObject]) -> bool:
    """Return whether what would be put into a namespace is all of one other, and no policy asks for namespaces."""
    before = {item.key.namespace for item in found}
    both = {*before, namespace}
    alone = len(before) == 1 and {item.key for item in told if item.key.namespace in both} == {i.key for i in found}
    return alone and not any(_asks_for_namespaces(item) for item in told)


def _asks_for_namespaces(item: KubeObject) -> bool:
    if not isinstance(item, NetworkPolicy):
        return False
    peers = (peer for rule in (*item.ingress, *item.egress) for peer in rule.peers)
    return any(peer.namespace_selector is not None and peer.namespace_selector.requirements for peer in peers)


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
