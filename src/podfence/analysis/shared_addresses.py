# SPDX-License-Identifier: Apache-2.0
"""Addresses that two live pods claim (semantics 8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.analysis.endpoints import claim
from podfence.cluster.members import display_name
from podfence.sets.addresses import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState


def shared_addresses(state: ClusterState) -> Iterator[str]:
    """Yield a sentence for each address with several owners, saying which of them is taken to have it."""
    owners: dict[int, list[Member]] = {}
    for member in state.members.values():
        if not member.host:
            for number in member.addresses:
                owners.setdefault(number, []).append(member)
    for number, claimants in sorted(owners.items()):
        if len(claimants) > 1:
            ranked = sorted(claimants, key=claim, reverse=True)
            names = ", ".join(display_name(member.key) for member in ranked)
            yield f"{format_address(number)} is claimed by {names}; asked by address, it is the first"
