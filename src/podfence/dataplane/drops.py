# SPDX-License-Identifier: Apache-2.0
"""Packets that are dropped before any policy is asked: why, and how they are counted and logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podfence.nft.sets import DYNAMIC, Set

if TYPE_CHECKING:
    from podfence.dataplane.objects import Objects
    from podfence.dataplane.settings import Settings

UNKNOWN_SOURCE: Final = "unknown-source"
"""The sender's address, of IP or hardware, is not one of the link that the packet came by."""

UNKNOWN_DESTINATION: Final = "unknown-destination"
"""It is for nobody whom policies know: another address than the link has, a group, everybody."""

UNKNOWN_PROTOCOL: Final = "unknown-protocol"
"""It is no plain frame of IP, of ARP or of neighbour discovery as a pod has to send it."""

TUNNEL: Final = "tunnel"
"""A pod speaks to where a node takes packets of others out of a tunnel."""

REASONS: Final = (UNKNOWN_SOURCE, UNKNOWN_DESTINATION, UNKNOWN_PROTOCOL, TUNNEL)
"""Every reason, as logs and counts name it."""

TOLD: Final = "told"
"""The set of links of which something was logged lately."""

PREFIX: Final = "podfence "
"""How each line of the log begins."""

_LIMIT: Final = "limit rate 5/second burst 20 packets"


def chain_of(reason: str) -> str:
    """Return the name of the chain that drops for a reason; nft has words of its own among the reasons."""
    return "tunnelled" if reason == TUNNEL else reason.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Drops:
    """The rules that end what passes no further, or would not, where packets are only reported."""

    settings: Settings

    @property
    def quiet(self) -> str:
        """What becomes of packets that nobody has to hear of."""
        return "drop" if self.settings.binding == "enforce" else "accept"

    def put(self, result: Objects, *reasons: str, otherwise: str = "accept") -> None:
        """Take in the chains that drop for some reasons; `otherwise` is how they end where packets are only told of."""
        end = "drop" if self.settings.binding == "enforce" else otherwise
        texts = [f"counter {end}"]
        group = self.settings.log_group
        if group is not None:
            result.put(Set(TOLD, ("ifname",), DYNAMIC), {})
        for reason in reasons:
            # Each link has a limit of its own, so that nobody hides the lines of others behind many of his.
            log = f'add @{TOLD} {{ iifname {_LIMIT} }} log prefix "{PREFIX}{reason}: " group {group}'
            result.chain(chain_of(reason), *([log] if group is not None else []), *texts)
