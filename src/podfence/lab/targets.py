# SPDX-License-Identifier: Apache-2.0
"""Where a command is to run: a pod by name or by its workload, a node, or outside the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podfence.cluster.members import SHORT_KINDS
from podfence.kube.objects import WORKLOAD_KINDS, Key
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Pod

OUTSIDE: Final = "outside"
"""What the world around the cluster is called."""

_NODE: Final = "node:"
_KINDS: Final = {
    **{short: kind for kind, short in SHORT_KINDS.items()},
    **{kind.lower(): kind for kind in SHORT_KINDS},
    **{f"{kind.lower()}s": kind for kind in SHORT_KINDS},
}


@dataclass(frozen=True, slots=True)
class Target:
    """A place: a pod by its key, a node by its name, or, if neither is given, outside."""

    pod: Key | None = None
    node: str | None = None


def find(state: ClusterState, text: str, namespace: str) -> Target:
    """Return the place that `text` names.

    It is written ``POD``, ``NS/POD``, ``deploy/NAME``, ``NS/deploy/NAME``, ``node:NAME`` or ``outside``. A bare name
    is a pod of `namespace`, or else a workload of it, which stands for its first pod. Raises LabError if there is
    nothing of that name.
    """
    if text == OUTSIDE:
        return Target()
    if text.startswith(_NODE):
        name = text.removeprefix(_NODE)
        if name not in state.nodes:
            raise LabError(f"there is no node {name}; there are {', '.join(sorted(state.nodes))}")
        return Target(node=name)
    parts = text.split("/")
    if (len(parts) == 2 and parts[0] in _KINDS) or len(parts) == 1:
        parts = [namespace, *parts]
    if len(parts) == 3 and parts[1] in _KINDS:
        return Target(pod=_pod_of(state, [Key(_KINDS[parts[1]], parts[0], parts[2])], text))
    if len(parts) == 2:
        return Target(pod=_pod_of(state, [Key(kind, *parts) for kind in ("Pod", *WORKLOAD_KINDS)], text))
    raise LabError(f"{text!r} names no place: write POD, NS/POD, deploy/NAME, NS/deploy/NAME, node:NAME or {OUTSIDE}")


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
    raise LabError(f"there is no pod {text}; `podfence lab status` lists what there is")
