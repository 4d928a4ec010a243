# SPDX-License-Identifier: Apache-2.0
"""Where a command is to run: a pod by name or by its workload, a node, or outside the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.kube.objects import Key
from podfence.kube.registry import WORKLOADS, by_word
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Pod

Place = Key
"""Where something can run or connect from: the key of a pod or of a node, or `OUTSIDE`."""

OUTSIDE: Final[Place] = Key("Outside", "", "")
"""The world around the cluster."""

_OUTSIDE: Final = "outside"
_NODE: Final = "node:"


def find(state: ClusterState, text: str, namespace: str) -> Place:
    """Return the place that `text` names.

    It is written ``POD``, ``NS/POD``, ``deploy/NAME``, ``NS/deploy/NAME``, ``node:NAME`` or ``outside``. A bare name
    is a pod of `namespace`, or else a workload of it, which stands for its first pod. Raises LabError if there is
    nothing of that name.
    """
    if text == _OUTSIDE:
        return OUTSIDE
    if text.startswith(_NODE):
        name = text.removeprefix(_NODE)
        if name not in state.nodes:
            raise LabError(f"the lab has no node {name}; its nodes are {', '.join(sorted(state.nodes))}")
        return Key("Node", "", name)
    parts = text.split("/")
    if (len(parts) == 2 and _workload(parts[0])) or len(parts) == 1:
        parts = [namespace, *parts]
    if len(parts) == 3 and (kind := _workload(parts[1])):
        return _pod_of(state, [Key(kind, parts[0], parts[2])], text)
    if len(parts) == 2:
        return _pod_of(state, [Key(name, *parts) for name in ("Pod", *WORKLOADS)], text)
    raise LabError(
        f"{text!r} is not a place in the lab: write POD, NS/POD, deploy/NAME, NS/deploy/NAME, node:NAME or {_OUTSIDE}"
    )


def _workload(word: str) -> str:
    """Return the kind of workload that a word means, "" if it means none."""
    kind = by_word(word)
    return kind.name if kind is not None and kind.template is not None else ""


def _owned(pod: Pod, owner: Key) -> bool:
    return pod.owner is not None and (pod.owner.kind, pod.namespace, pod.owner.name) == owner


def _pod_of(state: ClusterState, keys: list[Key], text: str) -> Key:
    for key in keys:
        if key.kind == "Pod" and key in state.pods:
            return key
        pods = sorted(member.key for member in state.workload_pods(key) if member.pod is not None)
        # Those that have finished are no members of the cluster any more, but their output can be read.
        pods += sorted(pod.key for pod in state.pods.values() if _owned(pod, key))
        if pods:
            return pods[0]
    raise LabError(f"there is no pod {text}; `podfence lab status` lists the pods")
