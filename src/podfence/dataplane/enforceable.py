# SPDX-License-Identifier: Apache-2.0
"""The values of options that a kernel cannot be programmed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.errors import OptionError

if TYPE_CHECKING:
    from podfence.policy.options import Options

_ADDRESSES: Final = "the kernel matches an address, whoever has it"
_REFUSED: Final = {
    "ip_block_pods": ("never", _ADDRESSES),
    "ip_block_nodes": ("never", _ADDRESSES),
    "host_network": ("pod", "pods of a node's own network have its address, and policies cannot tell them apart"),
    "self_traffic": ("policy", "what a pod sends to itself never leaves it"),
}
_DECIDED: Final = ("hairpin", "own_node_egress", "icmp", "ip_block_pods", "ip_block_nodes")


def check_options(options: Options) -> None:
    """Raise OptionError if an option has a value that a kernel cannot be programmed for."""
    for name, (value, reason) in _REFUSED.items():
        if getattr(options, name) == value:
            message = f"option {name}={value} can be asked about and not enforced: {reason}"
            raise OptionError(message)
    for name in _DECIDED:
        if getattr(options, name) == "depends":
            message = f"option {name}=depends can be asked about and not enforced: a packet passes or it does not"
            raise OptionError(message)
