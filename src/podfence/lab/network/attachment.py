# SPDX-License-Identifier: Apache-2.0
"""A pod at its node's network, and how the two reach each other."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.lab.network.namespaces import NetworkError

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.sets.addresses import Family

DEVICE: Final = "eth0"
"""What a pod calls its end of the cable, and a node its link to the others."""

_NAME_LIMIT: Final = 15


class Attachment(NamedTuple):
    """A pod to wire: a process in its network namespace, the number of its node, and one address per family.

    `pod` is ``namespace/name``, for people.
    """

    pid: int
    node: int
    addresses: tuple[str, ...]
    pod: str = ""

    @property
    def mac(self) -> str:
        """The hardware address of the pod's end."""
        return mac(self.addresses[0])


class AttachError(NetworkError):
    """Some pods could not be wired; `failed` says why, and the others are."""

    def __init__(self, failed: dict[Attachment, str]) -> None:
        self.failed = failed
        first, text = next(iter(failed.items()))
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        super().__init__(f"pod {', '.join(first.addresses)} of node {first.node} has no network: {text}{more}")


class Way(NamedTuple):
    """How a pod and its node reach each other with addresses of one family.

    `bits` is the length of the prefix of the pod's address. `gateway` is the pod's way to everything beyond that, with
    the hardware address `mac`. `device` is by what the node sends to the pod.
    """

    bits: int
    gateway: str
    mac: str
    device: str


def interface(plan: Plan, pod: Attachment) -> str:
    """Return what the node calls its end of a pod's cable: by the number of the address in the node's block.

    "" stands for an address that is not in the block, or too far up in it.
    """
    first = pod.addresses[0]
    address, network = ipaddress.ip_address(first), ipaddress.ip_network(plan.pod_range(pod.node, family_of(first)))
    name = f"pod{int(address) - int(network.network_address)}"
    return name if address in network and len(name) <= _NAME_LIMIT else ""


def mac(address: str) -> str:
    """Return a hardware address made of the last four bytes of an address, as the reference plugins do."""
    return "0a:58:" + ipaddress.ip_address(address).packed[-4:].hex(":")


def family_of(address: str) -> Family:
    """Return the family of an address."""
    return 6 if ":" in address else 4


def nodad(family: Family) -> str:
    """Return the word that has an address usable at once."""
    return " nodad" if family == 6 else ""
