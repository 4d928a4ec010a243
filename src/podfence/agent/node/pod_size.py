# SPDX-License-Identifier: Apache-2.0
"""How much of a pod an agent remembers.

Every agent remembers every pod of the cluster, and text of an object takes ten times its length in memory. An API
server lets a tenant write pods with fifty thousand labels, or ports; with some tens of them, no agent would live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from podfence.kube.objects import Pod

MOST: Final = 256
"""How many labels a pod has at most, and how many ports with names. Pods that people write have some tens."""


def remembered(pod: Pod) -> tuple[Pod, str]:
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
