# SPDX-License-Identifier: Apache-2.0
"""How much an agent remembers of a pod or a policy.

Every agent remembers those of the whole cluster, and text of an object takes ten times its length in memory. An API
server lets a tenant write pods with fifty thousand labels, and policies with as many blocks; with some tens of them, no
agent would live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.kube.objects import Pod, Selector
from podfence.policy.budget import counts_of

if TYPE_CHECKING:
    from podfence.kube.objects import NetworkPolicy
    from podfence.policy.budget import Budget

MOST: Final = 256
"""How many labels a pod has at most, and how many ports with names. Pods that people write have some tens."""


def remembered_pod(pod: Pod) -> tuple[Pod, str]:
    """Return what to remember of a pod, and why that is not all that policies are about ("" if it is).

    A pod with too much is remembered without its addresses, so it stays closed as one that is not known: half of its
    labels could let it in where all of them do not. Ports without names mean nothing to policies.
    """
    template = pod.template
    if len(template.labels) <= MOST and len(template.ports) <= MOST:
        return pod, ""
    ports = tuple(port for port in template.ports if port.name)
    too_many = "labels" if len(template.labels) > MOST else "ports with names" if len(ports) > MOST else ""
    if not too_many:
        return replace(pod, template=replace(template, ports=ports)), ""
    nothing = replace(template, labels={}, ports=(), init_ports=())
    why = f"{pod.key} has more than {MOST} {too_many}, so it is not used and stays closed until it has fewer"
    return replace(pod, template=nothing, addresses=()), why


def remembered_policy(policy: NetworkPolicy, budget: Budget) -> NetworkPolicy:
    """Return what to remember of a policy: of one that is too large, its size instead of its rules (semantics 2.8).

    It admits nothing whatever they are. If its selector alone is too large, it isolates all pods of the namespace.
    """
    size = counts_of(policy)
    if not size.beyond(budget.policy):
        # Blocks of one that is too large by how they overlap are few enough.
        return policy
    alone = counts_of(replace(policy, ingress=(), egress=()))
    selector = Selector() if alone.beyond(budget.policy) else policy.pod_selector
    return replace(policy, pod_selector=selector, ingress=(), egress=(), left_out=tuple(size))
