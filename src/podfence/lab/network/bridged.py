# SPDX-License-Identifier: Apache-2.0
"""Pods as ports of a bridge on their node, as the reference plugin `bridge`, kubenet and flannel make them.

Two pods of a node reach each other past the node's routing. Only the kernel's br_netfilter shows their packets to
the hooks where policies are enforced, and of those only IPv4 and IPv6: every other frame is not seen there.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.lab.network.attachment import DEVICE, Attachment, Way, interface, mac, nodad
from podfence.lab.network.namespaces import NetworkError, write_settings

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.sets.addresses import Family

BRIDGE: Final = "cni0"
_HOOKS: Final = {"bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1"}
_SETTINGS: Final = Path("/proc/sys/net/bridge")


class Bridged:
    """One bridge on each node, called `bridge` there; with the same methods as `Routed`."""

    bridge = BRIDGE

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def gateway(self, number: int, family: Family) -> str:
        """Return the address of a node on its bridge, which is its pods' way to everything else."""
        return str(ipaddress.ip_network(self._plan.pod_range(number, family))[1])

    def start_node(self, number: int) -> list[str]:
        """Return what makes the bridge, with the node's addresses on it; show its packets to the hooks of policies.

        Its hardware address is given, for that of a bridge without one changes with its ports. Raises NetworkError
        where the kernel has no such hooks.
        """
        lines = [f"link add {BRIDGE} type bridge", f"link set {BRIDGE} address {self._mac(number)} up"]
        for family in self._plan.families:
            address = self.gateway(number, family)
            lines.append(f"addr replace {address}/{self._bits(number, family)} dev {BRIDGE}{nodad(family)}")
        if not _SETTINGS.exists():
            raise NetworkError(
                "packets on a bridge do not pass the hooks of policies without the kernel's module br_netfilter: "
                "load it (as root: modprobe br_netfilter), or take `--network routed`"
            )
        write_settings(_HOOKS)
        return lines

    def node_end(self, pod: Attachment) -> tuple[list[str], dict[str, str]]:
        """Return the cable, with the node's end in the bridge, and no settings.

        It takes back what it has sent itself (hairpin): a pod that reaches itself through a Service needs that.
        """
        name = interface(self._plan, pod)
        lines = [
            f"link add {name} type veth peer name {DEVICE} address {pod.mac} netns {pod.pid}",
            f"link set {name} master {BRIDGE} up",
            f"link set {name} type bridge_slave hairpin on",
        ]
        return lines, {}

    def way(self, pod: Attachment, family: Family) -> Way:
        """Return the prefix of the bridge, which pods find each other by, and the node's address there."""
        return Way(self._bits(pod.node, family), self.gateway(pod.node, family), self._mac(pod.node), BRIDGE)

    def _mac(self, number: int) -> str:
        return mac(self.gateway(number, self._plan.families[0]))

    def _bits(self, number: int, family: Family) -> int:
        return ipaddress.ip_network(self._plan.pod_range(number, family)).prefixlen
