# SPDX-License-Identifier: Apache-2.0
"""What the lab made for pods, kept as libcni keeps the results of network plugins, where agents read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from podfence.lab.network.attachment import DEVICE, family_of, interface

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.lab.addresses import Plan
    from podfence.lab.network.attachment import Attachment
    from podfence.lab.network.bridged import Bridged
    from podfence.lab.network.routed import Routed

_NETWORK = "podfence"


def write(folder: Path, plan: Plan, kind: Bridged | Routed, pod: Attachment) -> None:
    """Keep how a pod is attached to its node. Raises OSError."""
    namespace, _, name = pod.pod.partition("/")
    ends = [*([{"name": kind.bridge}] if kind.bridge else []), {"name": interface(plan, pod)}]
    ways = [(address, kind.way(pod, family_of(address))) for address in pod.addresses]
    result = {
        "kind": "cniCacheV1",
        "ifName": DEVICE,
        "networkName": _NETWORK,
        "cniArgs": [["K8S_POD_NAMESPACE", namespace], ["K8S_POD_NAME", name]],
        "result": {
            "cniVersion": "1.0.0",
            "interfaces": [*ends, {"name": DEVICE, "mac": pod.mac, "sandbox": f"/proc/{pod.pid}/ns/net"}],
            "ips": [
                {"address": f"{address}/{way.bits}", "gateway": way.gateway, "interface": len(ends)}
                for address, way in ways
            ],
        },
    }
    # Agents look whenever something changes in the folder. To one that finds half a file, the pod is at no known link.
    place = _place(folder, plan, pod)
    partial = folder.with_name(place.name)
    partial.write_bytes(msgspec.json.encode(result))
    partial.replace(place)


def remove(folder: Path, plan: Plan, pod: Attachment) -> None:
    """Forget how a pod was attached to its node."""
    _place(folder, plan, pod).unlink(missing_ok=True)


def _place(folder: Path, plan: Plan, pod: Attachment) -> Path:
    return folder / f"{_NETWORK}-{interface(plan, pod)}-{DEVICE}"
