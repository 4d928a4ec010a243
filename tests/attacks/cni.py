# SPDX-License-Identifier: Apache-2.0
"""What the container runtime keeps of the network plugins' results, as libcni writes it below ``/var/lib/cni/results``."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.wiring import End, Network, Node

NETWORK_NAMES: dict[Network, str] = {"bridge": "cbr0", "routed": "kindnet"}


def write(directory: Path, node: Node, pod: End) -> None:
    """Write the files of a pod of a node: that of its network, and that of its loopback interface."""
    identity = sha256(pod.name.encode()).hexdigest()
    sandbox = f"/var/run/netns/cni-{pod.name}"
    inside = {"name": pod.interface, "mac": pod.mac, "sandbox": sandbox}
    outside = [{"name": pod.link, "mac": "d6:00:00:00:00:01"}]
    if node.network == "bridge":
        outside.insert(0, {"name": "cni0", "mac": pod.via})
    ips = [
        {"interface": len(outside), "address": f"{address}/{whole.partition('/')[2]}", "gateway": gateway}
        for address, whole, gateway in zip((pod.four, pod.six), node.ranges, node.gateways, strict=True)
    ]
    name = NETWORK_NAMES[node.network]
    result = {
        "cniVersion": "1.0.0",
        "interfaces": [*outside, inside],
        "ips": ips,
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        "dns": {},
    }
    loopback = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox}],
        "ips": [{"interface": 0, "address": "127.0.0.1/8"}, {"interface": 0, "address": "::1/128"}],
        "dns": {},
    }
    for network, interface, found in ((name, pod.interface, result), ("cni-loopback", "lo", loopback)):
        kept = {
            "kind": "cniCacheV1",
            "containerId": identity,
            "config": b64encode(json.dumps({"cniVersion": "1.0.0", "name": network}).encode()).decode(),
            "ifName": interface,
            "networkName": network,
            "netns": sandbox,
            "cniArgs": [
                ["K8S_POD_INFRA_CONTAINER_ID", identity],
                ["K8S_POD_UID", f"00000000-0000-4000-8000-{identity[:12]}"],
                ["IgnoreUnknown", "1"],
                ["K8S_POD_NAMESPACE", "shop"],
                ["K8S_POD_NAME", pod.name],
            ],
            "result": found,
        }
        (directory / f"{network}-{identity}-{interface}").write_text(json.dumps(kept))
