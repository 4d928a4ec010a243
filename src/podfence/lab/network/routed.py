# SPDX-License-Identifier: Apache-2.0
"""Pods with a link of their own to their node, which routes every packet of theirs, as with Calico, kindnet or ptp.

A pod has its address alone, and a default route to an address that only its own link knows. The node answers for
that address: to ARP as a proxy, so that it is no address of the node's, and to IPv6 as fe80::1 on each link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.lab.network.attachment import DEVICE, Attachment, Way, family_of, interface

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.sets.addresses import Family

GATEWAY: Final[dict[Family, str]] = {4: "169.254.1.1", 6: "fe80::1"}
_MAC: Final = "ee:ee:ee:ee:ee:ee"
_BITS: Final[dict[Family, int]] = {4: 32, 6: 128}


class Routed:
    """One link for each pod, and no `bridge` on nodes.

    Commands are those of `ip`, settings are paths below ``/proc/sys/net`` with values.
    """

    bridge = ""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def start_node(self, number: int) -> list[str]:
        """Make a node ready for its pods, from inside its namespace, but for commands to carry out, which it returns.

        Packets to pods that are gone are refused: else they would go to outside and back until they are too old.
        """
        return [f"route replace unreachable {self._plan.pod_range(number, family)}" for family in self._plan.families]

    def node_end(self, pod: Attachment) -> tuple[list[str], dict[str, str]]:
        """Return the commands on the node that make a pod's cable, its end's address there, and the routes to it.

        With them the settings of that end: the node answers for the gateway, without the usual wait of up to 0.8 s.
        """
        name = interface(self._plan, pod)
        lines = [
            f"link add {name} address {_MAC} type veth peer name {DEVICE} address {pod.mac} netns {pod.pid}",
            f"link set {name} up",
        ]
        settings: dict[str, str] = {}
        for address in pod.addresses:
            if family_of(address) == 6:
                lines.append(f"addr add {GATEWAY[6]}/64 dev {name} nodad")
            else:
                settings = {f"ipv4/conf/{name}/proxy_arp": "1", f"ipv4/neigh/{name}/proxy_delay": "0"}
            lines.append(f"route replace {address} dev {name}")
        return lines, settings

    def way(self, pod: Attachment, family: Family) -> Way:
        """Return how a pod and its node reach each other: its prefix is its own, only its link knows the gateway."""
        return Way(_BITS[family], GATEWAY[family], _MAC, interface(self._plan, pod))
