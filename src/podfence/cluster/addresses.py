# SPDX-License-Identifier: Apache-2.0
"""Who has an address: of several live pods that claim it one has it, on every way to it (semantics 8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.nodes import node_addresses, numbers_of
from podfence.sets import AddressSet, spans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState


def claim(member: Member) -> tuple[bool, bool, str, str, str]:
    """Return how strong a pod's claim to an address is, for comparison (semantics 8.6)."""
    pod = member.pod
    if pod is None:
        return (False, False, "", member.key.name, member.namespace)
    return (pod.phase == "Running", not pod.terminating, pod.created, pod.name, pod.namespace)


def owner_of(state: ClusterState, number: int) -> Member | None:
    """Return the pod an address belongs to; of several live ones the one semantics 8.6 prefers."""
    return max((member for member in state.members.values() if number in member.addresses), key=claim, default=None)


def owners(state: ClusterState) -> dict[int, Member]:
    """Return the pod each address of a pod belongs to, as `owner_of` would for each."""
    found: dict[int, Member] = {}
    for member in state.members.values():
        for number in member.addresses:
            known = found.get(number)
            if known is None or claim(known) < claim(member):
                found[number] = member
    return found


def claimants(members: Iterable[Member]) -> dict[int, list[Member]]:
    """Return the addresses that several pods claim, in order, each with its pods, the owner first.

    Pods with `hostNetwork` share their node's addresses and claim none.
    """
    found: dict[int, list[Member]] = {}
    for member in members:
        if not member.host:
            for number in member.addresses:
                found.setdefault(number, []).append(member)
    return {
        number: sorted(several, key=claim, reverse=True)
        for number, several in sorted(found.items())
        if len(several) > 1
    }


def known_addresses(state: ClusterState) -> AddressSet:
    """Return every address of a pod, node or Service."""
    texts = [text for service in state.services.values() for text in (*service.addresses, *service.external_addresses)]
    numbers = {number for member in state.members.values() for number in member.addresses}
    numbers.update(number for known in node_addresses(state).values() for number in known)
    numbers.update(numbers_of(texts))
    return AddressSet(spans.normalize((number, number) for number in numbers))
