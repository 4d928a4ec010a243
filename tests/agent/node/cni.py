# SPDX-License-Identifier: Apache-2.0
"""Results as network plugins give them and libcni keeps them; written after the sources of each."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SANDBOX = "/var/run/netns/cni-5f1f1b1e-2e0c-5d3f-8a5b-2f0e9d8c7b6a"
CONTAINER = "4f2c9a0e" * 8


def cached(
    result: dict[str, Any],
    pod: str = "shop/web",
    *,
    network: str = "cbr0",
    interface: str = "eth0",
    container: str = CONTAINER,
) -> dict[str, Any]:
    """Return what libcni keeps of a result; containerd and CRI-O give these arguments."""
    namespace, _, name = pod.partition("/")
    return {
        "kind": "cniCacheV1",
        "containerId": container,
        "config": base64.b64encode(b'{"cniVersion":"1.0.0","name":"cbr0","plugins":[]}').decode(),
        "ifName": interface,
        "networkName": network,
        "netns": SANDBOX,
        "cniArgs": [
            ["IgnoreUnknown", "1"],
            ["K8S_POD_NAMESPACE", namespace],
            ["K8S_POD_NAME", name],
            ["K8S_POD_INFRA_CONTAINER_ID", container],
            ["K8S_POD_UID", "0d6ba3d5-6a4b-4a0b-9a40-6f4d3f0f9d8e"],
        ],
        "capabilityArgs": {"dns": {"Servers": ["10.96.0.10"]}, "io.kubernetes.cri.pod-annotations": {}},
        "result": result,
    }


class Cache:
    """A directory of results, written as libcni does; each file is newer than the one before."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = 0
        self._now = 1_790_000_000

    def add(
        self, result: dict[str, Any], pod: str = "shop/web", *, network: str = "cbr0", interface: str = "eth0"
    ) -> Path:
        self._number += 1
        container = f"{self._number:064x}"
        path = self.directory / f"{network}-{container}-{interface}"
        path.write_text(json.dumps(cached(result, pod, network=network, interface=interface, container=container)))
        os.utime(path, (self._now + self._number,) * 2)
        return path


def bridge(end: str, mac: str, *addresses: str, bridge: str = "cni0", gateway: str = "10.244.1.1") -> dict[str, Any]:
    """Return the result of the plugin bridge, which flannel and others call."""
    return {
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": bridge, "mac": "9e:3b:11:5c:7a:01"},
            {"name": end, "mac": "fa:0b:22:5c:7a:02"},
            {"name": "eth0", "mac": mac, "sandbox": SANDBOX},
        ],
        "ips": [{"address": address, "gateway": gateway, "interface": 2} for address in addresses],
        "routes": [{"dst": "10.244.0.0/16"}, {"dst": "0.0.0.0/0", "gw": gateway}],
        "dns": {},
    }


def ptp(end: str, mac: str, *addresses: str, gateway: str = "10.244.1.1") -> dict[str, Any]:
    """Return the result of the plugin ptp, which the one of kindnet was."""
    return {
        "cniVersion": "0.3.1",
        "interfaces": [
            {"name": end, "mac": "fa:0b:22:5c:7a:02"},
            {"name": "eth0", "mac": mac, "sandbox": SANDBOX},
        ],
        "ips": [
            {"version": "6" if ":" in address else "4", "interface": 1, "address": address, "gateway": gateway}
            for address in addresses
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    }


def calico(end: str, *addresses: str) -> dict[str, Any]:
    """Return Calico's: the node's end alone, and addresses that are for nobody in particular."""
    return {
        "cniVersion": "0.3.1",
        "interfaces": [{"name": end}],
        "ips": [{"version": "6" if ":" in address else "4", "address": address} for address in addresses],
        "dns": {},
    }


def aws(end: str, address: str, *more: tuple[str, str]) -> dict[str, Any]:
    """Return the Amazon VPC plugin's: no hardware addresses, and a third interface that is a note to itself."""
    ends = [(end, "eth0", address), *((name, f"mNicIf{n}", text) for n, (name, text) in enumerate(more, 1))]
    interfaces: list[dict[str, str]] = []
    for name, inner, _ in ends:
        interfaces += [{"name": name}, {"name": inner, "sandbox": SANDBOX, "pciID": "254"}]
    return {
        "cniVersion": "1.1.0",
        "interfaces": [*interfaces, {"name": "dummy6c1a2b3c4d5", "mac": "0", "sandbox": "0", "socketPath": "1"}],
        "ips": [
            {"interface": 2 * place + 1, "address": text, "gateway": "169.254.1.1"}
            for place, (_, _, text) in enumerate(ends)
        ],
    }
