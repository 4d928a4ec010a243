# SPDX-License-Identifier: Apache-2.0
"""The smallest change of a policy that would admit a denied connection, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.controllers import ADDED
from podfence.cluster.state import NAME_LABEL
from podfence.policy.ends import AddressEnd, End, PodEnd
from podfence.policy.verdict import Direction
from podfence.policy.wording import end_name
from podfence.sets.addresses import AddressSet, format_address
from podfence.sets.ports import OTHER_POINT

if TYPE_CHECKING:
    from podfence.policy.misses import Nearest
    from podfence.policy.verdict import PolicyRef
    from podfence.policy.wording import Wanted


def remedy(
    direction: Direction,
    subject: PodEnd,
    peer: End,
    wanted: Wanted,
    policies: tuple[PolicyRef, ...],
    nearest: Nearest | None,
) -> str:
    """Return what to add to which rule, or which rule to add to which policy.

    Only additions to policies are proposed: labels of pods and namespaces mean more than this connection.
    """
    word = "from" if direction is Direction.INGRESS else "to"
    who = _peer(peer, subject.member.namespace)
    if nearest is not None and not (wanted.point == OTHER_POINT and nearest.wrong_port):
        rule = f"rule {nearest.miss.rule.index + 1} of {nearest.miss.rule.policy}"
        if not nearest.wrong_peer:
            return f"add to the ports of {rule}: {wanted}"
        if not nearest.wrong_port:
            return f"add to `{word}` of {rule}: {who}"
    ports = "without ports" if wanted.point == OTHER_POINT else f"for {wanted}"
    written = [policy for policy in policies if policy.kind == "NetworkPolicy"]
    into = str(written[0]) if written else f"a NetworkPolicy that selects {end_name(subject)}"
    return f"add to {into} an {direction} rule {ports} {word} {who}"


def _peer(peer: End, namespace: str) -> str:
    """Return the peer as an item of `from` or `to`."""
    if isinstance(peer, PodEnd):
        labels = [f"{k}={v}" for k, v in sorted(peer.member.labels.items()) if k not in ADDED]
        pods = f"podSelector {','.join(labels)}" if labels else "podSelector {}"
        if peer.member.namespace == namespace:
            return pods
        return f"namespaceSelector {NAME_LABEL}={peer.member.namespace} with {pods}"
    if peer.address is None:
        return f"an ipBlock with the address of {end_name(peer)}"
    if isinstance(peer, AddressEnd) and peer.name:
        return f"an ipBlock for {peer.name}"
    bits = 32 if peer.address in AddressSet.V4 else 128
    return f"ipBlock {format_address(peer.address)}/{bits}"
