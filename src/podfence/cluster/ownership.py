# SPDX-License-Identifier: Apache-2.0
"""Which workload a pod belongs to: the chain of controllers, also where links of it are missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podfence.kube.objects import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.objects import Labels, Owner, Pod, Workload

_CRON_JOB_NAME = re.compile(r"(.+)-\d{8,10}")
_NOT_WORKLOADS = frozenset({"Node"})


def workload_of(pod: Pod, workloads: Mapping[Key, Workload]) -> Key | None:
    """Return the topmost controller of a pod, None for a bare pod (static pods, owned by a Node, are bare).

    Dumps often hold pods and Deployments without the ReplicaSets between them: the Deployment's name is
    the ReplicaSet's without the pod's ``pod-template-hash``; a CronJob's is its Job's without the number.
    """
    if pod.owner is None or pod.owner.kind in _NOT_WORKLOADS:
        return None
    return top_of(pod.owner, pod.namespace, workloads, pod.template.labels)


def top_of(owner: Owner, namespace: str, workloads: Mapping[Key, Workload], labels: Labels) -> Key:
    """Return the topmost controller above an owner reference in a namespace."""
    seen: set[Key] = set()
    key = Key(owner.kind, namespace, owner.name)
    while key in workloads and key not in seen:
        seen.add(key)
        above = workloads[key].owner
        if above is None:
            return key
        key = Key(above.kind, namespace, above.name)
    template_hash = labels.get("pod-template-hash", "")
    if key.kind == "ReplicaSet" and template_hash and key.name.endswith(f"-{template_hash}"):
        return Key("Deployment", namespace, key.name.removesuffix(f"-{template_hash}"))
    if key.kind == "Job" and (match := _CRON_JOB_NAME.fullmatch(key.name)):
        return Key("CronJob", namespace, match[1])
    return key
