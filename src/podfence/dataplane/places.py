# SPDX-License-Identifier: Apache-2.0
"""The addresses of a node's program: those of its pods with their groups, those of nodes, and ranges of pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.nodes import numbers_of
from podfence.sets import AddressSet
from podfence.sets.addresses import family_of
from podfence.sets.spans import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.dataplane.ownership import Ownership
    from podfence.dataplane.program import GroupKey, NodeProgram
    from podfence.kube.objects import Key, Node
    from podfence.policy.model import Model
    from podfence.policy.verdict import Direction


class Places:
    """Writes addresses into a program, and says which of them changed."""

    def __init__(
        self,
        program: NodeProgram,
        model: Model,
        node: str,
        owned: Ownership,
        groups_of: Mapping[Key, Mapping[Direction, GroupKey]],
    ) -> None:
        """Write nothing yet. `owned` says whose an address is, and `groups_of` the groups of the node's pods."""
        self._program = program
        self._model = model
        self._node = node
        self._owned = owned
        self._groups_of = groups_of
        self._hairpin = model.engine.options.hairpin == "allowed"
        self._own: dict[int, set[tuple[int, int]]] = {}
        self._told: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def write(self, addresses: Iterable[int]) -> set[int]:
        """Write down whose the addresses are, and in which groups; return those for which anything differs."""
        program = self._program
        changed: set[int] = set()
        for address in addresses:
            owner = self._owned.owner(address)
            groups = self._groups_of.get(owner) if owner is not None else None
            differs = (groups is not None) != (address in program.known)
            if groups is None:
                program.known.discard(address)
            else:
                program.known.add(address)
            for direction, table in program.group_of.items():
                group = groups.get(direction) if groups else None
                differs |= table.get(address) != group
                if group is None:
                    table.pop(address, None)
                else:
                    table[address] = group
            own: set[tuple[int, int]] = set()
            if owner is not None and groups and self._hairpin:
                family = family_of(address)
                own = {(address, other) for other in self._owned.of_pod(owner) if family_of(other) == family}
            before = self._own.pop(address, set())
            if before != own:
                differs = True
                program.own -= before
                program.own |= own
            if own:
                self._own[address] = own
            if differs:
                changed.add(address)
        node = self._model.state.nodes.get(self._node)
        pod_range = _pod_range([] if node is None else [node])
        changed |= _starts(pod_range, program.pod_range)
        program.pod_range = pod_range
        return changed

    def write_nodes(self) -> frozenset[int]:
        """Write down the addresses of nodes and of their pods; return those for which anything differs."""
        program, nodes = self._program, self._model.state.nodes.values()
        told = [(node.addresses, node.pod_cidrs) for node in nodes]
        if told == self._told:
            return frozenset()
        self._told = told
        addresses = frozenset(number for node in nodes for number in numbers_of(node.addresses))
        pod_ranges = _pod_range(nodes)
        changed = addresses ^ program.nodes | _starts(pod_ranges, program.pod_ranges)
        program.nodes, program.pod_ranges = addresses, pod_ranges
        return changed


def _pod_range(nodes: Iterable[Node]) -> AddressSet:
    cidrs = (cidr for node in nodes for cidr in node.pod_cidrs)
    return AddressSet(normalize(span for cidr in cidrs for span in AddressSet.cidr(cidr).spans))


def _starts(one: AddressSet, other: AddressSet) -> set[int]:
    """Return where ranges begin that are only in one of two sets."""
    return {first for first, _ in set(one.spans) ^ set(other.spans)}
