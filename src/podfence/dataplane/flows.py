# SPDX-License-Identifier: Apache-2.0
"""Flows that the kernel tracks, and whether a node's program admits them.

The question is that of a new connection: what the table would do with the first packet of the flow, had it
come now. So this says in Python what `podfence.dataplane.chains` says in nft's language, and tests compare.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.dataplane.program import NOT_YET
from podfence.policy.verdict import Direction
from podfence.sets.ports import OTHER_POINT
from podfence.sets.spans import contains

if TYPE_CHECKING:
    from typing import Self

    from podfence.dataplane.program import GroupKey, GroupProgram, NodeProgram

_BASES: Final = {6: 0, 17: 1 << 16, 132: 2 << 16}
"""Where the ports of a protocol, given by its number, are on the line of `podfence.sets.ports`."""


class Ends(NamedTuple):
    """Who sends to whom, in one direction of a flow; ports are 0 where the protocol has none."""

    source: int
    destination: int
    source_port: int = 0
    destination_port: int = 0


class Flow(NamedTuple):
    """One flow: `original` as its first packet was sent, `reply` as answers to it come.

    A translated destination shows in the reply, which comes from the real one. `labelled` says whether it is
    cut. `expected` flows are part of another, which announced them. `handle` is how a request to the kernel about
    this flow begins, and about no later one with the same ends.
    `is_over` says that TCP has ended it, and that only stragglers are waited for.
    """

    protocol: int
    original: Ends
    reply: Ends
    labelled: bool = False
    expected: bool = False
    handle: bytes = b""
    is_over: bool = False

    @property
    def source(self) -> int:
        """The address that opened the flow, as policies see it."""
        return self.original.source

    @property
    def destination(self) -> int:
        """The address that really answers."""
        return self.reply.source

    @property
    def point(self) -> int:
        """The port that really answers, on the line of `podfence.sets.ports`."""
        base = _BASES.get(self.protocol)
        return OTHER_POINT if base is None else base + self.reply.source_port


class Sides(NamedTuple):
    """Whose flows are meant: those that the addresses `opened` have opened, and those that the `answering` answer."""

    opened: AbstractSet[int] = frozenset()
    answering: AbstractSet[int] = frozenset()

    @classmethod
    def both(cls, addresses: AbstractSet[int]) -> Self:
        """Return what means all flows of some addresses."""
        return cls(addresses, addresses)

    def union(self, other: Sides) -> Sides:
        """Return what means the flows of both."""
        return Sides(self.opened | other.opened, self.answering | other.answering)

    def has(self, flow: Flow) -> bool:
        """Return whether a flow is one of them."""
        return flow.source in self.opened or flow.destination in self.answering


class Judge:
    """Says which flows a program admits; `own` are the addresses of the node itself.

    Made for one look: it remembers answers, and the program must not change meanwhile.
    """

    def __init__(self, program: NodeProgram, own: AbstractSet[int]) -> None:
        """Ask nothing yet."""
        self._program = program
        self._own = own
        self._held: dict[int, bool] = {}
        self._egress = _Side(program, Direction.EGRESS)
        self._ingress = _Side(program, Direction.INGRESS)

    def admits(self, flow: Flow) -> bool:
        """Return whether a flow may be: both of its ends admit it, as far as they are this node's.

        What was announced by another flow is admitted: no rule names its port, the kernel calls it related.
        """
        if flow.expected:
            return True
        return self._admits(flow.source, flow.destination, flow.point) and not self._is_tunnel(flow)

    def _is_tunnel(self, flow: Flow) -> bool:
        program = self._program
        tunnels = program.tunnels
        if tunnels is None or flow.source in self._own or not tunnels.carries(flow.protocol, flow.reply.source_port):
            return False
        if flow.source in tunnels.sources:
            return flow.destination in program.nodes or flow.destination in self._own
        return flow.destination in self._own and flow.source in program.pod_ranges and flow.source not in program.nodes

    def _admits(self, source: int, destination: int, point: int) -> bool:
        if source in self._own:
            # The node reaches its own pods, and what it sends elsewhere is not for this table.
            return True
        to_node = destination in self._own
        if to_node and not self._program.judges_own_node:
            return True
        if self._is_held(source) or (not to_node and self._is_held(destination)):
            return False
        if (source, destination) in self._program.own:
            return True
        if not self._egress.admits(source, destination, point):
            return False
        return to_node or self._ingress.admits(destination, source, point)

    def _is_held(self, address: int) -> bool:
        found = self._held.get(address)
        if found is None:
            found = address in self._program.pod_range and address not in self._program.known
            self._held[address] = found
        return found


class _Side:
    """What the groups of one direction admit."""

    def __init__(self, program: NodeProgram, direction: Direction) -> None:
        self._program = program
        self._group_of = program.group_of[direction]
        self._answers: dict[GroupKey, dict[tuple[int, int], bool]] = {}

    def admits(self, local: int, peer: int, point: int) -> bool:
        """Return whether the group of a local address, if it has one, admits a peer on a port."""
        key = self._group_of.get(local)
        if key is None:
            return True
        answers = self._answers.setdefault(key, {})
        found = answers.get((peer, point))
        if found is None:
            found = answers[peer, point] = self._ask(self._program.groups[key], peer, point)
        return found

    def _ask(self, group: GroupProgram, peer: int, point: int) -> bool:
        # What is still to come, into sets or at all, may be admitted soon, and is no reason to cut a flow.
        if group is NOT_YET:
            return True
        programs = group.programs_for(peer, self._program.late, self._program.sets)
        return any(contains(ports.spans, point) for program in programs for ports, _ in program)
