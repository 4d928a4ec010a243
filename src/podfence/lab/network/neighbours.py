# SPDX-License-Identifier: Apache-2.0
"""How many neighbours the kernel lets the pods of a lab find: it has one table for all namespaces of the machine.

What was found or used within the last 5 s is not given up for something new (`gc_thresh3` in arp(7)). So only so many
pods of a lab find their neighbours themselves; those of the others are written down, which takes no room.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Final

from podfence.lab.network.namespaces import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT: Final = re.compile(r"\bthresh3 (\d+)")
_USUAL: Final = 1024
_TIMEOUT: Final = 10.0

_PER_POD: Final = 5
"""Entries that a pod and its node have of each other, in the fuller table, with some that other labs may have."""


def capacity() -> int:
    """Return how many entries the smaller of the kernel's tables takes, of IPv4 and of IPv6."""
    command = ("ip", "ntable", "show")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return _USUAL
    return min(map(int, _LIMIT.findall(done.stdout)), default=_USUAL)


def finders(room: int) -> int:
    """Return how many pods of a lab are to find their neighbours themselves, in tables that take so many."""
    return room // _PER_POD


def require_room_for_all_pairs(pods: Iterable[int], room: int) -> None:
    """Raise NetworkError if all pods of a node, so many on each, cannot speak to each other on its bridge."""
    needed = sum(count * (count - 1 + _PER_POD) for count in pods)
    if needed > room:
        raise NetworkError(
            f"on a bridge, connections between all pods need {needed} entries in the kernel's neighbour table, which "
            f"has room for {room} for the whole machine; leave out --all-pairs, or raise the limit as root while the "
            f"lab runs: sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * needed} "
            f"net.ipv6.neigh.default.gc_thresh3={2 * needed}"
        )
