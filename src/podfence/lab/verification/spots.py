# SPDX-License-Identifier: Apache-2.0
"""The ends of a verification: every address that can be tried, and which of them policies cannot tell apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podfence.analysis.naming import Namer
from podfence.analysis.pairs import as_ends
from podfence.cluster.members import display_name
from podfence.cluster.nodes import node_addresses
from podfence.kube.objects import Key
from podfence.lab.targets import OUTSIDE
from podfence.lab.verification.result import LeftOut
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd
from podfence.sets.addresses import Family, family_of, format_address

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from podfence.cluster.members import Member
    from podfence.lab.targets import Place
    from podfence.policy.model import Model

_SHOWN = 2


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """One address of one end, and how it is judged; spots of equal `likeness` are judged alike.

    `node` is where it is, "" outside of the cluster.
    """

    place: Place
    end: End
    name: str
    address: str
    family: Family
    node: str
    likeness: Hashable


@dataclass(frozen=True, slots=True, eq=False)
class PodSpots:
    """A pod that can be tried: its addresses, and the group of pods it stands for."""

    member: Member
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Pods that no policy tells apart and that declare the same ports; or hostNetwork pods (not `judged`)."""

    name: str
    judged: bool
    pods: tuple[PodSpots, ...]
    by_node: dict[str, list[PodSpots]]


def spots(model: Model) -> tuple[tuple[Group, ...], tuple[Spot, ...], list[LeftOut]]:
    """Return every pod by group, every node, and what is left out: pods without an address of their own."""
    engine = model.engine
    claims: dict[int, set[str]] = defaultdict(set)
    ends: dict[Key, list[tuple[int, PodEnd | NodeEnd]]] = {}
    for member in model.state.members.values():
        ends[member.key] = numbered = [
            (end.address, end)
            for end in as_ends(engine, member)
            if not isinstance(end, AddressEnd) and end.address is not None
        ]
        for number, end in numbered:
            claims[number].add(member.name if isinstance(end, PodEnd) else f"node:{end.name}")
    addresses = node_addresses(model.state)
    for name, numbers in addresses.items():
        for number in numbers:
            claims[number].add(f"node:{name}")

    by_kind: dict[Hashable, list[PodSpots]] = defaultdict(list)
    left_out: dict[LeftOut, None] = {}
    for key, numbered in sorted(ends.items()):
        member = model.state.members[key]
        if member.pod is None or not numbered:
            left_out[LeftOut(member.name, f"it has no {'address' if member.pod else 'pods'}")] = None
            continue
        for number, _ in numbered:
            if len(claims[number]) > 1:
                # Whose packets arrive is open (semantics 8.6).
                why = f"it is claimed by {', '.join(sorted(claims[number]))}"
                left_out[LeftOut(format_address(number), why)] = None
        if own := tuple(
            _spot(model, key, member.name, end, number) for number, end in numbered if len(claims[number]) == 1
        ):
            pod_class = model.index.class_of(key)
            ports = frozenset((port.number, port.protocol) for port in member.ports)
            by_kind[pod_class.id if pod_class else None, ports].append(PodSpots(member, own))
    nodes = tuple(
        _spot(model, Key("Node", "", name), f"node:{name}", NodeEnd(name, number, family_of(number)), number)
        for name, numbers in addresses.items()
        for number in numbers
        if len(claims[number]) == 1
    )
    namer = Namer(model.index)
    groups = tuple(_group(model, namer, pods) for pods in by_kind.values())
    return groups, nodes, list(left_out)


def outside_spot(model: Model, number: int) -> Spot:
    """Return an address outside of the cluster as an end."""
    return _spot(model, OUTSIDE, format_address(number), AddressEnd(number), number)


def _spot(model: Model, place: Place, name: str, end: End, number: int) -> Spot:
    likeness: Hashable = number
    node = "" if isinstance(end, AddressEnd) else end.name if isinstance(end, NodeEnd) else end.member.node
    if isinstance(end, PodEnd):
        pod_class = model.index.class_of(end.member.key)
        likeness = (pod_class.id if pod_class else end.member.key, model.index.cell(number))
    return Spot(place, end, name, format_address(number), family_of(number), node, likeness)


def _group(model: Model, namer: Namer, pods: Iterable[PodSpots]) -> Group:
    found = tuple(pods)
    owners = {display_name(pod.member.owner) for pod in found}
    pod_class = model.index.class_of(found[0].member.key)
    names = namer.names(1 << pod_class.id, owners) if pod_class else tuple(sorted(owners))
    name = f"{names[0]} and {len(names) - 1} like it" if len(names) > _SHOWN else ", ".join(names)
    by_node: dict[str, list[PodSpots]] = defaultdict(list)
    for pod in found:
        by_node[pod.member.node].append(pod)
    return Group(name, pod_class is not None, found, by_node)
