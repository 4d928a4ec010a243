# SPDX-License-Identifier: Apache-2.0
"""The nodes of a lab, as objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.lab.objects.conditions import Condition, conditions
from podfence.lab.store.errors import ForbiddenError
from podfence.lab.store.metadata import moment
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.lab.store.metadata import Raw

_KEEP_OFF: Final = ("unschedulable", "taints")


def node(plan: Plan, number: int, now: float) -> Raw:
    """Return a node, which is ready; the first has number 1."""
    name = f"node-{number}"
    ranges = [plan.pod_range(number, family) for family in plan.families]
    addresses = [{"type": "InternalIP", "address": plan.node_address(number, family)} for family in plan.families]
    ready = Condition("Ready", holds=True, reason="KubeletReady", message="kubelet is posting ready status")
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
        "status": {
            "addresses": [*addresses, {"type": "Hostname", "address": name}],
            "conditions": conditions({}, moment(now), [ready]),
            "nodeInfo": {"kubeletVersion": "podfence", "operatingSystem": "linux"},
        },
    }


def admit(wanted: Raw | None, before: Raw | None) -> Raw | None:
    """Refuse other nodes, the end of these, and what would keep pods off them; their labels may change."""
    name = (wanted or before or {})["metadata"].get("name", "")
    if wanted is None or before is None:
        raise ForbiddenError.of(RESOURCES["nodes"], name, "the nodes of the lab are its own")
    specs = [obj.get("spec") or {} for obj in (wanted, before)]
    if any(specs[0].get(field) != specs[1].get(field) for field in _KEEP_OFF):
        why = "pods run on all nodes of a lab; nodeName and nodeSelector choose the node of a pod"
        raise ForbiddenError.of(RESOURCES["nodes"], name, why)
    return wanted
