# SPDX-License-Identifier: Apache-2.0
"""Which workload a pod belongs to: the chain of controllers, also where links of it are missing.

ReplicaSets, ReplicationControllers and Jobs are mostly made by another workload, and then people mean that one.
Other workloads are what people mean, also where an operator has made several of them for one resource of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import TEMPLATE_HASH
from podfence.kube.objects import Key, Owner
from podfence.kube.registry import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.objects import Labels, Pod, Workload

_CRON_JOB_NAME: Final = r"(.+)-\d{8,10}"
_NOT_WORKLOADS: Final = frozenset({"Node"})
_MADE_BY_OTHERS: Final = frozenset({"ReplicaSet", "ReplicationController", "Job"})


def workload_of(pod: Pod, workloads: Mapping[Key, Workload]) -> Key | None:
    """Return the topmost controller of a pod, None for a bare pod (static pods, owned by a Node, are bare).

    Dumps often hold pods and Deployments without the ReplicaSets between them: the Deployment's name is
    the ReplicaSet's without the pod's ``pod-template-hash``; a CronJob's is its Job's without the number.
    """
    if pod.owner is None or pod.owner.kind in _NOT_WORKLOADS:
        return None
    return top_of(pod.owner, pod.namespace, workloads, pod.template.labels)


def top_of(owner: Owner, namespace: str, workloads: Mapping[Key, Workload], labels: Labels) -> Key:
    """Return the topmost controller above an owner reference in a namespace; owners in a circle have none above."""
    first = key = Key(owner.kind, namespace, owner.name)
    seen = {key}
    while (above := _above(key, workloads)) is not None:
        if above in seen:
            return first
        seen.add(above)
        key = above
    template_hash = labels.get(TEMPLATE_HASH, "")
    if key.kind == "ReplicaSet" and key not in workloads and template_hash and key.name.endswith(f"-{template_hash}"):
        return Key("Deployment", namespace, key.name.removesuffix(f"-{template_hash}"))
    if key.kind == "Job" and key not in workloads and (match := re.fullmatch(_CRON_JOB_NAME, key.name)):
        return Key("CronJob", namespace, match[1])
    return key


def top_workload(workload: Workload, workloads: Mapping[Key, Workload]) -> Key:
    """Return the topmost controller of a workload, itself if nothing that counts owns it."""
    owner = Owner(workload.kind, workload.name)
    return top_of(owner, workload.namespace, workloads, workload.template.labels)


def _above(key: Key, workloads: Mapping[Key, Workload]) -> Key | None:
    """Return the workload that has made another one, None if that is what people mean themselves."""
    workload = workloads.get(key)
    if workload is None or workload.owner is None or key.kind not in _MADE_BY_OTHERS:
        return None
    above = Key(workload.owner.kind, key.namespace, workload.owner.name)
    return above if above in workloads or above.kind in WORKLOADS or _is_revision(workload) else None


def _is_revision(workload: Workload) -> bool:
    """Return whether a workload of an unknown kind has made this one as a revision of itself.

    What makes several ReplicaSets tells their pods apart by the label of a Deployment, or by one that ends like it.
    """
    return workload.kind == "ReplicationController" or any(
        label.endswith(TEMPLATE_HASH) for label in workload.template.labels
    )
