# SPDX-License-Identifier: Apache-2.0
"""Selectors, peers, ports and rules in a few words, for reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from podfence.cluster.controllers import UNKNOWN, is_unknown
from podfence.cluster.members import display_name
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import Requirement
from podfence.policy.ends import AddressEnd, End, PodEnd
from podfence.policy.verdict import Direction
from podfence.sets.addresses import format_address
from podfence.sets.ports import LAST_PORT, OTHER_POINT, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.objects import Labels, Peer, PolicyPort, Rule, Selector

_MANY: Final = 10
_SHOWN: Final = 6


def requirement_text(key: str, operator: str, values: tuple[str, ...]) -> str:
    """Return ``app=web``, ``app in (a, b)``, ``app not in (a)``, ``app exists`` or ``app absent``."""
    match operator:
        case "In":
            return f"{key}={values[0]}" if len(values) == 1 else f"{key} in ({', '.join(values)})"
        case "NotIn":
            return f"{key} not in ({', '.join(values)})"
        case "Exists":
            return f"{key} exists"
        case _:
            return f"{key} absent"


def selector_text(selector: Selector) -> str:
    """Return all requirements, joined by commas."""
    return ",".join(requirement_text(item.key, item.operator, item.values) for item in selector.requirements)


def peer_text(peer: Peer, namespace: str) -> str:
    """Return one peer: ``app=api``, ``every pod of namespace shop``, ``app=api in namespaces team=x``, a block."""
    if peer.ip_block is not None:
        excepts = f" except {', '.join(peer.ip_block.excepts)}" if peer.ip_block.excepts else ""
        return peer.ip_block.cidr + excepts
    pods = selector_text(peer.pod_selector) if peer.pod_selector is not None else ""
    if peer.namespace_selector is None:
        return pods or f"every pod of namespace {namespace}"
    where = _spaces_text(peer.namespace_selector)
    return f"{pods} in {where}" if pods else f"every pod of {where}"


def _spaces_text(selector: Selector) -> str:
    match selector.requirements:
        case ():
            return "every namespace"
        case (Requirement(key=key, operator="In", values=(name,)),) if key == NAME_LABEL:
            return f"namespace {name}"
    return f"namespaces {selector_text(selector)}"


def port_text(port: PolicyPort) -> str:
    """Return ``TCP 80``, ``TCP http``, ``UDP 5000-6000`` or ``all TCP``."""
    if port.port is None:
        return f"all {port.protocol}"
    last = f"-{port.end_port}" if port.end_port is not None else ""
    return f"{port.protocol} {port.port}{last}"


def ports_text(rule: Rule) -> str:
    """Return a rule's ports, joined by commas."""
    return shortened([port_text(port) for port in rule.ports]) if rule.ports else "all ports"


def admits_text(rule: Rule, direction: Direction, namespace: str) -> str:
    """Return what a rule admits: ``TCP 5432 from app=api``."""
    peers = shortened([peer_text(peer, namespace) for peer in rule.peers], " or ") if rule.peers else "everywhere"
    return f"{ports_text(rule)} {'from' if direction is Direction.INGRESS else 'to'} {peers}"


def shortened(texts: Sequence[str], between: str = ", ", *, most: int = _MANY, shown: int = _SHOWN) -> str:
    """Return texts in a row; of more than `most` those that are `shown`, and how many there are more."""
    if len(texts) <= most:
        return between.join(texts)
    return f"{between.join(texts[:shown])} and {len(texts) - shown} more"


def match_text(rule: Rule, item: int, direction: Direction, namespace: str) -> str:
    """Return which item of `from` or `to` (from 0) admits: ``item 1 of `from`: every pod of namespace shop``."""
    word, end = ("from", "source") if direction is Direction.INGRESS else ("to", "destination")
    if not rule.peers:
        return f"`{word}` is empty: every {end} (3.2)"
    return f"item {item + 1} of `{word}`: {peer_text(rule.peers[item], namespace)}"


def label_text(labels: Labels, key: str) -> str:
    """Return what the labels say of a key: ``app=web``, ``no label app``, ``a job-name that begins with dump-``."""
    value = labels.get(key)
    if value is None:
        return f"no label {key}"
    if is_unknown(value):
        begins = value.removesuffix(UNKNOWN)
        return f"a {key} that begins with {begins}" if begins else f"a {key} that is not known"
    return f"{key}={value}"


class Wanted(Struct, frozen=True):
    """The port that is denied (a point as in `podfence.sets.ports`); not `alone` if it stands for others."""

    point: int
    alone: bool

    def __str__(self) -> str:
        """Return ``TCP 80``, ``ICMP``, or ``these ports``."""
        if not self.alone:
            return "these ports"
        if self.point == OTHER_POINT:
            return "ICMP"
        return f"{PROTOCOLS[self.point >> 16]} {self.point & LAST_PORT}"


def end_name(end: End) -> str:
    """Return the name of an end as people write it."""
    if isinstance(end, PodEnd):
        return display_name(end.member.key)
    if isinstance(end, AddressEnd):
        return end.name or format_address(end.address)
    if not end.name:
        return "its own node" if end.own else "a node"
    return f"node:{end.name}"
