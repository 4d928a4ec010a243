# SPDX-License-Identifier: Apache-2.0
"""What rules with ipBlocks admit, by range of addresses: the tables that the groups of a node ask.

A tenant can write as many blocks, in as many policies for as many pods, as the API server takes. Here a table is
what the blocks of a few policies amount to, and a group asks one table after the other. Policies with few blocks
share one table in each group; one with many has a table of its own, which is made once for all groups. So
nothing is the number of groups times the number of blocks.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from podfence.dataplane.program import PortProgram, Programs, Ranges
from podfence.policy.identity import RuleId
from podfence.sets.layers import Cover, Layer, over, sweep, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
TIMES_PORTS: Final = 4096
"""How many spans of addresses, times how many spans of ports, the policies have at most that share a table.

So many programs of ranges, times spans of ports that are admitted wherever the peer is, are told from each other too.
"""

BlockLayer = Layer[RuleId]


class PolicyBlocks(NamedTuple):
    """The blocks of one policy, a layer for each of its rules, and what it admits wherever the peer is."""

    layers: tuple[BlockLayer, ...]
    anywhere: Cover[RuleId]

    @property
    def size(self) -> tuple[int, int]:
        """How many spans of addresses there are, and how many of ports."""
        return (
            sum(len(layer.addresses) for layer in self.layers),
            sum(len(layer.ports) for layer in self.layers),
        )


class Tables:
    """Makes tables, and makes none twice while somebody has it."""

    def __init__(self, own_from: int) -> None:
        """Have made none; policies with together `own_from` spans of addresses or more do not share a table."""
        self._own_from = own_from
        self._made: WeakValueDictionary[tuple[object, ...], Ranges] = WeakValueDictionary()

    def of_group(self, policies: Sequence[PolicyBlocks]) -> tuple[Ranges, ...]:
        """Return the tables that a group asks one after the other, given its policies in order.

        What a policy admits wherever the peer is, is not in the tables: it is asked for last. Where it comes before
        what a block admits it takes its ports from it, so that the first rule is the one that is credited. A policy
        with a table of its own is credited before other policies that admit the same without blocks, and so is a
        block where it would take too much to say otherwise (see `TIMES_PORTS`).
        """
        joint, alone = _divided([policy for policy in policies if policy.layers], self._own_from)
        found = [self._table(policy.layers, policy.anywhere) for policy in alone]
        if joint:
            anywhere = tuple(policy.anywhere for policy in policies if policy.anywhere)
            found.append(self._table(tuple(chain.from_iterable(policy.layers for policy in joint)), *anywhere))
        return tuple(table for table in found if table.items)

    def _table(self, layers: tuple[BlockLayer, ...], *anywhere: Cover[RuleId]) -> Ranges:
        key = (layers, anywhere)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = Ranges.joined(_ranges(layers, together(anywhere)))
        return found


def _divided(policies: Sequence[PolicyBlocks], own_from: int) -> tuple[list[PolicyBlocks], list[PolicyBlocks]]:
    """Return the policies that share a table, and those with tables of their own, both in order."""
    together: set[int] = set()
    addresses = ports = 0
    for place, (more_addresses, more_ports) in sorted(
        enumerate(policy.size for policy in policies), key=lambda item: item[1]
    ):
        addresses += more_addresses
        ports += more_ports
        if addresses >= own_from or addresses * ports > TIMES_PORTS:
            break
        together.add(place)
    return (
        [policy for place, policy in enumerate(policies) if place in together],
        [policy for place, policy in enumerate(policies) if place not in together],
    )


def _ranges(layers: Sequence[BlockLayer], anywhere: Cover[RuleId]) -> Iterator[tuple[int, int, PortProgram]]:
    swept = sweep(layers)
    if len(swept.covers) * len(anywhere) > TIMES_PORTS:
        # It would be in each of them; without it, blocks admit no other ports, and are credited for theirs.
        anywhere = ()
    taken = {label for _, _, label in anywhere} - {layer.label for layer in layers}
    made = Programs()
    programs: dict[int, PortProgram] = {}
    for first, last, number in swept.ranges:
        program = programs.get(number)
        if program is None:
            left = [item for item in over(swept.covers[number], anywhere) if item[2] not in taken]
            program = programs[number] = made.of(left)
        if program:
            yield first, last, program
